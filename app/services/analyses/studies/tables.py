"""A study's table: what each cell scored over its seeds, beside what the source printed and what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlmodel import Session

from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import ScoreKind, Scores, read_metric
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.states import RunStatus
from app.storage.tables import Run, Study
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec
from lab_models.statistics.summary import Summary, prediction_interval, summarise


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
    """Where a run is expected to lie; `met` is whether our mean does, None before there is one or at a smaller
    scale.
    """

    low: float
    high: float
    source: str
    met: bool | None


@dataclass(frozen=True)
class TableRow:
    """One cell. `seconds` of training, the chosen and the last epoch are means over the succeeded runs."""

    cell: StudyCell
    network: str
    parameters: int
    trainable_parameters: int | None
    macs_per_sample: int
    num_runs: int
    num_failed: int
    score: Summary | None
    val: Summary | None
    seconds: float | None
    chosen_epoch: float | None
    last_epoch: float | None
    published: AgainstSource | None
    expected: AgainstExpected | None


@dataclass(frozen=True)
class Table:
    """All rows, top to bottom; `val` is the same score on val at the chosen epoch, where there is one."""

    whole: WholeStudy
    metric: ScoreKind
    factors: tuple[str, ...]
    rows: tuple[TableRow, ...]


def table(session: Session, study: Study, metric: ScoreKind) -> Exhibit[Table]:
    """The table of a study as far as there are results."""
    return Exhibit(
        "study table",
        (metric.name,),
        revisions.of_study(session, study),
        lambda: table_of(session, studies.whole(session, study), metric),
    )


def table_of(session: Session, whole: WholeStudy, metric: ScoreKind) -> Table:
    """The table of a study that has been read."""
    scores = Scores(session, whole.runs)
    return Table(
        whole,
        metric,
        whole.design.factors,
        tuple(_row(scores, cell, metric, whole.design.whole) for cell in whole.cells),
    )


def _row(scores: Scores, cell: StudyCell, metric: ScoreKind, is_whole: bool) -> TableRow:
    succeeded = [run for run in cell.runs if run.status == RunStatus.SUCCEEDED]
    score = _summary(scores, succeeded, metric)
    on_val = (
        read_metric("val." + metric.name.removeprefix("test."))
        if metric.name.startswith("test.")
        else None
    )
    experiment = cell.experiment
    return TableRow(
        cell=cell,
        network=describe(read_spec(experiment.spec).network),
        parameters=experiment.parameters,
        trainable_parameters=experiment.trainable_parameters,
        macs_per_sample=experiment.macs_per_sample,
        num_runs=len(cell.runs),
        num_failed=sum(run.status == RunStatus.FAILED for run in cell.runs),
        score=score,
        val=None if on_val is None else _summary(scores, succeeded, on_val),
        seconds=_mean(list(scores.by_seed(succeeded, ScoreKind("seconds")).values())),
        chosen_epoch=_mean([run.best["epoch"] for run in succeeded if run.best is not None]),
        last_epoch=_mean([run.epochs_done for run in succeeded]),
        published=_against_source(cell, metric, score),
        expected=_against_expected(cell, metric, score, is_whole),
    )


def _summary(scores: Scores, runs: Sequence[Run], metric: ScoreKind) -> Summary | None:
    values = list(scores.by_seed(runs, metric).values())
    return summarise(values) if values else None


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
    cell: StudyCell, metric: ScoreKind, score: Summary | None, is_whole: bool
) -> AgainstExpected | None:
    expected = cell.cell.expected
    if expected is None or expected.metric != metric.name:
        return None
    met = expected.low <= score.mean <= expected.high if score is not None and is_whole else None
    return AgainstExpected(expected.low, expected.high, expected.source, met)
