"""A study's table over HTTP, as JSON, Markdown, CSV or LaTeX."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response

from app.api.analyses.parameters import MetricName
from app.api.experiments.schemas import SummaryAnswer
from app.api.http import passes
from app.api.http.deps import Reading, TheStudy
from app.api.http.pictures import UNCHANGED, IfNoneMatch, exhibited
from app.api.schemas import Answer
from app.services.analyses.scores import read_metric
from app.services.analyses.studies.columns import csv_of, latex_of, markdown_of, notes_of
from app.services.analyses.studies.tables import Table, TableRow, table
from lab_models.recipes.recipe import Factor
from lab_models.statistics.summary import Summary

router = passes.router(prefix="/studies", tags=["studies"])

CSV, MARKDOWN, LATEX = (
    "text/csv; charset=utf-8",
    "text/markdown; charset=utf-8",
    "application/x-latex; charset=utf-8",
)


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
    same_as: str | None
    """Key of the earlier cell that trains the same, whose experiment and runs these are; null: they are its own."""
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
    sort: str | None
    """`best`, or the factor that the rows are ordered by; null: they stand as the study was written."""
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
    sort: Annotated[
        str | None,
        Query(
            description="`best`: the best first, by val where the metric is of test; or a factor, such as model.depth",
            max_length=200,
        ),
    ] = None,
    format: Literal["json", "md", "csv", "latex"] = "json",  # noqa: A002
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Per cell mean, spread, n and 95 % interval, size, cost, epochs, and the source's number; at any time, with what
    there is.
    """
    wanted = read_metric(metric)

    def answer(found: Table, headers: dict[str, str]) -> Response:
        match format:
            case "json":
                return passes.answer(table_answer(found), headers=headers)
            case "md":
                return Response(markdown_of(found), media_type=MARKDOWN, headers=headers)
            case "csv":
                disposition = f'attachment; filename="{found.whole.study.id}-table.csv"'
                as_file = {**headers, "Content-Disposition": disposition}
                return Response(csv_of(found), media_type=CSV, headers=as_file)
            case "latex":
                return Response(latex_of(found), media_type=LATEX, headers=headers)

    return exhibited(table(session, study, wanted, sort), format, if_none_match, answer)


def table_answer(table: Table) -> TableAnswer:
    """The table as JSON."""
    study, design = table.whole.study, table.whole.design
    base = f"/studies/{study.id}"
    return TableAnswer(
        study_id=study.id,
        title=study.name,
        question=design.question,
        metric=table.metric.name,
        unit=table.metric.unit,
        factors=list(table.factors),
        sort=table.sort,
        rows=[_row_answer(row) for row in table.rows],
        notes=list(dict.fromkeys([*design.notes, *notes_of(table)])),
        links={"self": f"{base}/table", "study": base, "verdicts": f"{base}/verdicts"},
    )


def _row_answer(row: TableRow) -> RowAnswer:
    return RowAnswer(
        cell=row.cell.cell.key,
        title=row.cell.cell.title,
        factors=row.cell.cell.factors,
        same_as=row.cell.same_as,
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
