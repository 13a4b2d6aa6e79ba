"""A study's table: what each cell scored over its seeds, beside what the source printed and what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import METRICS, ScoreKind, Scores
from app.services.analyses.studies.words import is_number, names_of_factors
from app.services.analyses.training_scores import survivors
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.states import RunStatus
from app.storage.tables import Study
from lab_models.architectures.counting import LayerCounts, counts_of
from lab_models.architectures.naming import describe
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.recipes.recipe import Factor
from lab_models.specs import read_spec
from lab_models.statistics.summary import Summary, prediction_interval
from lab_models.studies.design import factor_text

BEST = "best"
"""The order in which the best comes first."""


@dataclass(frozen=True)
class AgainstSource:
    """The source's number beside ours. Of `delta`, ours minus the source's, the unit is the metric's spoken one.

    A source's number is one run's, so it is held against `prediction`, where one more run of ours would lie with 95 %;
    `inside_ci95` asks more: whether it lies in the interval of our mean.
    """

    value: float
    printed: str | None
    delta: float | None
    inside_ci95: bool | None
    prediction: tuple[float, float] | None
    inside_prediction: bool | None


@dataclass(frozen=True)
class AgainstExpected:
    """Where a run of the source's work is expected to lie; `met` is whether our mean does, None before there is one."""

    low: float
    high: float
    source: str
    met: bool | None


@dataclass(frozen=True)
class TableRow:
    """One cell. `seconds` of training, the chosen and the last epoch are means over the succeeded runs."""

    cell: StudyCell
    dataset: str
    network: str
    counts: LayerCounts
    parameters: int
    trainable_parameters: int | None
    macs_per_sample: int
    num_runs: int
    num_failed: int
    num_succeeded: int
    score: Summary | None
    val: Summary | None
    seconds: float | None
    chosen_epoch: float | None
    last_epoch: float | None
    published: AgainstSource | None
    expected: AgainstExpected | None
    seeds: tuple[int, ...] = ()
    """Of the score's values."""


@dataclass(frozen=True)
class Table:
    """All rows, top to bottom; `val` is the same score on val at the chosen epoch, where there is one. `sort` is what
    they are ordered by, `best` or a factor; None: as the design has them.
    """

    whole: WholeStudy
    metric: ScoreKind
    factors: tuple[str, ...]
    rows: tuple[TableRow, ...]
    sort: str | None = None
    remarks: tuple[str, ...] = ()
    """What of the numbers is not as it was measured, a sentence each."""

    @property
    def shows_val(self) -> bool:
        """Whether the scores on val stand beside those on test: wherever there are any."""
        return any(row.val is not None for row in self.rows)

    @property
    def num_datasets(self) -> int:
        """How many data sets the rows are of; numbers of different ones are no comparison."""
        return len({row.dataset for row in self.rows})

    @property
    def on_survivors(self) -> list[str]:
        """Says where a number is of those runs alone that reached something; empty where all are of all."""
        reached = [
            (row.cell.cell.title, 0 if row.score is None else row.score.n, row.num_succeeded)
            for row in self.rows
        ]
        note = survivors(self.metric.name, reached)
        return [] if note is None else [note]


def table(session: Session, study: Study, metric: ScoreKind, sort: str | None) -> Exhibit[Table]:
    """The table of a study as far as there are results, in the order that is asked for."""

    def read() -> Table:
        whole = studies.whole(session, study)
        return in_order(table_of(Scores(session, whole.runs), whole, metric), sort)

    revision = revisions.of_study(session, study)
    return Exhibit("study table", (metric.name, sort), revision, read)


