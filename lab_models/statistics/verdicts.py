"""What paired differences say about "treatment is better than control": one of five verdicts, and the sentence that
says it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from lab_models.statistics.paired import ALPHA, Paired
from lab_models.statistics.power import MOST_SEEDS, seeds_for_equivalence, seeds_to_detect
from lab_models.statistics.wording import (
    duration,
    exact,
    holm_in_words,
    interval,
    measured,
    p_in_words,
    signed,
)


class Verdict(StrEnum):
    """What is shown about a hypothesis."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not_measured"

    @property
    def text(self) -> str:
        """For readers: `equivalent` needs its margin to mean anything."""
        return (
            "equivalent within margin"
            if self is Verdict.EQUIVALENT
            else self.value.replace("_", " ")
        )


@dataclass(frozen=True)
class Judgement:
    """A verdict in words. When it is inconclusive, `more_seeds` would settle it with a chance of 80 % at the spread
    seen so far and take `minutes`; None where that is more than 1,000, or where one pair or equal differences have no
    spread to judge by.
    """

    verdict: Verdict
    sentence: str
    more_seeds: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Terms:
    """How a sentence speaks of its numbers: their unit, what is missing when nothing is measured, and what a single
    value is called.
    """

    unit: str
    missing: str = "no seed has a number in both arms"
    single: str = "one pair"


@dataclass(frozen=True)
class Further:
    """How many more seeds would settle a question, and what they take; None when that is beyond MOST_SEEDS, or not
    known.
    """

    seeds: int | None
    minutes: float | None

    @property
    def words(self) -> str:
        """The end of a sentence."""
        if self.seeds is None:
            return f"settling it takes more than {MOST_SEEDS:,} seeds at this spread"
        price = "" if self.minutes is None else f" ({duration(self.minutes)})"
        return f"settling it takes about {self.seeds} more seed{'' if self.seeds == 1 else 's'} at this spread{price}"


def not_measured(reason: str) -> Judgement:
    """The verdict where there are no two sides to compare."""
    return Judgement(Verdict.NOT_MEASURED, f"Not measured: {reason}.")


def judge(
    paired: Paired,
    *,
    p_adjusted: float | None = None,
    expects: int = 1,
    unit: str = "percentage points",
    seconds_per_pair: float | None = None,
    lower_is_better: bool = False,
) -> Judgement:
    """The verdict on "treatment is better than control", differences and margin in `unit`.

    `expects` -1 turns the hypothesis into "treatment is worse". `p_adjusted` is `paired.p_t` after Holm's correction
    over its family; it then decides instead. Equivalence comes first: a difference that is shown to lie within the
    margin is equivalent, however real. Raises ValueError unless `expects` is 1 or -1.
    """
    if expects not in (1, -1):
        raise ValueError(
            f"expects must be 1 (treatment is better) or -1 (treatment is worse), not {expects}"
        )
    terms = Terms(f"{unit} (lower is better)" if lower_is_better else unit)
    return judge_in(
        terms,
        paired,
        sign=-expects if lower_is_better else expects,
        p_adjusted=p_adjusted,
        seconds_per_pair=seconds_per_pair,
    )


def judge_in(
    terms: Terms,
    paired: Paired,
    *,
    sign: int,
    p_adjusted: float | None = None,
    seconds_per_pair: float | None = None,
) -> Judgement:
    """Like `judge`, in the caller's terms; the hypothesis is that the mean difference has this sign."""
    p = paired.p_t if p_adjusted is None else p_adjusted
    verdict = decide(paired, p, sign)
    if verdict is not Verdict.INCONCLUSIVE or paired.p_t is None or p is None:
        return Judgement(verdict, _sentence(terms, paired, verdict, p_adjusted))
    further = price(
        seeds_to_settle(paired, ALPHA * min(1.0, paired.p_t / p)), paired.n, seconds_per_pair
    )
    sentence = f"Inconclusive: {measured(paired, terms.unit, _p_said(paired.p_t, p_adjusted))}; {further.words}."
    return Judgement(verdict, sentence, further.seeds, further.minutes)


def decide(paired: Paired, p: float | None, sign: int) -> Verdict:
    """The rule: nothing measured, then equivalence, then significance with the sign that the hypothesis has or with the
    other.
    """
    if paired.mean is None:
        return Verdict.NOT_MEASURED
    if paired.equivalent:
        return Verdict.EQUIVALENT
    if paired.p_t is None or p is None or p >= ALPHA:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPPORTED if sign * paired.mean > 0 else Verdict.CONTRADICTED


def price(needed: int | None, present: int, seconds_per_seed: float | None) -> Further:
    """From the seeds needed in all to those still missing, at least one, and the minutes they take."""
    if needed is None:
        return Further(None, None)
    seeds = max(1, needed - present)
    return Further(seeds, None if seconds_per_seed is None else seeds * seconds_per_seed / 60)


def without_interval(paired: Paired, terms: Terms) -> str:
    """Why one seed, or seeds that all differ by the same, show nothing. Needs a pair."""
    said = measured(paired, terms.unit)
    if paired.n == 1:
        return f"{said}; {terms.single} has no interval: add seeds"
    return f"{said}; equal differences have neither interval nor p: add seeds"


def equivalence_sentence(
    paired: Paired, terms: Terms, *, subject: str = "", p_adjusted: float | None = None
) -> str:
    """What is said when TOST holds, with `subject` before the mean; a difference that is significant all the same is
    called real.
    """
    assert paired.mean is not None
    assert paired.ci95 is not None
    assert paired.margin is not None
    assert paired.p_tost is not None
    p = paired.p_t if p_adjusted is None else p_adjusted
    real = (
        "; the difference is real but smaller than the margin"
        if p is not None and p < ALPHA
        else ""
    )
    seen = (
        f"{subject}{signed(paired.mean)}, {interval(paired.ci95)} over {paired.n} paired seeds, equivalence"
        f" {p_in_words(paired.p_tost)}"
    )
    return f"Equivalent within ±{exact(paired.margin)} {terms.unit}: {seen}{real}."


def seeds_to_settle(paired: Paired, alpha: float) -> int | None:
    """The fewer of those that show the mean seen so far and those that show it to be within the margin."""
    assert paired.mean is not None
    assert paired.std is not None
    detect = seeds_to_detect(abs(paired.mean), paired.std, alpha=alpha)
    equivalence = (
        None
        if paired.margin is None
        else seeds_for_equivalence(abs(paired.mean), paired.std, paired.margin)
    )
    return min((needed for needed in (detect, equivalence) if needed is not None), default=None)


def _sentence(terms: Terms, paired: Paired, verdict: Verdict, p_adjusted: float | None) -> str:
    """For verdicts that further seeds are not counted for."""
    match verdict:
        case Verdict.NOT_MEASURED:
            return not_measured(terms.missing).sentence
        case Verdict.INCONCLUSIVE:
            return f"Inconclusive: {without_interval(paired, terms)}."
        case Verdict.EQUIVALENT:
            return equivalence_sentence(paired, terms, p_adjusted=p_adjusted)
        case Verdict.SUPPORTED | Verdict.CONTRADICTED:
            assert paired.p_t is not None
            return f"{verdict.text.capitalize()}: {measured(paired, terms.unit, _p_said(paired.p_t, p_adjusted))}."
        case _:
            assert_never(verdict)


def _p_said(p: float, p_adjusted: float | None) -> str:
    return p_in_words(p) if p_adjusted is None else holm_in_words(p, p_adjusted)
