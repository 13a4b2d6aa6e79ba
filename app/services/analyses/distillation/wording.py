"""What a distillation has gained, in words: the judge's answer, how much of the gap to the teacher that closes, and
what is missing.
"""

from collections import Counter
from dataclasses import dataclass

from app.services.analyses.distillation.outcomes import ACCURACY, Arm, DistillationOutcome
from app.services.experiments.results import summarise
from app.storage.states import RunStatus
from lab_models.statistics.verdicts import ContrastVerdict
from lab_models.statistics.wording import NOTHING

TEACHER_TOLERANCE = 0.002
"""Share of test images whose top class may change when another device or batch size rounds a teacher's logits
differently.
"""


@dataclass(frozen=True)
class Gap:
    """Share of the way from baseline to teacher that distillation has gone; None with the `reason` why not."""

    closed: float | None
    reason: str | None


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


def _finding(comparison: DistillationOutcome) -> str:
    """The judge's sentence as the answer to its question; of the gap nothing is said unless a gain is shown."""
    judgement = comparison.gain.judgement
    if comparison.baseline is None:
        return (
            f"{_reached(comparison)}There is no baseline, so no gain can be computed: send the experiment again with"
            ' "baseline": true.'
        )
    before = _reached(comparison) if judgement.verdict is ContrastVerdict.NOT_MEASURED else ""
    is_better = judgement.verdict is ContrastVerdict.BETTER
    after = _gap_in_words(gap_of(comparison)) if is_better else ""
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
