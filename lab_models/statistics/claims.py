"""Whether a statement about several settings holds: one is better, a trend, "more is not always better", a published
number is reached.

Scores come per seed, because the spread over seeds is what a statement has to stand out from. They are multiplied by
`scale` to be spoken of in `unit` (100.0 for percentage points of fractions); margins are in that unit already. Each
statement first says which tests it needs, since these are corrected together with those of all others on its page;
`cells` are the keys by which a test that two of them need is known to be one, `look` says which look at it this is.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lab_models.statistics.cells import (
    Asked,
    ClaimResult,
    Corrected,
    SeedScores,
    change_along,
    common_seeds,
    left_out,
    named,
    qualified,
    result_of,
    slope_sentence,
    trend_terms,
    unmeasured,
)
from lab_models.statistics.families import LookOf, Test, TestKey, pair_key, planned
from lab_models.statistics.monotony import not_monotone
from lab_models.statistics.paired import compare, from_differences
from lab_models.statistics.verdicts import (
    AS_CLAIM,
    CLAIMED,
    ClaimVerdict,
    Terms,
    decide,
    judge,
    open_because,
    seeds_still,
)
from lab_models.statistics.wording import exact, level, measured, signed, tested

__all__ = ["Asked", "ClaimResult", "SeedScores", "better", "not_monotone", "reaches", "trend"]


def better(
    rows: Sequence[Mapping[int, tuple[float, float]]],
    margin: float | None = None,
    *,
    cells: Sequence[tuple[str, str]] | None = None,
    look: LookOf = planned,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    lower_is_better: bool = False,
    seconds_per_seed: float | None = None,
) -> Asked:
    """Treatment is better than control over all contrasts: rows {seed: (treatment, control)}, one per contrast.

    Tested on each seed's mean difference over the rows, for the seeds that every row has. Estimate: the mean
    difference.
    """
    names, seeds = named(titles, len(rows), "contrast"), common_seeds(rows)
    pairs = cells or [(f"treatment {place}", f"control {place}") for place in range(len(rows))]
    note = f"mean of {len(rows)} contrasts" if len(rows) > 1 else ""
    terms = Terms(
        qualified(unit, note, "lower is better" if lower_is_better else ""), heads=CLAIMED
    )
    keys = [pair_key(*pair) for pair in pairs]
    tests = {
        key: Test(
            compare([(scale * ours, scale * theirs) for ours, theirs in row.values()], margin),
            look(pair, list(row)),
        )
        for key, pair, row in zip(keys, pairs, rows, strict=True)
    }
    decisive: TestKey = keys[0] if len(keys) == 1 else ("mean", frozenset(keys))
    if len(keys) != 1:
        # each (2,): treatment, control
        means = [scale * np.mean([row[seed] for row in rows], axis=0) for seed in seeds]
        everything = [cell for pair in pairs for cell in pair]
        tests[decisive] = Test(
            compare([(float(ours), float(theirs)) for ours, theirs in means], margin),
            look(everything, seeds),
        )

    def answer(p_holm: Corrected) -> ClaimResult:
        test, p = tests[decisive], p_holm[decisive]
        judgement = judge(
            terms,
            test.paired,
            look=test.look,
            sign=-1 if lower_is_better else 1,
            p_adjusted=p,
            seconds_per_pair=seconds_per_seed,
        )
        each = [
            f"{name}: {_in_words(tests[key], p_holm[key], unit)}"
            for name, key in zip(names, keys, strict=True)
        ]
        evidence = (*each, *left_out(rows, seeds))
        return result_of(test, p, AS_CLAIM[judgement.verdict], judgement.sentence, evidence)

    return Asked(answer, tests)


def trend(
    scores: Sequence[SeedScores],
    rises: bool = True,
    margin: float | None = None,
    *,
    cells: Sequence[str] | None = None,
    look: LookOf = planned,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    seconds_per_seed: float | None = None,
) -> Asked:
    """Scores rise (or fall) from setting to setting, in the order given.

    Each seed's least-squares line over the places 0, 1, 2, … is one number, and a one-sample t-test over seeds asks
    whether it is 0. Estimate: the line's change from the first setting to the last, slope · (settings - 1), which is
    also what the margin bounds.
    """
    names, seeds = named(titles, len(scores), "setting"), common_seeds(scores)
    if len(scores) < 2:
        return unmeasured("a trend needs at least two settings")
    keys = tuple(cells or names)
    key: TestKey = ("trend", keys)
    test = Test(change_along(scores, margin, scale), look(keys, seeds))

    def answer(p_holm: Corrected) -> ClaimResult:
        judgement = judge(
            trend_terms(unit, len(scores)),
            test.paired,
            look=test.look,
            sign=1 if rises else -1,
            p_adjusted=p_holm[key],
            seconds_per_pair=seconds_per_seed,
        )
        evidence = (
            *_levels(names, scores, scale),
            *slope_sentence(test.paired, unit, len(scores)),
            *left_out(scores, seeds),
        )
        verdict = AS_CLAIM[judgement.verdict]
        return result_of(test, p_holm[key], verdict, judgement.sentence, evidence)

    return Asked(answer, {key: test})


def reaches(
    scores: SeedScores,
    target: float,
    margin: float | None = None,
    *,
    cell: str = "setting",
    look: LookOf = planned,
    unit: str = "%",
    scale: float = 1.0,
    lower_is_better: bool = False,
    limits: tuple[float, float] | None = None,
    seconds_per_seed: float | None = None,
) -> Asked:
    """The mean of one setting's runs is at least `target`, or at most where lower is better; `target` is scaled like
    the scores. Estimate: the mean; p: two-sided, against the target. `limits` are those of the numbers in `unit`, where
    the printed interval is cut.

    Supported when the mean is shown to lie on the target's good side, contradicted when on the other, equivalent when
    neither is and it is shown to lie within target ± margin.
    """
    spoken, goal = [scale * value for value in scores.values()], scale * target
    if not spoken:
        return unmeasured("no run has this number")
    beyond = from_differences(
        [value - goal for value in spoken], size=max(map(abs, [*spoken, goal])), margin=margin
    )
    key: TestKey = ("reaches", cell, target)
    test = Test(beyond, look((cell,), list(scores)))
    assert beyond.mean is not None
    mean = goal + beyond.mean
    ci95 = None if beyond.ci95 is None else (goal + beyond.ci95[0], goal + beyond.ci95[1])

    def answer(p_holm: Corrected) -> ClaimResult:
        p = p_holm[key]
        verdict = _reached(test, p, sign=-1 if lower_is_better else 1)
        said = "" if beyond.p_t is None else f", {tested(beyond.p_t, p, test.look, beyond.n)}"
        over, goal_is = _over_runs(test, ci95, limits), "bound" if lower_is_better else "target"
        sentence = (
            f"{verdict.text.capitalize()}: {level(mean)} {unit} {over}, {signed(mean - goal)}"
            f" from the {goal_is} of {level(goal)}{said}"
            f"{_reservation(test, p, verdict, seconds_per_seed)}."
        )
        return ClaimResult(
            verdict,
            sentence,
            mean,
            ci95,
            beyond.p_t,
            p,
            None if beyond.p_t is None else test.level,
            beyond.n,
            (f"runs: {', '.join(level(value) for value in spoken)}",),
        )

    return Asked(answer, {key: test})


def _reached(test: Test, p: float | None, sign: int) -> ClaimVerdict:
    """A miss within the margin is a miss all the same, so significance comes first."""
    beyond, bound = test.paired, test.level
    if bound is not None and p is not None and p < bound and beyond.mean:
        return ClaimVerdict.SUPPORTED if sign * beyond.mean > 0 else ClaimVerdict.CONTRADICTED
    return AS_CLAIM[decide(beyond, None, sign, test.look)]


def _over_runs(
    test: Test, ci95: tuple[float, float] | None, limits: tuple[float, float] | None
) -> str:
    n = test.paired.n
    if ci95 is not None:
        low, high = ci95 if limits is None else (max(ci95[0], limits[0]), min(ci95[1], limits[1]))
        return f"on average, 95 % interval {level(low)} to {level(high)} over {n} runs"
    return "in the one run" if n == 1 else f"in each of the {n} runs"


def _reservation(
    test: Test, p: float | None, verdict: ClaimVerdict, seconds_per_seed: float | None
) -> str:
    beyond = test.paired
    if beyond.n == 1:
        return "; one run has no interval: add seeds"
    if beyond.ci95 is None or p is None:
        return "; equal values have no interval: add seeds"
    if verdict is ClaimVerdict.OPEN:
        further = seeds_still(beyond, test.look, p, seconds_per_seed)
        because = open_because(p, test.look, beyond.n)
        return because + ("" if further is None else further.words)
    if verdict is ClaimVerdict.EQUIVALENT and beyond.margin is not None:
        return f"; the margin is ±{exact(beyond.margin)}"
    is_small = test.level is not None and beyond.is_equivalent(test.level)
    return (
        "; the miss is real but smaller than the margin"
        if verdict is ClaimVerdict.CONTRADICTED and is_small
        else ""
    )


def _in_words(test: Test, p_holm: float | None, unit: str) -> str:
    """One contrast's numbers."""
    paired = test.paired
    if not paired.n:
        return "no seed has a number in both arms"
    said = None if paired.p_t is None else tested(paired.p_t, p_holm, test.look, paired.n)
    return measured(paired, unit, said)


def _levels(names: Sequence[str], scores: Sequence[SeedScores], scale: float) -> list[str]:
    counts = [f"{len(cell)} seed{'' if len(cell) == 1 else 's'}" for cell in scores]
    means = [
        f"mean {level(scale * float(np.mean(list(cell.values()))))} over " if cell else ""
        for cell in scores
    ]
    return [
        f"{name}: {mean}{count}" for name, mean, count in zip(names, means, counts, strict=True)
    ]
