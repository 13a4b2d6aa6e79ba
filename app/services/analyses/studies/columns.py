"""A study's table as text for people: its columns and its caption."""

from collections.abc import Callable, Iterable
from functools import partial

from app.services.analyses.scores import ScoreKind
from app.services.analyses.studies.tables import BEST, Table, TableRow
from app.tabulation import Column, fits_a_page, markdown_text, to_latex, to_markdown
from lab_models.datasets.catalog import spoken_name
from lab_models.statistics.summary import Summary
from lab_models.studies.design import factor_text

NONE = "-"
TIMES = "\N{MULTIPLICATION SIGN}/\N{DIVISION SIGN}"
MOST_SAME = 4
MOST_COLUMNS = 8
"""Of a printed page, in small print."""
MOST_FACTORS = 3

_TITLE = Column[TableRow]("cell", lambda row: row.cell.cell.title, latex_width="4cm")
_PARAMETERS = Column[TableRow]("parameters", lambda row: f"{row.parameters:,}", is_number=True)
_N = Column[TableRow]("n", lambda row: str(0 if row.score is None else row.score.n), is_number=True)
_SECONDS = Column[TableRow]("seconds", lambda row: _rounded(row.seconds, 1), is_number=True)

WIDEST_PREDICTION = 5.0
"""In percentage points: of a wider interval nobody learns whether a source's number is like ours."""


def markdown_of(table: Table) -> str:
    """The table under the study's name, with its caption."""
    rows = to_markdown(columns_of(table), table.rows)
    said = " ".join([caption_of(table), *table.whole.design.provenance])
    return f"## {markdown_text(table.whole.study.name)}\n\n{rows}\n{markdown_text(said)}\n"


def latex_of(table: Table) -> str:
    """A `table` that fits a page, with the study's name and the caption: what is measured first, then as much of the
    rest as there is room for.
    """
    name = " ".join(table.whole.study.name.split())
    caption = (
        f"{name}. {_of_metric(table)}: mean over n seeds with Student's t 95 % interval in parentheses; seconds of"
        " training are means."
    )
    return to_latex(
        _few_columns(table),
        table.rows,
        caption=" ".join([caption, *notes_of(table), *table.whole.design.provenance]),
    )


def columns_of(table: Table) -> list[Column[TableRow]]:
    """The table as people read it: factors, then what was measured; the source's columns only where a row has them."""
    shown = Shown(table.metric)
    return [
        *_factors(table),
        *_datasets(table),
        _PARAMETERS,
        *_trainable(table),
        Column("MACs", lambda row: f"{row.macs_per_sample:,}", is_number=True),
        _N,
        *_val(table, shown.with_spread),
        Column(shown.heading, lambda row: shown.with_spread(row.score), is_number=True),
        Column(
            "95 % interval",
            lambda row: shown.interval(None if row.score is None else row.score.ci95),
            is_number=True,
        ),
        _SECONDS,
        Column("chosen epoch", lambda row: _rounded(row.chosen_epoch, 1), is_number=True),
        Column("last epoch", lambda row: _rounded(row.last_epoch, 1), is_number=True),
        *_source(table, shown),
    ]


def _few_columns(table: Table) -> list[Column[TableRow]]:
    """As many as a page is wide: what is left out first comes last here."""
    shown = Shown(table.metric)
    score = Column[TableRow](
        shown.heading, lambda row: shown.over_interval(row.score), is_number=True
    )
    names = _factors(table)
    if len(names) > MOST_FACTORS or not fits_a_page([*names, score], table.rows):
        names = [_TITLE]
    kept = [*names, *_datasets(table), _N, score]
    for column in (
        *_source(table, shown)[:1],
        *_val(table, shown.over_interval)[:1],
        _PARAMETERS,
        _SECONDS,
    ):
        if len(kept) < MOST_COLUMNS and fits_a_page([*kept, column], table.rows):
            kept.append(column)
    return kept


def _factors(table: Table) -> list[Column[TableRow]]:
    return [Column(name, partial(_factor, name)) for name in table.factors] or [_TITLE]


def _source(table: Table, shown: "Shown") -> list[Column[TableRow]]:
    """What the source printed, and how ours stands to it; nothing where no row is its work."""
    if all(row.published is None for row in table.rows):
        return []
    return [
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
                else shown.signed(row.published.delta)
            ),
            is_number=True,
        ),
        Column("within", lambda row: _within(row, table.metric)),
    ]


