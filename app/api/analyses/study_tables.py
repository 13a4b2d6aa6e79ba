"""A study's table over HTTP, as JSON, Markdown, CSV or LaTeX."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Response

from app.api.experiments.schemas import SummaryAnswer
from app.api.http import passes
from app.api.http.deps import Reading, TheStudy
from app.api.http.pictures import UNCHANGED, IfNoneMatch, is_current, revalidated
from app.api.schemas import Answer
from app.services.analyses.scores import read_metric
from app.services.analyses.study_tables import Table, TableRow, table_of
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.tabulation import Column, markdown_text, to_csv, to_latex, to_markdown
from lab_models.recipes.recipe import Factor
from lab_models.statistics.summary import Summary
from lab_models.studies.design import factor_text

router = passes.router(prefix="/studies", tags=["studies"])

CSV, MARKDOWN, LATEX = (
    "text/csv; charset=utf-8",
    "text/markdown; charset=utf-8",
    "application/x-latex; charset=utf-8",
)
METRIC = (
    "`test.<score>` or `val.<score>`, such as test.accuracy, or seconds, epochs, best.epoch, val.mean_accuracy,"
    " gradient_flow.slope"
)
MetricName = Annotated[str, Query(description=METRIC, max_length=100)]
NONE = "-"


class PublishedAnswer(Answer):
    """What the source printed for the cell, and how ours stands to it."""

    value: float
    printed: str | None
    delta: float | None
    """Ours minus the source's; percentage points for fractions."""
    inside_ci95: bool | None
    """Whether the source's number lies in the 95 % interval of our mean."""
    prediction: tuple[float, float] | None
    """Where one more run of ours would lie with 95 %: what a source's single run is to be held against."""
    inside_prediction: bool | None


class ExpectedAnswer(Answer):
    """Where a run is expected to lie at full scale."""

    low: float
    high: float
    source: str
    met: bool | None
    """Whether our mean lies there; null before there is one, and at a smaller scale."""


class RowAnswer(Answer):
    """A cell's scores over its succeeded runs."""

    cell: str
    title: str
    factors: dict[str, Factor]
    experiment_id: str
    network: str
    parameters: int
    trainable_parameters: int | None
    """How many of them were trained, where a transfer leaves some frozen."""
    macs_per_sample: int
    num_runs: int
    num_failed: int
    score: SummaryAnswer | None
    val: SummaryAnswer | None
    """The same score on val, at the chosen epoch."""
    seconds: float | None
    """Mean seconds of training and validation."""
    chosen_epoch: float | None
    """Mean of the epochs whose weights were tested."""
    last_epoch: float | None
    """Mean of the epochs trained."""
    published: PublishedAnswer | None
    expected: ExpectedAnswer | None


class TableAnswer(Answer):
    """A study's table."""

    study_id: str
    title: str
    question: str
    metric: str
    unit: str
    """Of differences."""
    factors: list[str]
    rows: list[RowAnswer]
    notes: list[str]
    links: dict[str, str]


@router.get(
    "/{study_id}/table",
    response_model=TableAnswer,
    responses={
        200: {"content": {"text/csv": {}, "text/markdown": {}, "application/x-latex": {}}},
        **UNCHANGED,
    },
)
def read_table(
    session: Reading,
    study: TheStudy,
    metric: MetricName = "test.accuracy",
    format: Literal["json", "md", "csv", "latex"] = "json",  # noqa: A002
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Per cell mean, spread, n and 95 % interval, size, cost, epochs, and the source's number; at any time, with what
    there is.
    """
    wanted = read_metric(metric)
    headers = revalidated("table", metric, format, revisions.of_study(session, study))
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    whole = studies.whole(session, study)
    table = table_of(session, whole, wanted)
    match format:
        case "json":
            return passes.answer(table_answer(whole, table), headers=headers)
        case "md":
            rows = to_markdown(columns_of(table), table.rows)
            text = f"## {markdown_text(study.name)}\n\n{rows}\n{caption_of(table)}\n"
            return Response(text, media_type=MARKDOWN, headers=headers)
        case "csv":
            disposition = f'attachment; filename="{study.id}-table.csv"'
            return Response(
                to_csv(_flat(table, row) for row in table.rows),
                media_type=CSV,
                headers={**headers, "Content-Disposition": disposition},
            )
        case "latex":
            return Response(
                to_latex(
                    columns_of(table),
                    table.rows,
                    caption=f"{_one_line(study.name)}. {caption_of(table)}",
                ),
                media_type=LATEX,
                headers=headers,
            )


def table_answer(whole: WholeStudy, table: Table) -> TableAnswer:
    """The table as JSON."""
    study = whole.study
    base = f"/studies/{study.id}"
    return TableAnswer(
        study_id=study.id,
        title=study.name,
        question=whole.design.question,
        metric=table.metric.name,
        unit=table.metric.unit,
        factors=list(table.factors),
        rows=[_row_answer(row) for row in table.rows],
        notes=list(whole.design.notes),
        links={"self": f"{base}/table", "study": base, "verdicts": f"{base}/verdicts"},
    )


def _factor(name: str, row: TableRow) -> str:
    return factor_text(row.cell.cell.factors.get(name))


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
    return text


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


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _row_answer(row: TableRow) -> RowAnswer:
    return RowAnswer(
        cell=row.cell.cell.key,
        title=row.cell.cell.title,
        factors=row.cell.cell.factors,
        experiment_id=row.cell.experiment.id,
        network=row.network,
        parameters=row.parameters,
        trainable_parameters=row.trainable_parameters,
        macs_per_sample=row.macs_per_sample,
        num_runs=row.num_runs,
        num_failed=row.num_failed,
        score=_summary(row.score),
        val=_summary(row.val),
        seconds=row.seconds,
        chosen_epoch=row.chosen_epoch,
        last_epoch=row.last_epoch,
        published=None if row.published is None else PublishedAnswer(**vars(row.published)),
        expected=None if row.expected is None else ExpectedAnswer(**vars(row.expected)),
    )


def _summary(summary: Summary | None) -> SummaryAnswer | None:
    return (
        None
        if summary is None
        else SummaryAnswer(**{**vars(summary), "values": list(summary.values)})
    )


def _flat(table: Table, row: TableRow) -> dict[str, Any]:
    """One CSV row: numbers in full, fractions as fractions."""
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
    return flat | {"source_inside_prediction": source and source.inside_prediction}
