"""A study's table as text: its columns for people, its rows in full for programs, and its caption."""

from functools import partial
from typing import Any

from app.services.analyses.studies.tables import BEST, Table, TableRow
from app.tabulation import Column, markdown_text, to_csv, to_latex, to_markdown
from lab_models.statistics.summary import Summary
from lab_models.studies.design import factor_text

NONE = "-"
MOST_SAME = 4


def markdown_of(table: Table) -> str:
    """The table under the study's name, with its caption."""
    rows = to_markdown(columns_of(table), table.rows)
    return f"## {markdown_text(table.whole.study.name)}\n\n{rows}\n{caption_of(table)}\n"


def csv_of(table: Table) -> str:
    """One row per cell, numbers in full, fractions as fractions."""
    return to_csv(_flat(table, row) for row in table.rows)


def latex_of(table: Table) -> str:
    """A `table` with the study's name and the caption."""
    name = " ".join(table.whole.study.name.split())
    return to_latex(columns_of(table), table.rows, caption=f"{name}. {caption_of(table)}")


def columns_of(table: Table) -> list[Column[TableRow]]:
    """The table as people read it: factors, then what was measured; the source's columns only where a row has them."""
    shown = _Shown(table)
    columns = [Column(name, partial(_factor, name)) for name in table.factors]
    if not columns:
        columns = [Column("cell", lambda row: row.cell.cell.title)]
    columns += [
        Column("parameters", lambda row: f"{row.parameters:,}", is_number=True),
        *_trainable(table),
        Column("MACs", lambda row: f"{row.macs_per_sample:,}", is_number=True),
        Column("n", lambda row: str(0 if row.score is None else row.score.n), is_number=True),
        *_val(table, shown),
        Column(shown.heading, lambda row: shown.with_spread(row.score), is_number=True),
        Column(
            "95 % interval",
            lambda row: shown.interval(None if row.score is None else row.score.ci95),
            is_number=True,
        ),
        Column("seconds", lambda row: _rounded(row.seconds, 1), is_number=True),
        Column("chosen epoch", lambda row: _rounded(row.chosen_epoch, 1), is_number=True),
        Column("last epoch", lambda row: _rounded(row.last_epoch, 1), is_number=True),
    ]
    if any(row.published is not None for row in table.rows):
        columns += [
            Column(
                "source",
                lambda row: NONE if row.published is None else shown.level(row.published.value),
                is_number=True,
            ),
            Column(
                "ours minus source",
                lambda row: (
                    NONE
                    if row.published is None or row.published.delta is None
                    else f"{row.published.delta:+.2f}"
                ),
                is_number=True,
            ),
            Column("within", lambda row: _within(row)),
        ]
    return columns


def caption_of(table: Table) -> str:
    """What the columns mean, in a sentence or two."""
    unit = f" in {table.metric.level_unit}" if table.metric.level_unit else ""
    text = (
        f"{table.metric.label}{unit}: mean ± standard deviation over n seeds, with Student's t interval of the mean;"
        " seconds and epochs are means."
    )
    if any(row.published is not None for row in table.rows):
        text += (
            " within: whether the source's number lies in the interval of our mean, or else where one more run of ours"
            " would lie with 95 %."
        )
    return " ".join([text, *notes_of(table)])


def notes_of(table: Table) -> list[str]:
    """What a reader of the rows must know, a sentence or two each: which are the same, and that the first was
    chosen.
    """
    whole = table.whole
    same = [
        f"{row.cell.cell.title} is the same as {whole.design.cell(row.cell.same_as).title}: one experiment, trained"
        " once."
        for row in table.rows
        if row.cell.same_as is not None
    ]
    many = [] if len(same) <= MOST_SAME else [f"And {len(same) - MOST_SAME} more rows like this."]
    survivors = [f"{note[:1].upper()}{note[1:]}." for note in table.on_survivors]
    return [*same[:MOST_SAME], *many, *survivors, *_on_choosing(table)]


