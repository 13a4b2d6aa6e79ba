"""A study's numbers in the table that its source printed: the source's own columns and rows, ours beside its."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from sqlmodel import Session

from app.errors import Conflict, NotFound
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.pairing import on_survivors, pair_unjudged
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.studies.cell_sides import sides_of
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.tables import Study
from lab_models.architectures.counting import counts_of
from lab_models.datasets.catalog import BUILT_IN
from lab_models.recipes.published_tables import (
    TEST_ACCURACY,
    Improved,
    Measure,
    PublishedTable,
    RowName,
    Scored,
    Sized,
)
from lab_models.specs import read_spec
from lab_models.statistics.paired import Paired
from lab_models.statistics.summary import Summary, summarise

SECONDS = "seconds"
"""Asked for beside any other metric."""


@dataclass(frozen=True)
class FilledPlace:
    """One place of the table. `printed` is what the source has there, None where it has nothing or the cells are not
    its work. `score` is a fraction for an accuracy, or as `shown_as` says; `difference` is in the unit that the metric
    is spoken of in; `count` is a size.
    """

    cells: tuple[str, ...] = ()
    metric: ScoreKind | None = None
    printed: str | None = None
    name: str | None = None
    score: Summary | None = None
    shown_as: str = "level"
    difference: Paired | None = None
    count: int | None = None


@dataclass(frozen=True)
class FilledColumn:
    """A column: the source's own, or one that is added on the right. `place` counts both from the left."""

    text: str
    measure: Measure
    place: int
    is_added: bool = False


@dataclass(frozen=True)
class PublishedShape:
    """The source's table filled with the study's numbers. `has_printed`: whether the source's numbers stand in it."""

    whole: WholeStudy
    table: PublishedTable
    headings: tuple[FilledColumn, ...]
    rows: tuple[tuple[FilledPlace, ...], ...]
    remarks: tuple[str, ...] = ()
    """What of the numbers is not as it was measured, or of some runs alone: a sentence each."""

    @property
    def has_printed(self) -> bool:
        """Whether any number of the source stands in it."""
        return any(
            place.printed is not None and place.name is None for row in self.rows for place in row
        )


def published_shape(
    session: Session, study: Study, metric: ScoreKind | None
) -> Exhibit[PublishedShape]:
    """The table as far as there are results; with a metric every score is of that one. Raises NotFound, when it is
    read, where no source has printed a table.
    """

    def read() -> PublishedShape:
        whole = studies.whole(session, study)
        found = shape_of(Scores(session, whole.runs), whole, metric)
        if found is None:
            reason = (
                f"recipe {study.recipe!r} reproduces no printed table"
                if study.recipe is not None
                else "it is your own, and no source has printed a table of it"
            )
            raise NotFound(
                f"study {study.id} has no published shape: {reason}; leave 'shape' out for the table of its cells"
            )
        return found

    asked = (None if metric is None else metric.name,)
    return Exhibit("study table as published", asked, revisions.of_study(session, study), read)


def shape_of(
    scores: Scores, whole: WholeStudy, metric: ScoreKind | None = None
) -> PublishedShape | None:
    """The table of a study that has been read; None where its design has none that can be filled."""
    table = next((table for table in whole.design.published_tables if table.measures), None)
    if table is None:
        return None
    headings = tuple(_headings(table, metric))
    filled = _Filled(scores, whole, table, metric)
    rows = range(len(table.rows))
    if table.row_metrics and metric is not None:
        rows = rows[:1]  # all others would repeat it
    remarks = (
        ()
        if metric is None
        else (
            *on_survivors(scores, list(sides_of(whole).values()), metric),
            *scores.remarks(whole.runs, metric),
        )
    )
    found = tuple(tuple(filled.row(row, headings)) for row in rows)
    return PublishedShape(whole, table, headings, found, remarks)


def _headings(table: PublishedTable, metric: ScoreKind | None) -> Iterator[FilledColumn]:
    """With a metric the source's words for a score are no longer true, and no cell's score stands there twice."""
    own = zip(table.columns, table.measures, strict=True)
    added = ((column.heading, column.measure) for column in table.added)
    arms: set[str] = set()
    for place, (text, measure) in enumerate([*own, *added]):
        is_added = place >= len(table.columns)
        if isinstance(measure, Scored) and metric is not None and measure.metric != SECONDS:
            if measure.arm in arms:
                continue
            arms.add(measure.arm)
            said = metric.label + (f", {measure.arm}" if measure.arm else "")
            yield FilledColumn(
                text if metric.name == measure.metric else said, measure, place, is_added
            )
        else:
            yield FilledColumn(text, measure, place, is_added)


