"""Whether more is always better: every pair of settings tested against each other, and the trend where no pair
decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from lab_models.statistics.paired import compare
from lab_models.statistics.verdicts import (
    ClaimVerdict,
    Terms,
    equivalence_sentence,
    open_because,
    seeds_still,
    without_interval,
)
from lab_models.statistics.wording import NOTHING, measured, tested


def not_monotone(
    scores: Sequence[SeedScores],
    margin: float | None = None,
    *,
    cells: Sequence[str] | None = None,
    look: LookOf = planned,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    lower_is_better: bool = False,
    seconds_per_seed: float | None = None,
) -> Asked:
    """More is not always better: somewhere in the order given, a later setting is worse than an earlier one.

    Every pair of settings is a paired t-test over the seeds both have. Supported by a significant worsening; without
    one, contradicted by a significant trend for the better, then equivalent when the trend's whole change lies within
    the margin. Estimate: the worsening that supports it (the largest observed one when open), else the trend's change.
    """
    names = named(titles, len(scores), "setting")
    keys = tuple(cells or names)
    pairs = list(_pairs(names, keys, scores, scale, margin, look))
    if not any(pair.test.paired.n for pair in pairs):
        return unmeasured(
            "no seed has a number at two settings"
            if len(scores) > 1
            else "an order needs at least two settings"
        )
    seeds, trend_key = common_seeds(scores), ("trend", keys)
    trend = Test(change_along(scores, margin, scale), look(keys, seeds))
    spoken = qualified(unit, "lower is better" if lower_is_better else "")
    good = -1 if lower_is_better else 1

    def answer(p_holm: Corrected) -> ClaimResult:
        steps = [
            _Step(pair, pair.test.paired.mean, p_holm[pair.key], seconds_per_seed)
            for pair in pairs
            if pair.test.paired.mean is not None
        ]
        evidence = (
            *(
                f"{step.pair.later} against {step.pair.earlier}: {step.words(unit)}"
                for step in steps
            ),
            *slope_sentence(trend.paired, unit, len(scores)),
            *left_out(scores, seeds),
        )
        worsenings = sorted(
            (step for step in steps if good * step.mean < -NOTHING),
            key=lambda step: -abs(step.mean),
        )
        shown = [step for step in worsenings if step.is_shown]
        if shown:
            return min(shown, key=lambda step: step.p or 0.0).supports(spoken, evidence)
        verdict = _without_worsening(trend, p_holm[trend_key], good)
        if verdict is ClaimVerdict.OPEN and worsenings:
            return worsenings[0].leaves_open(spoken, evidence)
        terms = trend_terms(spoken, len(scores))
        sentence = _trend_in_words(verdict, trend, p_holm[trend_key], terms, seconds_per_seed)
        return result_of(trend, p_holm[trend_key], verdict, sentence, evidence)

    return Asked(answer, {pair.key: pair.test for pair in pairs} | {trend_key: trend})


@dataclass(frozen=True)
class _Pair:
    """A later setting minus an earlier one."""

    earlier: str
    later: str
    key: TestKey
    test: Test


@dataclass(frozen=True)
class _Step:
    """A pair that has a mean difference; `p` is Holm-corrected."""

    pair: _Pair
    mean: float
    p: float | None
    seconds_per_seed: float | None

    @property
    def is_shown(self) -> bool:
        level = self.pair.test.level
        return level is not None and self.p is not None and self.p < level

    def words(self, unit: str) -> str:
        paired, look = self.pair.test.paired, self.pair.test.look
        said = None if paired.p_t is None else tested(paired.p_t, self.p, look, paired.n)
        return measured(paired, unit, said)

    def supports(self, unit: str, evidence: tuple[str, ...]) -> ClaimResult:
        worse = f"{self.pair.later} is worse than {self.pair.earlier}"
        sentence = f"Supported: {worse}: {self.words(unit)}{_real(self.pair.test)}."
        return result_of(self.pair.test, self.p, ClaimVerdict.SUPPORTED, sentence, evidence)

    def leaves_open(self, unit: str, evidence: tuple[str, ...]) -> ClaimResult:
        paired, look = self.pair.test.paired, self.pair.test.look
        if paired.p_t is None or self.p is None:
            said = without_interval(paired, Terms(unit))
        else:
            further = seeds_still(paired, look, self.p, self.seconds_per_seed)
            because = open_because(self.p, look, paired.n)
            said = f"{self.words(unit)}{because}{'' if further is None else further.words}"
        between = f"from {self.pair.earlier} to {self.pair.later}"
        sentence = f"Open: the largest change for the worse, {between}, is {said}."
        return result_of(self.pair.test, self.p, ClaimVerdict.OPEN, sentence, evidence)


def _pairs(
    names: Sequence[str],
    keys: Sequence[str],
    scores: Sequence[SeedScores],
    scale: float,
    margin: float | None,
    look: LookOf,
) -> Iterator[_Pair]:
    for j in range(len(scores)):
        for i in range(j):
            seeds = common_seeds([scores[i], scores[j]])
            paired = compare(
                [(scale * scores[j][seed], scale * scores[i][seed]) for seed in seeds], margin
            )
            test = Test(paired, look((keys[i], keys[j]), seeds))
            yield _Pair(names[i], names[j], pair_key(keys[i], keys[j]), test)


def _without_worsening(trend: Test, p: float | None, good: int) -> ClaimVerdict:
    """What the trend says, when no pair of settings decides."""
    change, level = trend.paired, trend.level
    if change.mean is None or level is None:
        return ClaimVerdict.OPEN
    if p is not None and p < level and good * change.mean > 0:
        return ClaimVerdict.CONTRADICTED
    return ClaimVerdict.EQUIVALENT if change.is_equivalent(level) else ClaimVerdict.OPEN


def _trend_in_words(
    verdict: ClaimVerdict,
    trend: Test,
    p: float | None,
    terms: Terms,
    seconds_per_seed: float | None,
) -> str:
    change, look = trend.paired, trend.look
    none_worse = "no later setting is significantly worse than an earlier one"
    if verdict is ClaimVerdict.EQUIVALENT:
        subject = f"{none_worse}, and the trend changes by "
        return equivalence_sentence(change, terms, look, subject=subject, p_adjusted=p)
    said = None if change.p_t is None else tested(change.p_t, p, look, change.n)
    if verdict is ClaimVerdict.CONTRADICTED:
        return (
            f"Contradicted: {none_worse}, and the trend is for the better:"
            f" {measured(change, terms.unit, said)}{_real(trend)}."
        )
    none_worse = "no later setting is worse than an earlier one on average"
    if change.mean is None:
        return f"Open: {none_worse}, but {terms.missing}, so there is no trend: add seeds."
    if change.p_t is None or p is None:
        return f"Open: {none_worse}; the trend changes by {without_interval(change, terms)}."
    further = seeds_still(change, look, p, seconds_per_seed)
    return (
        f"Open: {none_worse}, but a trend for the better is not shown: {measured(change, terms.unit, said)}"
        f"{open_because(p, look, change.n)}{'' if further is None else further.words}."
    )


def _real(test: Test) -> str:
    is_small = test.level is not None and test.paired.is_equivalent(test.level)
    return "; the difference is real but smaller than the margin" if is_small else ""