def _on_choosing(table: Table) -> list[str]:
    """The best of many is in part the luckiest (the winner's curse)."""
    scored = [row for row in table.rows if row.score is not None and row.cell.same_as is None]
    if table.sort != BEST or len(scored) < 2:
        return []
    best = f"The first of {len(scored)} cells is there for its number"
    if not table.shows_val:
        return [
            f"The best first. {best}, which is therefore optimistic: run it again with new seeds before you believe it."
        ]
    return [
        f"The best first by val: val chooses, test reports. {best} on val, which is therefore optimistic; its number on"
        " test is not chosen, as long as nobody chooses by it. Run it again with new seeds before you claim it."
    ]


def _val(table: Table, shown: "_Shown") -> list[Column[TableRow]]:
    """A column of its own only where rows are ordered by it."""
    if not table.shows_val:
        return []
    heading = shown.heading.replace("test", "val", 1)
    return [Column(heading, lambda row: shown.with_spread(row.val), is_number=True)]


def _factor(name: str, row: TableRow) -> str:
    return factor_text(row.cell.cell.factors.get(name))


def _trainable(table: Table) -> list[Column[TableRow]]:
    """A column of its own only where something is frozen."""
    if all(row.trainable_parameters in (None, row.parameters) for row in table.rows):
        return []
    return [
        Column(
            "trained",
            lambda row: (
                NONE if row.trainable_parameters is None else f"{row.trainable_parameters:,}"
            ),
            is_number=True,
        )
    ]


class _Shown:
    """Numbers of the table's metric as text: fractions in percent with two decimals, others with four."""

    def __init__(self, table: Table) -> None:
        self._scale, self._decimals = table.metric.scale, 2 if table.metric.is_fraction else 4
        self.heading = table.metric.label.lower() + (
            f", {table.metric.level_unit}" if table.metric.level_unit else ""
        )

    def level(self, value: float) -> str:
        return f"{self._scale * value:.{self._decimals}f}"

    def with_spread(self, summary: Summary | None) -> str:
        if summary is None:
            return NONE
        return self.level(summary.mean) + (
            "" if summary.std is None else f" ± {self.level(summary.std)}"
        )

    def interval(self, ends: tuple[float, float] | None) -> str:
        return NONE if ends is None else f"{self.level(ends[0])} to {self.level(ends[1])}"


def _within(row: TableRow) -> str:
    if row.published is None or row.published.inside_prediction is None:
        return NONE
    return (
        "interval"
        if row.published.inside_ci95
        else "one more run"
        if row.published.inside_prediction
        else "no"
    )


def _rounded(value: float | None, decimals: int) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{decimals}f}"


def _flat(table: Table, row: TableRow) -> dict[str, Any]:
    flat: dict[str, Any] = {"cell": row.cell.cell.key, "experiment_id": row.cell.experiment.id}
    flat |= {name: row.cell.cell.factors.get(name) for name in table.factors}
    flat |= {
        "network": row.network,
        "parameters": row.parameters,
        "trainable_parameters": row.trainable_parameters,
        "macs_per_sample": row.macs_per_sample,
        "metric": table.metric.name,
    }
    for prefix, summary in (("", row.score), ("val_", row.val)):
        low, high = (None, None) if summary is None or summary.ci95 is None else summary.ci95
        mean, std, n = (
            (None, None, 0) if summary is None else (summary.mean, summary.std, summary.n)
        )
        flat |= {
            f"{prefix}mean": mean,
            f"{prefix}std": std,
            f"{prefix}n": n,
            f"{prefix}ci95_low": low,
            f"{prefix}ci95_high": high,
        }
    flat |= {"seconds": row.seconds, "chosen_epoch": row.chosen_epoch, "last_epoch": row.last_epoch}
    source = row.published
    flat |= {
        "source_value": source and source.value,
        "source_inside_ci95": source and source.inside_ci95,
    }
    return flat | {
        "source_inside_prediction": source and source.inside_prediction,
        "same_as": row.cell.same_as,
    }