class _Filled:
    """Every metric is read once for the whole table."""

    def __init__(
        self, scores: Scores, whole: WholeStudy, table: PublishedTable, metric: ScoreKind | None
    ) -> None:
        self._scores = scores
        self._whole, self._table, self._metric = whole, table, metric
        self._cells = {cell.cell.key: cell for cell in whole.cells}
        self._sides = sides_of(whole)

    def row(self, row: int, headings: Sequence[FilledColumn]) -> Iterator[FilledPlace]:
        arms = self._table.arms(row)
        for heading in headings:
            printed = None if heading.is_added else self._table.rows[row][heading.place] or None
            yield self._place(row, heading.measure, arms, printed)

    def _place(
        self, row: int, measure: Measure, arms: dict[str, str], printed: str | None
    ) -> FilledPlace:
        match measure:
            case RowName():
                is_metric = self._table.row_metrics and self._metric is not None
                name = self._metric.label if is_metric and self._metric else printed
                return FilledPlace(printed=printed, name=name or "")
            case Scored():
                metric, is_own = self._metric_of(row, measure)
                cell = self._cells[arms[measure.arm]]
                score, shown_as = self._score(cell, metric), measure.shown_as if is_own else "level"
                shown = printed if is_own and self._is_sources(cell) else None
                score = _as(shown_as, cell, score)
                return FilledPlace((cell.cell.key,), metric, shown, score=score, shown_as=shown_as)
            case Improved():
                metric, is_own = self._metric_of(row, measure)
                treated, plain = (
                    self._cells[arms[arm]] for arm in (measure.treatment, measure.control)
                )
                shown = printed if is_own and self._is_sources(treated, plain) else None
                keys = (treated.cell.key, plain.cell.key)
                return FilledPlace(
                    keys, metric, shown, difference=self._paired(treated, plain, metric)
                )
            case Sized():
                cell = self._cells[arms[measure.arm]]
                shown = printed if self._is_sources(cell) else None
                return FilledPlace((cell.cell.key,), None, shown, count=_size(cell, measure))
            case _:
                assert_never(measure)

    def _metric_of(self, row: int, measure: Scored | Improved) -> tuple[ScoreKind, bool]:
        """What the place is of, and whether that is what the source printed there."""
        own = measure.metric
        if self._table.row_metrics and own == TEST_ACCURACY:
            own = self._table.row_metrics[row]
        wanted = own if self._metric is None or own == SECONDS else self._metric.name
        return ScoreKind(wanted), wanted == own

    def _is_sources(self, *cells: StudyCell) -> bool:
        return all(cell.cell.key in self._whole.design.sources for cell in cells)

    def _score(self, cell: StudyCell, metric: ScoreKind) -> Summary | None:
        depends_on_seed = self._sides[cell.cell.key].depends_on_seed
        return self._scores.summary(cell.runs, metric, depends_on_seed=depends_on_seed)

    def _paired(self, treated: StudyCell, plain: StudyCell, metric: ScoreKind) -> Paired | None:
        treatment, control = (self._sides[cell.cell.key] for cell in (treated, plain))
        try:
            return pair_unjudged(self._scores, treatment, control, metric, margin=None).paired
        except Conflict:
            return None


def _as(shown_as: str, cell: StudyCell, score: Summary | None) -> Summary | None:
    """An accuracy turned into what the source shows of it."""
    if score is None or shown_as == "level":
        return score
    factor = 1.0
    if shown_as == "errors":
        info = BUILT_IN.get(cell.experiment.spec["dataset"]["name"])
        if info is None:
            return None
        factor = float(info.num_test)
    return summarise([factor * (1.0 - value) for value in score.values])


def _size(cell: StudyCell, measure: Sized) -> int | None:
    counts = counts_of(read_spec(cell.experiment.spec).network)
    match measure.size:
        case "parameters":
            return cell.experiment.parameters
        case "stages":
            return counts.num_stages
        case "blocks":
            return counts.num_blocks
        case "conv_layers":
            return counts.num_conv_layers
        case _:
            assert_never(measure.size)
