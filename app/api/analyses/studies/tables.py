"""A study's table over HTTP, as JSON, Markdown, CSV or LaTeX."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Response

from app.api.analyses.parameters import MetricNameOrNone
from app.api.analyses.studies.published import PublishedTableAnswer, published_answer
from app.api.experiments.schemas import SummaryAnswer
from app.api.http import passes
from app.api.http.deps import Reading, TheStudy
from app.api.http.pictures import UNCHANGED, IfNoneMatch, exhibited
from app.api.schemas import Answer
from app.errors import InvalidRequest
from app.services.analyses.scores import read_metric
from app.services.analyses.studies.columns import latex_of, markdown_of, notes_of
from app.services.analyses.studies.csv_rows import csv_of
from app.services.analyses.studies.published import PublishedShape, published_shape
from app.services.analyses.studies.published_texts import (
    published_csv,
    published_latex,
    published_markdown,
)
from app.services.analyses.studies.tables import Table, TableRow, table
from app.services.studies.studies import WholeStudy
from lab_models.common.validation import FieldError
from lab_models.recipes.published_tables import TEST_ACCURACY
from lab_models.recipes.recipe import Factor

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
    """Where a run of the source's work is expected to lie."""

    low: float
    high: float
    source: str
    met: bool | None
    """Whether our mean lies there; null before there is one."""


class RowAnswer(Answer):
    """A cell's scores over its succeeded runs."""

    cell: str
    title: str
    factors: dict[str, Factor]
    same_as: str | None
    """Key of the earlier cell that trains the same, whose experiment and runs these are; null: they are its own."""
    experiment_id: str
    dataset: str
    network: str
    num_stages: int | None
    """Of a network of convs; null: it has none."""
    num_blocks: int | None
    """Of two convs each, with or without a shortcut."""
    num_conv_layers: int | None
    """Every conv, the stem's and those of shortcuts too."""
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
    """null: the source has none for this cell, or the cell is not the source's work: another data set, network or
    procedure, or a smaller scale.
    """
    expected: ExpectedAnswer | None
    """null for the same reasons."""


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
    response_model=TableAnswer | PublishedTableAnswer,
    responses={
        200: {"content": {"text/csv": {}, "text/markdown": {}, "application/x-latex": {}}},
        **UNCHANGED,
    },
)
def read_table(
    session: Reading,
    study: TheStudy,
    shape: Annotated[
        Literal["long", "published"],
        Query(
            description="`long`: a row per cell; `published`: the columns and rows of the table that the source printed"
        ),
    ] = "long",
    metric: MetricNameOrNone = None,
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
    """Per cell mean, spread, n and 95 % interval, size, cost, epochs, and the source's number; or the source's own
    table, filled; at any time, with what there is. Without a metric it is test accuracy, or what each of the source's
    columns is of.
    """
    if shape == "published":
        if sort is not None:
            message = "the published shape has the source's rows in the source's order"
            raise InvalidRequest(
                message, [FieldError("/sort", message, "leave out one of the two")]
            )
        named = None if metric is None else read_metric(metric)
        exhibit = published_shape(session, study, named)
        return exhibited(exhibit, format, if_none_match, partial(_as_published, format))
    wanted = read_metric(metric or TEST_ACCURACY)

    def answer(found: Table, headers: dict[str, str]) -> Response:
        match format:
            case "json":
                return passes.answer(table_answer(found), headers=headers)
            case "md":
                return Response(markdown_of(found), media_type=MARKDOWN, headers=headers)
            case "csv":
                return _csv_file(found.whole, csv_of(found), headers)
            case "latex":
                return Response(latex_of(found), media_type=LATEX, headers=headers)

    return exhibited(table(session, study, wanted, sort), format, if_none_match, answer)


def _as_published(
    form: Literal["json", "md", "csv", "latex"], found: PublishedShape, headers: dict[str, str]
) -> Response:
    match form:
        case "json":
            return passes.answer(published_answer(found), headers=headers)
        case "md":
            return Response(published_markdown(found), media_type=MARKDOWN, headers=headers)
        case "csv":
            return _csv_file(found.whole, published_csv(found), headers)
        case "latex":
            return Response(published_latex(found), media_type=LATEX, headers=headers)


def _csv_file(whole: WholeStudy, text: str, headers: dict[str, str]) -> Response:
    disposition = f'attachment; filename="{whole.study.id}-table.csv"'
    return Response(text, media_type=CSV, headers={**headers, "Content-Disposition": disposition})


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
        notes=list(dict.fromkeys([*design.remarks, *notes_of(table)])),
        links={
            "self": f"{base}/table",
            "study": base,
            "verdicts": f"{base}/verdicts",
            **(
                {"published": f"{base}/table?shape=published"}
                if any(one.measures for one in design.published_tables)
                else {}
            ),
        },
    )


def _row_answer(row: TableRow) -> RowAnswer:
    return RowAnswer(
        cell=row.cell.cell.key,
        title=row.cell.cell.title,
        factors=row.cell.cell.factors,
        same_as=row.cell.same_as,
        experiment_id=row.cell.experiment.id,
        dataset=row.dataset,
        network=row.network,
        **vars(row.counts),
        parameters=row.parameters,
        trainable_parameters=row.trainable_parameters,
        macs_per_sample=row.macs_per_sample,
        num_runs=row.num_runs,
        num_failed=row.num_failed,
        score=None if row.score is None else SummaryAnswer.of(row.score),
        val=None if row.val is None else SummaryAnswer.of(row.val),
        seconds=row.seconds,
        chosen_epoch=row.chosen_epoch,
        last_epoch=row.last_epoch,
        published=None if row.published is None else PublishedAnswer(**vars(row.published)),
        expected=None if row.expected is None else ExpectedAnswer(**vars(row.expected)),
    )
