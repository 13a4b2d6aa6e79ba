"""Whether a statement about several settings holds: one is better, a trend, "more is not always better", a published
number is reached.

Scores come per seed, because the spread over seeds is what a statement has to stand out from. They are multiplied by
`scale` to be spoken of in `unit` (100.0 for percentage points of fractions); margins are in that unit already.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lab_models.statistics.cells import (
    ClaimResult,
    SeedScores,
    change_along,
    common_seeds,
    left_out,
    named,
    qualified,
    slope_sentence,
    trend_terms,
)
from lab_models.statistics.families import holm
from lab_models.statistics.monotony import not_monotone
from lab_models.statistics.paired import ALPHA, Paired, compare, from_differences
from lab_models.statistics.verdicts import Terms, Verdict, judge_in, price, seeds_to_settle
from lab_models.statistics.wording import exact, holm_in_words, level, measured, p_in_words, signed

__all__ = ["ClaimResult", "SeedScores", "better", "not_monotone", "reaches", "trend"]


def better(
    rows: Sequence[Mapping[int, tuple[float, float]]],
    margin: float | None = None,
    *,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    lower_is_better: bool = False,
    seconds_per_seed: float | None = None,
) -> ClaimResult:
    """Treatment is better than control over all contrasts: rows {seed: (treatment, control)}, one per contrast.

    Tested on each seed's mean difference over the rows, for the seeds that every row has. Estimate: the mean
    difference.
    """
    names, seeds = named(titles, len(rows), "contrast"), common_seeds(rows)
    terms = Terms(
        qualified(
            unit,
            f"mean of {len(rows)} contrasts" if len(rows) > 1 else "",
            "lower is better" if lower_is_better else "",
        )
    )
    # each (2,): treatment, control
    means = [np.mean([row[seed] for row in rows], axis=0) for seed in seeds]
    paired = compare(
        [(scale * float(treatment), scale * float(control)) for treatment, control in means], margin
    )
    judgement = judge_in(
        terms, paired, sign=-1 if lower_is_better else 1, seconds_per_pair=seconds_per_seed
    )
    alone = [
        compare(
            [(scale * treatment, scale * control) for treatment, control in row.values()], margin
        )
        for row in rows
    ]
    evidence = (*_each(names, alone, unit), *left_out(rows, seeds))
    return ClaimResult(
        judgement.verdict,
        judgement.sentence,
        paired.mean,
        paired.ci95,
        paired.p_t,
        paired.n,
        evidence,
    )


def trend(
    scores: Sequence[SeedScores],
    rises: bool = True,
    margin: float | None = None,
    *,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    seconds_per_seed: float | None = None,
) -> ClaimResult:
    """Scores rise (or fall) from setting to setting, in the order given.

    Each seed's least-squares line over the places 0, 1, 2, … is one number, and a one-sample t-test over seeds asks
    whether it is 0. Estimate: the line's change from the first setting to the last, slope · (settings - 1), which is
    also what the margin bounds.
    """
    names, seeds = named(titles, len(scores), "setting"), common_seeds(scores)
    if len(scores) < 2:
        return ClaimResult(
            Verdict.NOT_MEASURED,
            "Not measured: a trend needs at least two settings.",
            None,
            None,
            None,
            0,
            (),
        )
    change, terms = change_along(scores, margin, scale), trend_terms(unit, len(scores))
    judgement = judge_in(terms, change, sign=1 if rises else -1, seconds_per_pair=seconds_per_seed)
    evidence = (
        *_levels(names, scores, scale),
        *slope_sentence(change, unit, len(scores)),
        *left_out(scores, seeds),
    )
    return ClaimResult(
        judgement.verdict,
        judgement.sentence,
        change.mean,
        change.ci95,
        change.p_t,
        change.n,
        evidence,
    )


def reaches(
    values: Sequence[float],
    target: float,
    margin: float | None = None,
    *,
    unit: str = "%",
    scale: float = 1.0,
    seconds_per_seed: float | None = None,
) -> ClaimResult:
    """The mean of one setting's runs is at least `target`, which is scaled like the values. Estimate: the mean; p:
    two-sided, against the target.

    Supported when the 95 % interval lies at or above the target, contradicted when it lies below, equivalent when it
    does neither and the 90 % interval lies within target ± margin.
    """
    spoken = [scale * value for value in values]
    goal = scale * target
    beyond = from_differences(
        [value - goal for value in spoken], size=max(map(abs, [*spoken, goal])), margin=margin
    )
    verdict = _reached(beyond)
    if beyond.mean is None:
        return ClaimResult(
            verdict, "Not measured: no run has this number.", None, None, None, 0, ()
        )
    mean = goal + beyond.mean
    ci95 = None if beyond.ci95 is None else (goal + beyond.ci95[0], goal + beyond.ci95[1])
    p = "" if beyond.p_t is None else f", {p_in_words(beyond.p_t)}"
    said = f"{level(mean)} {unit} {_over_runs(beyond, ci95)}, {signed(beyond.mean)} from the target of {level(goal)}{p}"
    sentence = (
        f"{verdict.text.capitalize()}: {said}{_reservation(beyond, verdict, seconds_per_seed)}."
    )
    evidence = (f"runs: {', '.join(level(value) for value in spoken)}",)
    return ClaimResult(verdict, sentence, mean, ci95, beyond.p_t, beyond.n, evidence)


def _reached(beyond: Paired) -> Verdict:
    if beyond.mean is None:
        return Verdict.NOT_MEASURED
    if beyond.ci95 is None:
        return Verdict.INCONCLUSIVE
    if beyond.ci95[0] >= 0:
        return Verdict.SUPPORTED
    if beyond.ci95[1] < 0:
        return Verdict.CONTRADICTED
    return Verdict.EQUIVALENT if beyond.equivalent else Verdict.INCONCLUSIVE


def _over_runs(beyond: Paired, ci95: tuple[float, float] | None) -> str:
    if ci95 is not None:
        return (
            f"on average, 95 % interval {level(ci95[0])} to {level(ci95[1])} over {beyond.n} runs"
        )
    return "in the one run" if beyond.n == 1 else f"in each of the {beyond.n} runs"


def _reservation(beyond: Paired, verdict: Verdict, seconds_per_seed: float | None) -> str:
    if beyond.n == 1:
        return "; one run has no interval: add seeds"
    if beyond.ci95 is None:
        return "; equal values have no interval: add seeds"
    if verdict is Verdict.INCONCLUSIVE:
        return f"; {price(seeds_to_settle(beyond, ALPHA), beyond.n, seconds_per_seed).words}"
    if verdict is Verdict.EQUIVALENT and beyond.margin is not None:
        return f"; the margin is ±{exact(beyond.margin)}"
    return (
        "; the shortfall is real but smaller than the margin"
        if verdict is Verdict.CONTRADICTED and beyond.equivalent
        else ""
    )


def _each(names: Sequence[str], tests: Sequence[Paired], unit: str) -> list[str]:
    """One sentence per contrast; its p is corrected over the contrasts, which are a family."""
    adjusted = holm([test.p_t for test in tests])
    found = []
    for name, test, p in zip(names, tests, adjusted, strict=True):
        said = (
            None if p is None or test.p_t is None or len(tests) == 1 else holm_in_words(test.p_t, p)
        )
        found.append(
            f"{name}: {measured(test, unit, said) if test.n else 'no seed has a number in both arms'}"
        )
    return found


def _levels(names: Sequence[str], scores: Sequence[SeedScores], scale: float) -> list[str]:
    counts = [f"{len(cell)} seed{'' if len(cell) == 1 else 's'}" for cell in scores]
    means = [
        f"mean {level(scale * float(np.mean(list(cell.values()))))} over " if cell else ""
        for cell in scores
    ]
    return [
        f"{name}: {mean}{count}" for name, mean, count in zip(names, means, counts, strict=True)
    ]