def in_order(table: Table, sort: str | None) -> Table:
    """The table in another order: `best`, or by a factor, numbers rising before everything else. Raises
    InvalidRequest for what is neither.

    The best first is by val where the metric is of test: val chooses, test reports. What has no score comes last.
    """
    if sort is None:
        return table
    if sort == BEST:
        sign = 1 if table.metric.lower_is_better else -1
        scored = {id(row): row.val or row.score for row in table.rows}

        def key(row: TableRow) -> tuple[bool, float]:
            summary = scored[id(row)]
            return (
                (True, 0.0)
                if summary is None
                else (False, sign * table.metric.compared(summary.mean))
            )

        return replace(table, rows=tuple(sorted(table.rows, key=key)), sort=sort)
    names = names_of_factors(table.whole)
    if sort not in names:
        message = f"the table cannot be sorted by {sort!r}"
        hint = did_you_mean(sort, [BEST, *names])
        raise InvalidRequest(message, [FieldError("/sort", message, hint)])
    values = [row.cell.cell.factors.get(names[sort]) for row in table.rows]
    places = sorted(range(len(values)), key=lambda place: _rank(values[place]))
    return replace(table, rows=tuple(table.rows[place] for place in places), sort=names[sort])


def _rank(value: Factor) -> tuple[bool, float, str]:
    return (False, float(value), "") if is_number(value) else (True, 0.0, factor_text(value))


def table_of(scores: Scores, whole: WholeStudy, metric: ScoreKind) -> Table:
    """The table of a study that has been read, from the scores of its runs."""
    return Table(
        whole,
        metric,
        whole.design.factors,
        tuple(_row(scores, cell, metric) for cell in whole.cells),
        remarks=tuple(scores.remarks(whole.runs, metric)),
    )


def _row(scores: Scores, cell: StudyCell, metric: ScoreKind) -> TableRow:
    succeeded = [run for run in cell.runs if run.status == RunStatus.SUCCEEDED]
    experiment = cell.experiment
    spec = read_spec(experiment.spec)
    score = scores.summary(cell.runs, metric, depends_on_seed=spec.depends_on_seed)
    on_val = metric.name.replace("test.", "val.", 1)
    return TableRow(
        cell=cell,
        dataset=spec.dataset.name,
        network=describe(spec.network),
        counts=counts_of(spec.network),
        parameters=experiment.parameters,
        trainable_parameters=experiment.trainable_parameters,
        macs_per_sample=experiment.macs_per_sample,
        num_runs=len(cell.runs),
        num_failed=sum(run.status == RunStatus.FAILED for run in cell.runs),
        num_succeeded=len(succeeded),
        score=score,
        val=scores.summary(cell.runs, ScoreKind(on_val), depends_on_seed=spec.depends_on_seed)
        if on_val != metric.name and on_val in METRICS
        else None,
        seconds=_mean(list(scores.by_seed(cell.runs, ScoreKind("seconds")).values())),
        chosen_epoch=_mean([run.best["epoch"] for run in succeeded if run.best is not None]),
        last_epoch=_mean([run.epochs_done for run in succeeded]),
        published=_against_source(cell, metric, score),
        expected=_against_expected(cell, metric, score),
        seeds=tuple(scores.by_seed(cell.runs, metric))[: 0 if score is None else score.n],
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _against_source(
    cell: StudyCell, metric: ScoreKind, score: Summary | None
) -> AgainstSource | None:
    published = cell.cell.published
    if published is None or published.metric != metric.name:
        return None
    prediction = None if score is None else prediction_interval(score)
    return AgainstSource(
        value=published.value,
        printed=published.printed,
        delta=None if score is None else metric.scale * (score.mean - published.value),
        inside_ci95=None
        if score is None or score.ci95 is None
        else score.ci95[0] <= published.value <= score.ci95[1],
        prediction=prediction,
        inside_prediction=None
        if prediction is None
        else prediction[0] <= published.value <= prediction[1],
    )


def _against_expected(
    cell: StudyCell, metric: ScoreKind, score: Summary | None
) -> AgainstExpected | None:
    expected = cell.cell.expected
    if expected is None or expected.metric != metric.name:
        return None
    met = expected.low <= score.mean <= expected.high if score is not None else None
    return AgainstExpected(expected.low, expected.high, expected.source, met)
