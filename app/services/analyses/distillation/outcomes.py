"""Teacher, baseline and distilled student: their runs, and what the judge says of the student against its baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sqlmodel import Session, col, select

from app.errors import Conflict, NotFound
from app.services.analyses.looks import Looks
from app.services.analyses.pairing import PairedScores, margin_of, pair_sides
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.sides import Side
from app.services.experiments.experiments import its_runs, runs_of
from app.services.experiments.results import Summary, summarise
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.specs import DistillSpec, FeatureSpec, read_spec
from lab_models.statistics.paired import Paired
from lab_models.statistics.verdicts import Judgement, not_measured

ACCURACY = ScoreKind("test.accuracy")
NO_BASELINE = "there is no baseline"


class ArmRole(StrEnum):
    """Who is compared, in the order of the table."""

    TEACHER = "teacher"
    BASELINE = "baseline"
    DISTILLED = "distilled"


@dataclass(frozen=True)
class ArmRun:
    """One seed's run; `test` is its score sheet once it has succeeded."""

    id: str
    seed: int
    status: RunStatus
    epochs: int
    test: dict[str, float] | None = None
    dataset_sha256: str | None = None


@dataclass(frozen=True)
class Arm:
    """One of the networks compared. Its size is None when its experiment is gone."""

    role: ArmRole
    experiment_id: str | None
    network: str
    parameters: int | None
    macs_per_sample: int | None
    runs: tuple[ArmRun, ...]

    @property
    def succeeded(self) -> tuple[ArmRun, ...]:
        """The runs that have been tested: those that the numbers come from."""
        return tuple(
            run for run in self.runs if run.status is RunStatus.SUCCEEDED and run.test is not None
        )

    @property
    def complete(self) -> bool:
        """Whether every run has succeeded."""
        return bool(self.runs) and len(self.succeeded) == len(self.runs)

    def by_seed(self, name: str) -> dict[int, float]:
        """One score of each succeeded run that has it."""
        return {
            run.seed: run.test[name]
            for run in self.succeeded
            if run.test is not None and name in run.test
        }

    def summary(self, name: str) -> Summary | None:
        """One score over the succeeded runs; None when there is none."""
        values = list(self.by_seed(name).values())
        return summarise(values) if values else None


@dataclass(frozen=True)
class Gain:
    """Distilled against baseline; `scores` is None, with the reason in `refused`, where the two cannot be compared. It
    holds for this one teacher and this one test split.
    """

    scores: PairedScores | None
    refused: str = ""

    @cached_property
    def judgement(self) -> Judgement:
        """How the distilled student stands to its baseline."""
        return not_measured(self.refused) if self.scores is None else self.scores.judged()

    @property
    def paired(self) -> Paired:
        """The differences, without any where the two cannot be compared."""
        return Paired(0, (), None) if self.scores is None else self.scores.paired


@dataclass(frozen=True)
class DistillationOutcome:
    """A distillation's arms; `baseline` is None when none was asked for."""

    experiment_id: str
    name: str | None
    temperature: float
    alpha: float
    teacher: Arm
    baseline: Arm | None
    distilled: Arm
    gain: Gain
    features: FeatureSpec | None = None
    """What of the teacher is matched beside its logits."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Teacher, baseline if there is one, distilled."""
        return (self.teacher, *([] if self.baseline is None else [self.baseline]), self.distilled)

    @property
    def complete(self) -> bool:
        """Whether every run of every arm has succeeded."""
        return all(arm.complete for arm in self.arms)

    def share_of_teacher(self, arm: Arm) -> float | None:
        """The arm's parameters, as a share of the teacher's; None where one is not known."""
        if arm.parameters is None or not self.teacher.parameters:
            return None
        return arm.parameters / self.teacher.parameters


def distill_spec(experiment: Experiment) -> DistillSpec:
    """What a distillation is; raises NotFound for an experiment of another kind."""
    spec = read_spec(experiment.spec)
    if not isinstance(spec, DistillSpec):
        raise NotFound(
            f"experiment {experiment.id} has kind {experiment.kind!r}, and only a distillation has a teacher to be"
            ' compared with; POST /experiments with "kind": "distill" starts one, with "baseline": true also the'
            " student without a teacher"
        )
    return spec


def load_outcome(session: Session, experiment: Experiment) -> DistillationOutcome:
    """The rows of a distillation and of what it is compared with; NotFound for an experiment of another kind."""
    spec = distill_spec(experiment)
    baseline_id = experiment.related.get("baseline")
    taught_by = teachers_of(session, experiment)
    teacher = session.get(Experiment, taught_by[0].experiment_id) if taught_by else None
    baseline = None if baseline_id is None else session.get(Experiment, baseline_id)
    runs = runs_of(session, [row.id for row in (experiment, baseline) if row is not None])
    student = describe(spec.network)
    return DistillationOutcome(
        experiment_id=experiment.id,
        name=experiment.name,
        temperature=spec.temperature,
        alpha=spec.alpha,
        teacher=_arm(
            ArmRole.TEACHER,
            teacher,
            describe(spec.teacher.spec.network),
            taught_by,
        ),
        baseline=None
        if baseline is None
        else _arm(ArmRole.BASELINE, baseline, student, runs[baseline.id]),
        distilled=_arm(ArmRole.DISTILLED, experiment, student, runs[experiment.id]),
        gain=Gain(None, NO_BASELINE)
        if baseline is None
        else _gain(
            session,
            Side(experiment, runs[experiment.id], "the distilled student"),
            Side(baseline, runs[baseline.id], "the baseline"),
        ),
        features=spec.features,
    )


def teachers_of(session: Session, experiment: Experiment) -> list[Run]:
    """The runs that its students learn from: one that all share, or each seed's own."""
    if distill_spec(experiment).has_own_foundations:
        needs = [run.needs for run in its_runs(session, experiment.id) if run.needs is not None]
    else:
        shared = experiment.related.get("teacher_run")
        needs = [] if shared is None else [shared]
    found = {run.id: run for run in session.exec(select(Run).where(col(Run.id).in_(needs)))}
    return [found[run_id] for run_id in needs if run_id in found]


def _arm(role: ArmRole, experiment: Experiment | None, network: str, runs: Sequence[Run]) -> Arm:
    return Arm(
        role=role,
        experiment_id=None if experiment is None else experiment.id,
        network=network,
        parameters=None if experiment is None else experiment.parameters,
        macs_per_sample=None if experiment is None else experiment.macs_per_sample,
        runs=tuple(
            ArmRun(
                run.id,
                run.seed,
                run.status,
                run.epochs,
                run.test or None,
                (run.environment or {}).get("dataset_sha256"),
            )
            for run in runs
        ),
    )


def _gain(session: Session, distilled: Side, baseline: Side) -> Gain:
    runs = [*distilled.runs, *baseline.runs]
    scores, looks = Scores(session, runs), Looks(session, runs)
    margin = margin_of(ACCURACY, distilled.experiment.spec["dataset"]["name"])
    try:
        return Gain(pair_sides(scores, looks, distilled, baseline, ACCURACY, margin=margin))
    except Conflict as error:
        return Gain(None, str(error))
