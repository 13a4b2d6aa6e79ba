"""Whether more is always better: every pair of settings tested against each other, and the trend where no pair
decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
from lab_models.statistics.paired import ALPHA, Paired, compare
from lab_models.statistics.power import seeds_to_detect
from lab_models.statistics.verdicts import (
    Terms,
    Verdict,
    equivalence_sentence,
    price,
    seeds_to_settle,
    without_interval,
)
from lab_models.statistics.wording import NOTHING, holm_in_words, measured


def not_monotone(
    scores: Sequence[SeedScores],
    margin: float | None = None,
    *,
    unit: str = "percentage points",
    scale: float = 1.0,
    titles: Sequence[str] | None = None,
    lower_is_better: bool = False,
    seconds_per_seed: float | None = None,
) -> ClaimResult:
    """More is not always better: somewhere in the order given, a later setting is worse than an earlier one.

    Every pair of settings is a paired t-test over the seeds both have, Holm-corrected over all pairs. Supported by a
    significant worsening; without one, contradicted by a significant trend for the better, then equivalent when the
    trend's whole change lies within the margin. Estimate: the worsening that supports it (the largest observed one when
    inconclusive), else the trend's change.
    """
    names, worse = named(titles, len(scores), "setting"), 1 if lower_is_better else -1
    steps = _steps(names, scores, scale, margin)
    if not steps:
        missing = (
            "no seed has a number at two settings"
            if len(scores) > 1
            else "an order needs at least two settings"
        )
        return ClaimResult(
            Verdict.NOT_MEASURED, f"Not measured: {missing}.", None, None, None, 0, ()
        )
    family, change = sum(step.p is not None for step in steps), change_along(scores, margin, scale)
    evidence = (
        *(f"{step.later} against {step.earlier}: {step.words(unit, family)}" for step in steps),
        *slope_sentence(change, unit, len(scores)),
        *left_out(scores, common_seeds(scores)),
    )
    spoken = qualified(unit, "lower is better" if lower_is_better else "")
    worsenings = sorted(
        (step for step in steps if worse * step.mean > NOTHING), key=lambda step: -abs(step.mean)
    )
    shown = min(
        ((step.p, step) for step in worsenings if step.p is not None and step.p < ALPHA),
        key=lambda found: found[0],
        default=None,
    )
    if shown is not None:
        return shown[1].supports(spoken, family, evidence)
    verdict = _without_worsening(change, -worse)
    if verdict is Verdict.INCONCLUSIVE and worsenings:
        return worsenings[0].leaves_open(spoken, family, evidence, seconds_per_seed)
    sentence = _trend_in_words(verdict, change, trend_terms(spoken, len(scores)), seconds_per_seed)
    return ClaimResult(verdict, sentence, change.mean, change.ci95, change.p_t, change.n, evidence)


@dataclass(frozen=True)
class _Step:
    """A later setting minus an earlier one, over at least one seed; `p` is Holm-corrected."""

    earlier: str
    later: str
    paired: Paired
    mean: float
    p: float | None

    def words(self, unit: str, family: int) -> str:
        return measured(
            self.paired,
            unit,
            None
            if self.p is None or self.paired.p_t is None
            else holm_in_words(self.paired.p_t, self.p, family),
        )

    def supports(self, unit: str, family: int, evidence: tuple[str, ...]) -> ClaimResult:
        words = f"{self.words(unit, family)}{_real(self.paired)}"
        sentence = f"Supported: {self.later} is worse than {self.earlier}: {words}."
        return ClaimResult(
            Verdict.SUPPORTED,
            sentence,
            self.mean,
            self.paired.ci95,
            self.p,
            self.paired.n,
            evidence,
        )

    def leaves_open(
        self, unit: str, family: int, evidence: tuple[str, ...], seconds_per_seed: float | None
    ) -> ClaimResult:
        """With the further seeds that would show it, at the level that Holm's correction asks of the smallest p."""
        if self.paired.std is None or self.p is None:
            said = without_interval(self.paired, Terms(unit))
        else:
            needed = seeds_to_detect(self.mean, self.paired.std, alpha=ALPHA / family)
            said = f"{self.words(unit, family)}; {price(needed, self.paired.n, seconds_per_seed).words}"
        sentence = f"Inconclusive: the largest change for the worse, from {self.earlier} to {self.later}, is {said}."
        return ClaimResult(
            Verdict.INCONCLUSIVE,
            sentence,
            self.mean,
            self.paired.ci95,
            self.p,
            self.paired.n,
            evidence,
        )


def _steps(
    names: Sequence[str], scores: Sequence[SeedScores], scale: float, margin: float | None
) -> list[_Step]:
    places = [(i, j) for j in range(len(scores)) for i in range(j)]
    tests = [
        compare(
            [
                (scale * scores[j][seed], scale * scores[i][seed])
                for seed in common_seeds([scores[i], scores[j]])
            ],
            margin,
        )
        for i, j in places
    ]
    adjusted = holm([test.p_t for test in tests])
    return [
        _Step(names[i], names[j], test, test.mean, p)
        for (i, j), test, p in zip(places, tests, adjusted, strict=True)
        if test.mean is not None
    ]


def _without_worsening(change: Paired, good: int) -> Verdict:
    """What the trend says, when no pair of settings decides."""
    if (
        change.mean is not None
        and change.p_t is not None
        and change.p_t < ALPHA
        and good * change.mean > 0
    ):
        return Verdict.CONTRADICTED
    return Verdict.EQUIVALENT if change.equivalent else Verdict.INCONCLUSIVE


def _trend_in_words(
    verdict: Verdict, change: Paired, terms: Terms, seconds_per_seed: float | None
) -> str:
    none_worse = "no later setting is significantly worse than an earlier one"
    if verdict is Verdict.EQUIVALENT:
        return equivalence_sentence(
            change, terms, subject=f"{none_worse}, and the trend changes by "
        )
    if verdict is Verdict.CONTRADICTED:
        return (
            f"Contradicted: {none_worse}, and the trend is for the better:"
            f" {measured(change, terms.unit)}{_real(change)}."
        )
    none_worse = "no later setting is worse than an earlier one on average"
    if change.mean is None:
        return f"Inconclusive: {none_worse}, but {terms.missing}, so there is no trend: add seeds."
    if change.p_t is None:
        return (
            f"Inconclusive: {none_worse}; the trend changes by {without_interval(change, terms)}."
        )
    further = price(seeds_to_settle(change, ALPHA), change.n, seconds_per_seed).words
    return (
        f"Inconclusive: {none_worse}, but a trend for the better is not shown: {measured(change, terms.unit)};"
        f" {further}."
    )


def _real(paired: Paired) -> str:
    return "; the difference is real but smaller than the margin" if paired.equivalent else ""