def caption_of(table: Table) -> str:
    """What the columns mean, in a sentence or two."""
    said = (
        f"geometric mean {TIMES} geometric standard deviation over n seeds, with Student's t interval of the"
        " logarithms"
        if table.metric.is_ratio
        else "mean ± standard deviation over n seeds, with Student's t interval of the mean"
    )
    text = f"{_of_metric(table)}: {said}; seconds and epochs are means."
    if any(row.published is not None for row in table.rows):
        text += (
            " within: whether the source's number lies in the interval of our mean, or else where one more run of ours"
            f" would lie with 95 %; cannot tell where that is wider than {WIDEST_PREDICTION:g} points."
        )
    return " ".join([text, *notes_of(table)])


def _of_metric(table: Table) -> str:
    unit = f" in {table.metric.level_unit}" if table.metric.level_unit else ""
    return f"{table.metric.label}{unit}"


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
    remarks = sentences([*table.on_survivors, *table.remarks])
    return [*same[:MOST_SAME], *many, *remarks, *_on_choosing(table)]


def sentences(remarks: Iterable[str]) -> list[str]:
    """Remarks as they stand below a table."""
    return [f"{remark[:1].upper()}{remark[1:]}." for remark in remarks]


def _on_choosing(table: Table) -> list[str]:
    """The best of many is in part the luckiest (the winner's curse)."""
    scored = [row for row in table.rows if row.score is not None and row.cell.same_as is None]
    if table.sort != BEST or len(scored) < 2:
        return []
    best = f"The first of {len(scored)} cells is there for its number"
    if all(row.val is None for row in table.rows):
        return [
            f"The best first. {best}, which is therefore optimistic: run it again with new seeds before you believe it."
        ]
    return [
        f"The best first by val: val chooses, test reports. {best} on val, which is therefore optimistic; its number on"
        " test is not chosen, as long as nobody chooses by it. Run it again with new seeds before you claim it."
    ]


def _datasets(table: Table) -> list[Column[TableRow]]:
    """A column of its own wherever rows differ in it."""
    if table.num_datasets < 2:
        return []
    return [Column("data set", lambda row: spoken_name(row.dataset))]


def _val(table: Table, text: Callable[[Summary | None], str]) -> list[Column[TableRow]]:
    """Beside the column of test, where there is one."""
    if not table.shows_val:
        return []
    heading = Shown(table.metric).heading.replace("test", "val", 1)
    return [Column(heading, lambda row: text(row.val), is_number=True)]


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


class Shown:
    """Numbers of a metric as text."""

    def __init__(self, metric: ScoreKind) -> None:
        self._metric = metric
        self.heading = metric.label.lower() + (
            f", {metric.level_unit}" if metric.level_unit else ""
        )

    def level(self, value: float) -> str:
        """The number itself, in the unit of the heading."""
        return self._metric.written(value)

    def with_spread(self, summary: Summary | None) -> str:
        """`97.91 ± 0.08`."""
        if summary is None:
            return NONE
        sign = TIMES if self._metric.is_ratio else "±"
        return self.level(summary.mean) + (
            "" if summary.std is None else f" {sign} {self.level(summary.std)}"
        )

    def signed(self, difference: float) -> str:
        """A difference in the unit that the metric is spoken of in."""
        return f"{difference:+.{self._metric.decimals}f}"

    def with_interval(self, summary: Summary | None) -> str:
        """`97.91 (97.70 to 98.12)`."""
        if summary is None:
            return NONE
        ends = "" if summary.ci95 is None else f" ({self.interval(summary.ci95)})"
        return self.level(summary.mean) + ends

    def over_interval(self, summary: Summary | None) -> str:
        """The same on two lines."""
        return self.with_interval(summary).replace(" (", "\n(")

    def interval(self, ends: tuple[float, float] | None) -> str:
        """`97.70 to 98.12`; of a fraction cut where fractions end."""
        return NONE if ends is None else self._metric.interval(ends)


def _within(row: TableRow, metric: ScoreKind) -> str:
    published = row.published
    if published is None or published.prediction is None or row.score is None:
        return NONE
    low, high = published.prediction
    if metric.is_bounded and metric.scale * (high - low) > WIDEST_PREDICTION:
        return f"cannot tell (n = {row.score.n})"
    return (
        "interval"
        if published.inside_ci95
        else "one more run"
        if published.inside_prediction
        else "no"
    )


def _rounded(value: float | None, decimals: int) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{decimals}f}"
