"""A distillation's table as text: Markdown for people, CSV in full for programs."""

from collections.abc import Sequence
from typing import Any

from app.services.analyses.distillation.outcomes import ACCURACY, Arm, ArmRole, DistillationOutcome
from app.services.analyses.distillation.wording import gap_of, sentence, warnings
from app.services.analyses.scores import ScoreKind
from app.services.experiments.results import Summary
from app.tabulation import markdown_text, to_csv

SCORES = ("accuracy", "nll", "ece", "teacher_agreement")
HEAD = (
    "",
    "network",
    "parameters",
    "of teacher",
    "MACs",
    "runs",
    "test accuracy, %",
    "95 % interval, %",
    "NLL",
    "ECE",
    "agreement with teacher, %",
)
NONE = "-"


def markdown_of(outcome: DistillationOutcome) -> str:
    """A row per network, the sentence, and what makes the rows unequal."""
    cells = [_cells(arm, outcome.share_of_teacher(arm)) for arm in outcome.arms]
    lines = [HEAD, ("---", "---", *["---:"] * (len(HEAD) - 2)), *cells]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    title = markdown_text(outcome.name or outcome.experiment_id)
    notes = "".join(f"\n- Warning: {warning}." for warning in warnings(outcome))
    return f"## {title}\n\n{table}\n\n{sentence(outcome)}\n{notes and notes + chr(10)}"


def csv_of(outcome: DistillationOutcome) -> str:
    """One row per network, numbers in full; the gain stands in the distilled student's row."""
    rows = [
        _flat(arm, outcome.share_of_teacher(arm))
        | (_flat_gain(outcome) if arm.role is ArmRole.DISTILLED else {})
        for arm in outcome.arms
    ]
    return to_csv(rows, columns=list(rows[-1]))


def _cells(arm: Arm, share: float | None) -> Sequence[str]:
    accuracy = arm.summary("accuracy")
    return (
        arm.role.value,
        markdown_text(arm.network),
        NONE if arm.parameters is None else f"{arm.parameters:,}",
        NONE if share is None else f"{100 * share:.3g} %",
        NONE if arm.macs_per_sample is None else f"{arm.macs_per_sample:,}",
        f"{len(arm.succeeded)} of {len(arm.runs)}",
        _with_spread(accuracy, 100, 2),
        (NONE if accuracy is None or accuracy.ci95 is None else ACCURACY.interval(accuracy.ci95)),
        _with_spread(arm.summary("nll"), 1, 4),
        _with_spread(arm.summary("ece"), 1, 4),
        _with_spread(arm.summary("teacher_agreement"), 100, 2),
    )


def _with_spread(summary: Summary | None, factor: int, decimals: int) -> str:
    """Mean ± standard deviation over seeds."""
    if summary is None:
        return NONE
    spread = "" if summary.std is None else f" ± {factor * summary.std:.{decimals}f}"
    return f"{factor * summary.mean:.{decimals}f}{spread}"


def _flat(arm: Arm, share: float | None) -> dict[str, Any]:
    plain = {
        "role": arm.role.value,
        "experiment_id": arm.experiment_id,
        "num_runs": len(arm.runs),
        "seeds": " ".join(str(run.seed) for run in arm.succeeded),
        "network": arm.network,
        "parameters": arm.parameters,
        "share_of_teacher": share,
        "macs_per_sample": arm.macs_per_sample,
    }
    for name in SCORES:
        summary = arm.summary(name)
        low, high = ScoreKind(name).ends_of(summary)
        mean, std, n = (
            (None, None, 0) if summary is None else (summary.mean, summary.std, summary.n)
        )
        plain |= {
            f"{name}_mean": mean,
            f"{name}_std": std,
            f"{name}_n": n,
            f"{name}_ci95_low": low,
            f"{name}_ci95_high": high,
        }
    return plain


def _flat_gain(outcome: DistillationOutcome) -> dict[str, Any]:
    paired = outcome.gain.paired
    low, high = paired.ci95 or (None, None)
    numbers = {"mean": paired.mean, "std": paired.std, "n": paired.n}
    numbers |= {"ci95_low": low, "ci95_high": high}
    return {f"gain_points_{name}": value for name, value in numbers.items()} | {
        "verdict": outcome.gain.judgement.verdict.value,
        "gap_closed": gap_of(outcome).closed,
    }
