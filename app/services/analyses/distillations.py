"""Teacher, baseline and distilled student side by side: what the judge says of the student against its baseline, and
how much of the gap to the teacher is closed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sqlmodel import Session

from app.errors import Conflict, NotFound
from app.services.analyses.pairing import PairedScores, Side, margin_of, pair_sides
from app.services.analyses.scores import ScoreKind, Scores
from app.services.experiments.experiments import runs_of
from app.services.experiments.results import Summary, summarise
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.specs import DistillSpec, FeatureSpec, read_spec
from lab_models.statistics.verdicts import Judgement, Verdict, not_measured
from lab_models.statistics.wording import NOTHING

ACCURACY = ScoreKind("test.accuracy")
NO_BASELINE = "there is no baseline"

TEACHER_TOLERANCE = 0.002
"""Share of test images whose top class may change when another device or batch size rounds a teacher's logits
differently.
"""


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
        """The verdict on "the distilled student is better than its baseline"."""
        return not_measured(self.refused) if self.scores is None else self.scores.judged()


@dataclass(frozen=True)
class Gap:
    """Share of the way from baseline to teacher that distillation has gone; None with the `reason` why not."""

    closed: float | None
    reason: str | None


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


def load_comparison(session: Session, experiment: Experiment) -> DistillationOutcome:
    """The rows of a distillation and of what it is compared with; NotFound for an experiment of another kind."""
    spec = read_spec(experiment.spec)
    if not isinstance(spec, DistillSpec):
        raise NotFound(
            f"experiment {experiment.id} has kind {experiment.kind!r}, and only a distillation has a teacher to be"
            ' compared with; POST /experiments with "kind": "distill" starts one, with "baseline": true also the'
            " student without a teacher"
        )
    taught_by, baseline_id = (
        experiment.related.get("teacher_run"),
        experiment.related.get("baseline"),
    )
    run = None if taught_by is None else session.get(Run, taught_by)
    teacher = None if run is None else session.get(Experiment, run.experiment_id)
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
            [] if run is None else [run],
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


def gap_of(comparison: DistillationOutcome) -> Gap:
    """(distilled - baseline) / (teacher - baseline), the students' means over the paired seeds."""
    scores, baseline = comparison.gain.scores, comparison.baseline
    if scores is None or baseline is None:
        return Gap(None, comparison.gain.refused)
    if scores.paired.mean is None:
        return Gap(None, "no seed has succeeded in both arms")
    teacher = comparison.teacher.summary("accuracy")
    if teacher is None:
        return Gap(None, "the teacher's test accuracy is not known")
    alone = baseline.by_seed("accuracy")
    start = summarise([alone[seed] for seed in scores.seeds]).mean
    distance = ACCURACY.scale * (teacher.mean - start)
    if distance <= NOTHING:
        return Gap(
            None,
            f"the teacher ({_percent(teacher.mean)}) is not better than the baseline ({_percent(start)}), so there is"
            " no gap to close",
        )
    return Gap(scores.paired.mean / distance, None)


def sentence(comparison: DistillationOutcome) -> str:
    """What the comparison shows, and what is still missing."""
    said = [_finding(comparison)]
    waiting = [_standing(arm) for arm in comparison.arms if not arm.complete]
    if waiting:
        said.append(f"Not all runs have succeeded: {'; '.join(waiting)}.")
    return " ".join(said)


def warnings(comparison: DistillationOutcome) -> list[str]:
    """What makes the arms unequal, so that the numbers mean less than they seem to."""
    found = []
    if (
        len(
            {
                run.dataset_sha256
                for arm in comparison.arms
                for run in arm.succeeded
                if run.dataset_sha256 is not None
            }
        )
        > 1
    ):
        found.append(
            "the runs used different versions of the data set: their accuracies were measured on different images"
        )
    own, seen = (
        comparison.teacher.summary("accuracy"),
        comparison.distilled.summary("teacher_accuracy"),
    )
    if own is not None and seen is not None and abs(own.mean - seen.mean) > TEACHER_TOLERANCE:
        found.append(
            f"the teacher scored {_percent(own.mean)} on test in its own run, but {_percent(seen.mean)} when the"
            " students were tested beside it"
        )
    return found


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
    scores = Scores(session, [*distilled.runs, *baseline.runs])
    margin = margin_of(ACCURACY, distilled.experiment.spec["dataset"]["name"])
    try:
        return Gain(pair_sides(scores, distilled, baseline, ACCURACY, margin=margin))
    except Conflict as error:
        return Gain(None, str(error))


def _finding(comparison: DistillationOutcome) -> str:
    """The judge's sentence as the answer to its question; of the gap nothing is said unless a gain is shown."""
    judgement = comparison.gain.judgement
    if comparison.baseline is None:
        return (
            f"{_reached(comparison)}There is no baseline, so no gain can be computed: send the experiment again with"
            ' "baseline": true.'
        )
    before = _reached(comparison) if judgement.verdict is Verdict.NOT_MEASURED else ""
    after = _gap_in_words(gap_of(comparison)) if judgement.verdict is Verdict.SUPPORTED else ""
    return f"{before}Better on test than the baseline? {judgement.sentence}{after}"


def _gap_in_words(gap: Gap) -> str:
    if gap.closed is None:
        reason = gap.reason or ""
        return f" {reason[:1].upper()}{reason[1:]}."
    if gap.closed > 1:
        return f" That passes the teacher: {_whole_percent(gap.closed)} of the gap to it."
    return f" That closes {_whole_percent(gap.closed)} of the gap to the teacher."


def _reached(comparison: DistillationOutcome) -> str:
    taught, teacher = (
        comparison.distilled.summary("accuracy"),
        comparison.teacher.summary("accuracy"),
    )
    if taught is None:
        return ""
    beside = "" if teacher is None else f", the teacher {_percent(teacher.mean)}"
    seeds = f"mean of {taught.n} seeds" if taught.n > 1 else "one seed"
    return f"The distilled student reaches {_percent(taught.mean)} on test ({seeds}){beside}. "


def _standing(arm: Arm) -> str:
    """Such as `baseline 2 of 5 (1 failed, 2 queued)`."""
    if not arm.runs:
        return f"{arm.role} is gone"
    others = Counter(
        "untested" if run.status is RunStatus.SUCCEEDED else run.status.value
        for run in arm.runs
        if run not in arm.succeeded
    )
    return (
        f"{arm.role} {len(arm.succeeded)} of {len(arm.runs)}"
        f" ({', '.join(f'{count} {status}' for status, count in sorted(others.items()))})"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _whole_percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %" if fraction >= 0.01 else "less than 1 %"
