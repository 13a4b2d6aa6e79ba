"""What paired differences say about a treatment and its control, or about a claim: one of five verdicts, and the
sentence that says it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from lab_models.statistics.looks import Look, further_level
from lab_models.statistics.paired import ALPHA, Paired
from lab_models.statistics.power import MOST_SEEDS, seeds_to_decide
from lab_models.statistics.wording import (
    duration,
    exact,
    interval,
    measured,
    p_in_words,
    signed,
    tested,
)


class ContrastVerdict(StrEnum):
    """How the treatment stands to its control. Nobody has claimed anything."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    OPEN = "open"
    NOT_MEASURED = "not_measured"

    @property
    def text(self) -> str:
        """For readers."""
        return _text(self.value)


class ClaimVerdict(StrEnum):
    """How the numbers stand to something that somebody has said."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    EQUIVALENT = "equivalent"
    OPEN = "open"
    NOT_MEASURED = "not_measured"

    @property
    def text(self) -> str:
        """For readers."""
        return _text(self.value)


def _text(value: str) -> str:
    """`equivalent` needs its margin to mean anything."""
    return "equivalent within margin" if value == "equivalent" else value.replace("_", " ")


AS_CLAIM = {
    ContrastVerdict.BETTER: ClaimVerdict.SUPPORTED,
    ContrastVerdict.WORSE: ClaimVerdict.CONTRADICTED,
    ContrastVerdict.EQUIVALENT: ClaimVerdict.EQUIVALENT,
    ContrastVerdict.OPEN: ClaimVerdict.OPEN,
    ContrastVerdict.NOT_MEASURED: ClaimVerdict.NOT_MEASURED,
}
"""A verdict on "treatment is better than control" where that is what somebody claims."""


@dataclass(frozen=True)
class Judgement:
    """A verdict in words. `level` is what p, corrected, must be below; None where nothing is decided by p.

    When it is open, `more_seeds` would show a difference as large as the margin, or that there is none, with a chance
    of 80 % at the spread seen so far, as a further look, and take `minutes`. None without a margin, where these seeds
    should have been enough, and where it is out of reach.
    """

    verdict: ContrastVerdict
    sentence: str
    level: float | None = None
    more_seeds: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Terms:
    """How a sentence speaks of its numbers: their unit, what is missing when nothing is measured, what a single value
    is called, what to do about it, and how a difference with the wanted sign and with the other is called.
    """

    unit: str
    missing: str = "no seed has a number in both arms"
    single: str = "one pair"
    advice: str = "add seeds"
    heads: tuple[str, str] = ("Better", "Worse")


CLAIMED = ("Supported", "Contradicted")
"""`Terms.heads` of a claim."""


@dataclass(frozen=True)
class Further:
    """How many seeds in all would decide, and what those that are missing take. `in_all` is None beyond MOST_SEEDS."""

    in_all: int | None
    seeds: int | None
    minutes: float | None

    @property
    def words(self) -> str:
        """The end of a sentence; it must not lure: a look at more seeds is a further one."""
        if self.in_all is None:
            return (
                f"; to show a difference as large as the margin, or that there is none, takes more than {MOST_SEEDS:,}"
                " seeds at this spread"
            )
        price = "" if self.minutes is None else f", {duration(self.minutes)}"
        return (
            f"; to show a difference as large as the margin, or that there is none, takes about {self.in_all} seeds in"
            f" all at this spread ({self.seeds} more{price}; the look at them is a further one)"
        )


def not_measured(reason: str) -> Judgement:
    """The verdict where there are no two sides to compare."""
    return Judgement(ContrastVerdict.NOT_MEASURED, f"Not measured: {reason}.")


def judge(
    terms: Terms,
    paired: Paired,
    *,
    look: Look,
    sign: int,
    p_adjusted: float | None = None,
    seconds_per_pair: float | None = None,
) -> Judgement:
    """The verdict on treatment against control, in the caller's terms; better is a mean difference that has this sign.

    `p_adjusted` is `paired.p_t` after Holm's correction over its family; it then decides instead. Equivalence comes
    first: a difference that is shown to lie within the margin is equivalent, however real.
    """
    p = paired.p_t if p_adjusted is None else p_adjusted
    verdict, level = decide(paired, p, sign, look), look.level(paired.n)
    if verdict is not ContrastVerdict.OPEN or paired.p_t is None or p is None:
        sentence = _sentence(terms, paired, verdict, look, p_adjusted)
        return Judgement(verdict, sentence, None if paired.p_t is None else level)
    further = seeds_still(paired, look, p_adjusted, seconds_per_pair)
    said = tested(paired.p_t, p_adjusted, look, paired.n)
    sentence = f"Open: {measured(paired, terms.unit, said)}{open_because(p, look, paired.n)}"
    if further is None:
        return Judgement(verdict, f"{sentence}.", level)
    return Judgement(verdict, f"{sentence}{further.words}.", level, further.seeds, further.minutes)


def decide(paired: Paired, p: float | None, sign: int, look: Look) -> ContrastVerdict:
    """The rule: nothing measured, then equivalence, then significance, in the wanted direction or in the other."""
    if paired.mean is None:
        return ContrastVerdict.NOT_MEASURED
    level = look.level(paired.n)
    if level is None:
        return ContrastVerdict.OPEN
    if paired.is_equivalent(level):
        return ContrastVerdict.EQUIVALENT
    if paired.p_t is None or p is None or p >= level:
        return ContrastVerdict.OPEN
    return ContrastVerdict.BETTER if sign * paired.mean > 0 else ContrastVerdict.WORSE


def seeds_still(
    paired: Paired, look: Look, p_adjusted: float | None, seconds_per_seed: float | None
) -> Further | None:
    """What would decide, by the margin alone: a number made of the observed effect tells nothing that p has not told
    (Hoenig & Heisey 2001, doi:10.1198/000313001300339897).

    None without a margin, where seeds are still to come or no more may be added, and where those that are there had a
    chance of 80 % already.
    """
    if paired.margin is None or paired.std is None or look not in (Look.PLANNED, Look.FURTHER):
        return None
    share = min(1.0, paired.p_t / p_adjusted) if paired.p_t and p_adjusted else 1.0
    needed = seeds_to_decide(paired.std, paired.margin, further_level, share)
    if needed is None:
        return Further(None, None, None)
    seeds = needed - paired.n
    if seeds <= 0:
        return None
    return Further(
        needed, seeds, None if seconds_per_seed is None else seeds * seconds_per_seed / 60
    )


def open_because(p: float, look: Look, n: int) -> str:
    """What is said of a p below 5 % that is not below its level, so that nobody takes it for a mistake; else
    nothing.
    """
    level = look.level(n)
    return f": {look.reservation(n)}" if level is not None and level <= p < ALPHA else ""


def without_interval(paired: Paired, terms: Terms) -> str:
    """Why one seed, or seeds that all differ by the same, show nothing. Needs a pair."""
    said = measured(paired, terms.unit)
    if paired.n == 1:
        return f"{said}; {terms.single} has no interval: {terms.advice}"
    return f"{said}; equal differences have neither interval nor p: {terms.advice}"


def equivalence_sentence(
    paired: Paired, terms: Terms, look: Look, *, subject: str = "", p_adjusted: float | None = None
) -> str:
    """What is said when TOST holds, with `subject` before the mean; a difference that is significant all the same is
    called real.
    """
    level = look.level(paired.n)
    assert paired.mean is not None
    assert paired.ci95 is not None
    assert paired.margin is not None
    assert paired.p_tost is not None
    assert level is not None
    p = paired.p_t if p_adjusted is None else p_adjusted
    real = (
        "; the difference is real but smaller than the margin"
        if p is not None and p < level
        else ""
    )
    seen = (
        f"{subject}{signed(paired.mean)}, {interval(paired.ci95)} over {paired.n} paired seeds, equivalence"
        f" {p_in_words(paired.p_tost, level)} ({look.words(paired.n)})"
    )
    return f"Equivalent within ±{exact(paired.margin)} {terms.unit}: {seen}{real}."


def _sentence(
    terms: Terms, paired: Paired, verdict: ContrastVerdict, look: Look, p_adjusted: float | None
) -> str:
    """For verdicts that further seeds are not counted for."""
    match verdict:
        case ContrastVerdict.NOT_MEASURED:
            return not_measured(terms.missing).sentence
        case ContrastVerdict.OPEN:
            return f"Open: {without_interval(paired, terms)}."
        case ContrastVerdict.EQUIVALENT:
            return equivalence_sentence(paired, terms, look, p_adjusted=p_adjusted)
        case ContrastVerdict.BETTER | ContrastVerdict.WORSE:
            assert paired.p_t is not None
            head = terms.heads[verdict is ContrastVerdict.WORSE]
            said = tested(paired.p_t, p_adjusted, look, paired.n)
            return f"{head}: {measured(paired, terms.unit, said)}."
        case _:
            assert_never(verdict)
