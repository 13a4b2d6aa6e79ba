"""What distillation has gained: teacher, baseline and distilled student side by side, paired seed by seed, and said in
words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from sqlmodel import Session

from app.errors import NotFound
from app.services.experiments.experiments import runs_of
from app.services.experiments.results import Summary, summarise
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.specs import DistillSpec, FeatureSpec, read_spec

POINTS = 100.0
"""Percentage points in a difference of 1 between two accuracies, which are fractions."""

ROUNDING_POINTS = 1e-9
"""Percentage points that are float64's rounding: one image more or less in a test split of a million is 1e-4."""

TEACHER_TOLERANCE = 0.002
"""Share of test images whose top class may change when another device or batch size rounds a teacher's logits
differently.
"""


class ArmRole(StrEnum):
    """Who is compared, in the order of the table."""

    TEACHER = "teacher"
    BASELINE = "baseline"
    DISTILLED = "distilled"


class Verdict(StrEnum):
    """What the paired differences show; `gain` and `loss` mean that the 95 % interval excludes 0."""

    GAIN = "gain"
    LOSS = "loss"
    UNCLEAR = "unclear"
    NO_INTERVAL = "no_interval"
    NO_PAIRS = "no_pairs"
    NO_BASELINE = "no_baseline"


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
class Pair:
    """One seed's test accuracies, fractions, with and without the teacher."""

    seed: int
    baseline: float
    distilled: float

    @property
    def points(self) -> float:
        """Distilled minus baseline, in percentage points."""
        return POINTS * (self.distilled - self.baseline)


@dataclass(frozen=True)
class Gain:
    """Distilled minus baseline on test, in percentage points, over the seeds that succeeded in both arms.

    `points.ci95` is that of the paired t-test: Student's t over the n differences. It holds for this one teacher and
    this one test split. It is None below two pairs, and when all differences are equal: their spread then says nothing
    about further seeds.
    """

    verdict: Verdict
    pairs: tuple[Pair, ...]
    points: Summary | None


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
        features=spec.features,
    )


def gain_of(comparison: DistillationOutcome) -> Gain:
    """What the student has gained over its baseline, with the paired t-test's 95 % interval."""
    if comparison.baseline is None:
        return Gain(Verdict.NO_BASELINE, (), None)
    alone, taught = (
        comparison.baseline.by_seed("accuracy"),
        comparison.distilled.by_seed("accuracy"),
    )
    pairs = tuple(
        Pair(seed, alone[seed], accuracy) for seed, accuracy in taught.items() if seed in alone
    )
    if not pairs:
        return Gain(Verdict.NO_PAIRS, (), None)
    points = summarise([pair.points for pair in pairs])
    if points.ci95 is None or points.std is None or points.std < ROUNDING_POINTS:
        return Gain(
            Verdict.NO_INTERVAL,
            pairs,
            Summary(points.mean, points.std, points.n, None, points.values),
        )
    low, high = points.ci95
    return Gain(
        Verdict.GAIN if low > 0 else Verdict.LOSS if high < 0 else Verdict.UNCLEAR, pairs, points
    )


def gap_of(comparison: DistillationOutcome, gain: Gain) -> Gap:
    """(distilled - baseline) / (teacher - baseline), the students' means over the paired seeds."""
    if gain.points is None:
        return Gap(
            None,
            "there is no baseline"
            if gain.verdict is Verdict.NO_BASELINE
            else "no seed has succeeded in both arms",
        )
    teacher = comparison.teacher.summary("accuracy")
    if teacher is None:
        return Gap(None, "the teacher's test accuracy is not known")
    baseline = summarise([pair.baseline for pair in gain.pairs]).mean
    distance = POINTS * (teacher.mean - baseline)
    if distance <= ROUNDING_POINTS:
        return Gap(
            None,
            f"the teacher ({_percent(teacher.mean)}) is not better than the baseline ({_percent(baseline)}), so there"
            " is no gap to close",
        )
    return Gap(gain.points.mean / distance, None)


def sentence(comparison: DistillationOutcome) -> str:
    """What the comparison shows, and what is still missing."""
    gain = gain_of(comparison)
    said = [_finding(comparison, gain, gap_of(comparison, gain))]
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
                RunStatus(run.status),
                run.epochs,
                run.test or None,
                (run.environment or {}).get("dataset_sha256"),
            )
            for run in runs
        ),
    )


def _finding(comparison: DistillationOutcome, gain: Gain, gap: Gap) -> str:
    match gain.verdict:
        case Verdict.NO_BASELINE:
            return (
                f"{_reached(comparison)}There is no baseline, so no gain can be computed: send the experiment again"
                ' with "baseline": true.'
            )
        case Verdict.NO_PAIRS:
            return f"{_reached(comparison)}No gain can be computed: no seed has succeeded in both arms."
        case Verdict.NO_INTERVAL | Verdict.GAIN | Verdict.LOSS | Verdict.UNCLEAR:
            assert gain.points is not None
            return _measured(gain.verdict, gain.points, gain.pairs, gap)
        case _:
            assert_never(gain.verdict)


def _measured(verdict: Verdict, points: Summary, pairs: Sequence[Pair], gap: Gap) -> str:
    mean = f"{_signed(points.mean)} percentage points"
    if points.ci95 is None:
        if points.n == 1:
            return (
                f"Distillation changes test accuracy by {mean} with seed {pairs[0].seed}; one pair has no interval, so"
                " no gain is shown: add seeds."
            )
        if abs(points.mean) < ROUNDING_POINTS:
            return (
                f"Distillation changes nothing: with each of the {points.n} paired seeds, test accuracy is that of the"
                " baseline."
            )
        return (
            f"Distillation changes test accuracy by {mean} with each of the {points.n} paired seeds; equal differences"
            " have no interval: add seeds."
        )
    interval = f"95 % interval {_signed(points.ci95[0])} to {_signed(points.ci95[1])} over {points.n} paired seeds"
    if verdict is Verdict.GAIN:
        return f"Distillation gains {mean} over the baseline ({interval}){_gap_in_words(gap)}."
    if verdict is Verdict.LOSS:
        return f"Distillation loses: {mean} against the baseline ({interval})."
    return (
        f"Distillation changes test accuracy by {mean} ({interval}); the interval includes 0: no gain is shown with"
        f" {points.n} seeds."
    )


def _gap_in_words(gap: Gap) -> str:
    if gap.closed is None:
        return f"; {gap.reason}"
    if gap.closed > 1:
        return f" and passes the teacher, {_whole_percent(gap.closed)} of the gap to it"
    return f" and closes {_whole_percent(gap.closed)} of the gap to the teacher"


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


def _signed(points: float) -> str:
    """Two decimals, more where they would hide the sign."""
    if abs(points) < ROUNDING_POINTS:
        return "0.00"
    return f"{points:+.2f}" if abs(points) >= 0.005 else f"{points:+.1g}"


def _percent(fraction: float) -> str:
    return f"{POINTS * fraction:.2f} %"


def _whole_percent(fraction: float) -> str:
    return f"{POINTS * fraction:.0f} %" if fraction >= 0.01 else "less than 1 %"
