"""Verdicts: which one is reached when, and the sentence that says it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.statistics.looks import Look, further_level
from lab_models.statistics.paired import Paired, compare, from_differences
from lab_models.statistics.power import seeds_to_decide
from lab_models.statistics.verdicts import ContrastVerdict, Judgement, Terms, judge, seeds_still
from lab_models.statistics.wording import exact, level, p_in_words, signed
from tests.lab_models.conftest import EXAMPLES

GAIN = (0.52, 0.36, 0.41, 0.09, 0.72)
DEPTH_6 = (-0.36, -0.02, -0.38)


def differing(*differences: float, margin: float | None = None) -> Paired:
    return compare([(98.0 + difference, 98.0) for difference in differences], margin)


def judged(
    paired: Paired,
    *,
    look: Look = Look.PLANNED,
    unit: str = "percentage points",
    lower_is_better: bool = False,
    p_adjusted: float | None = None,
    seconds_per_pair: float | None = None,
) -> Judgement:
    """As a contrast is."""
    return judge(
        Terms(f"{unit} (lower is better)" if lower_is_better else unit),
        paired,
        look=look,
        sign=-1 if lower_is_better else 1,
        p_adjusted=p_adjusted,
        seconds_per_pair=seconds_per_pair,
    )


def test_a_significant_gain_is_better() -> None:
    judgement = judged(differing(*GAIN))
    assert judgement.verdict is ContrastVerdict.BETTER
    assert (
        judgement.sentence
        == "Better: +0.42 percentage points, 95 % interval +0.13 to +0.71 over 5 paired seeds, p = 0.015 (level 4 %)."
    )
    assert (judgement.level, judgement.more_seeds, judgement.minutes) == (0.04, None, None)


def test_a_significant_loss_is_worse_and_contradicts_nobody() -> None:
    judgement = judged(differing(*(-gain for gain in GAIN)))
    assert judgement.verdict is ContrastVerdict.WORSE
    assert (
        judgement.sentence
        == "Worse: −0.42 percentage points, 95 % interval −0.71 to −0.13 over 5 paired seeds, p = 0.015 (level 4 %)."
    )


def test_of_a_loss_less_is_better() -> None:
    judgement = judged(differing(*(-gain for gain in GAIN)), lower_is_better=True, unit="nats")
    assert judgement.sentence == (
        "Better: −0.42 nats (lower is better), 95 % interval −0.71 to −0.13 over 5 paired seeds, p = 0.015 (level 4 %)."
    )
    assert judged(differing(*GAIN), lower_is_better=True).verdict is ContrastVerdict.WORSE


def test_the_corrected_p_decides_and_is_named() -> None:
    assert judged(differing(*GAIN), p_adjusted=0.032).sentence.endswith(
        "over 5 paired seeds, p = 0.032 (Holm; level 4 %)."
    )
    judgement = judged(differing(*GAIN), p_adjusted=0.08)
    assert judgement.verdict is ContrastVerdict.OPEN
    assert judgement.sentence.endswith("p = 0.080 (Holm; 0.015 alone; level 4 %).")


def test_a_p_between_4_and_5_percent_is_open_and_says_why() -> None:
    """Nobody is to take it for a mistake."""
    paired = differing(0.52, 0.36, 0.41, -0.09, 0.22)
    assert paired.p_t == pytest.approx(0.0541, abs=1e-4)
    judgement = judged(paired, p_adjusted=0.0451)
    assert judgement.verdict is ContrastVerdict.OPEN
    assert judgement.sentence.endswith(
        "p = 0.045 (Holm; level 4 %): that is below 5 %, of which 1 % is kept for further looks."
    )
    final = judged(paired, p_adjusted=0.0451, look=Look.FINAL)
    assert (final.verdict, final.level) == (ContrastVerdict.BETTER, 0.05)
    assert final.sentence.endswith("p = 0.045 (Holm; level 5 %).")


@pytest.mark.parametrize(
    ("look", "level", "said"),
    [
        (
            Look.FURTHER,
            0.0007,
            "p = 0.015 (a further look, level 0.07 %): that is below 5 %, but all looks beside the planned one share"
            " 1 %, and this one is decided at 0.07 %",
        ),
        (
            Look.PARTIAL,
            0.0007,
            "p = 0.015 (before the planned look, level 0.07 %): that is below 5 %, but all looks beside the planned one"
            " share 1 %, and this one is decided at 0.07 %",
        ),
        (Look.EARLY, None, "p = 0.015 (decided once, when all seeds have ended)"),
        (Look.SPENT, None, "p = 0.015 (not decided again after a final study)"),
    ],
)
def test_what_the_planned_look_would_decide_other_looks_leave_open(
    look: Look, level: float | None, said: str
) -> None:
    judgement = judged(differing(*GAIN), look=look)
    assert (judgement.verdict, judgement.level) == (ContrastVerdict.OPEN, level)
    assert judgement.sentence.endswith(f"over 5 paired seeds, {said}.")
    assert judgement.more_seeds is None


def test_equivalence_is_decided_at_the_looks_level() -> None:
    paired = differing(0.02, -0.03, 0.04, -0.01, 0.05, margin=0.09)
    assert paired.p_tost == pytest.approx(0.0036, abs=1e-4)
    verdicts = [judged(paired, look=look).verdict for look in (Look.PLANNED, Look.FURTHER)]
    assert verdicts == [ContrastVerdict.EQUIVALENT, ContrastVerdict.OPEN]


def test_within_the_margin_is_equivalent_and_a_real_difference_is_called_real() -> None:
    judgement = judged(differing(0.02, -0.03, 0.04, -0.01, 0.03, margin=0.15))
    assert judgement.verdict is ContrastVerdict.EQUIVALENT
    assert judgement.verdict.text == "equivalent within margin"
    assert (
        judgement.sentence
        == "Equivalent within ±0.15 percentage points: +0.01, 95 % interval −0.03 to +0.05 over 5 paired seeds,"
        " equivalence p = 0.00021 (level 4 %)."
    )
    real = judged(differing(0.05, 0.04, 0.06, 0.03, 0.045, margin=0.15))
    assert real.verdict is ContrastVerdict.EQUIVALENT
    assert real.sentence.endswith("; the difference is real but smaller than the margin.")


def test_how_many_more_seeds_speaks_of_the_margin_and_not_of_the_effect_seen() -> None:
    judgement = judged(differing(*DEPTH_6, margin=0.3), seconds_per_pair=240.0)
    assert (judgement.verdict, judgement.more_seeds, judgement.minutes) == (
        ContrastVerdict.OPEN,
        12,
        48.0,
    )
    assert (
        judgement.sentence
        == "Open: −0.25 percentage points, 95 % interval −0.76 to +0.25 over 3 paired seeds, p = 0.16 (level 4 %); "
        "to show a difference as large as the margin, or that there is none, takes about 15 seeds in all at this"
        " spread (12 more, about 48 minutes; the look at them is a further one)."
    )
    shifted = differing(*(difference + 0.1 for difference in DEPTH_6), margin=0.3)
    assert judged(shifted).more_seeds == 12, "another effect, the same spread"
    assert judged(differing(*DEPTH_6)).sentence.endswith("p = 0.16 (level 4 %)."), "no margin"
    assert judged(differing(*DEPTH_6, margin=0.01)).sentence.endswith(
        "takes more than 1,000 seeds at this spread."
    )
    enough = differing(*(0.25 + 0.15 * sign for sign in (1, -1) * 6), margin=0.3)
    assert seeds_still(enough, Look.PLANNED, None, None) is None, "these had 80 % already"


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "margin"), [(0.2, 0.15), (0.5, 0.5)])
def test_with_that_many_seeds_a_further_look_decides_4_times_out_of_5(
    spread: float, margin: float
) -> None:
    needed = seeds_to_decide(spread, margin, further_level)
    assert needed is not None
    for effect, verdict in ((margin, ContrastVerdict.BETTER), (0.0, ContrastVerdict.EQUIVALENT)):
        draws = effect + spread * np.random.default_rng(8).standard_normal((1000, needed))
        found = [
            judged(
                from_differences(row.tolist(), size=100.0, margin=margin), look=Look.FURTHER
            ).verdict
            for row in draws
        ]
        assert np.mean([one is verdict for one in found]) >= 0.8 - 0.03


def test_what_has_no_spread_shows_nothing_and_says_why() -> None:
    assert judged(differing()).sentence == "Not measured: no seed has a number in both arms."
    assert judged(differing()).verdict is ContrastVerdict.NOT_MEASURED
    for differences, sentence in (
        (
            (0.42,),
            "Open: +0.42 percentage points with the one paired seed; one pair has no interval: add seeds.",
        ),
        (
            (0.5,) * 3,
            (
                "Open: +0.50 percentage points with each of the 3 paired seeds; equal differences have neither"
                " interval nor p: add seeds."
            ),
        ),
        (
            (0.0,) * 2,
            (
                "Open: 0.00 percentage points with each of the 2 paired seeds; equal differences have neither"
                " interval nor p: add seeds."
            ),
        ),
    ):
        judgement = judged(differing(*differences, margin=1.0), seconds_per_pair=60.0)
        assert (judgement.verdict, judgement.sentence, judgement.more_seeds, judgement.level) == (
            ContrastVerdict.OPEN,
            sentence,
            None,
            None,
        )


@pytest.mark.parametrize("n", [3, 5])
def test_without_a_difference_one_planned_look_in_twenty_five_is_false(n: int) -> None:
    draws = np.random.default_rng(n).standard_normal((2000, n))
    verdicts = [judged(from_differences(row.tolist(), size=100.0)).verdict for row in draws]
    assert np.mean([verdict is not ContrastVerdict.OPEN for verdict in verdicts]) == pytest.approx(
        0.04, abs=0.013
    )
    better, worse = (
        verdicts.count(ContrastVerdict.BETTER),
        verdicts.count(ContrastVerdict.WORSE),
    )
    assert abs(better - worse) < 4 * math.sqrt(better + worse)


SWAPPED = {
    ContrastVerdict.BETTER: ContrastVerdict.WORSE,
    ContrastVerdict.WORSE: ContrastVerdict.BETTER,
}


@EXAMPLES
@given(
    st.lists(st.tuples(st.floats(90, 91), st.floats(90, 91)), max_size=6),
    st.none() | st.floats(0.01, 2),
)
def test_swapping_the_arms_swaps_the_verdict(
    pairs: list[tuple[float, float]], margin: float | None
) -> None:
    forth, back = (
        judged(compare(pairs, margin)),
        judged(compare([(control, treatment) for treatment, control in pairs], margin)),
    )
    assert back.verdict is SWAPPED.get(forth.verdict, forth.verdict)
    assert back.more_seeds == forth.more_seeds
    assert judged(compare(pairs, margin), lower_is_better=True).verdict is back.verdict
    assert "−0.00 " not in forth.sentence


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.42, "+0.42"),
        (-0.004, "−0.004"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-1e-17, "0.00"),
        (0.00004, "+0.00004"),
        (-12.345, "−12.35"),
        (0.996, "+1.00"),
    ],
)
def test_a_sign_is_never_rounded_away(number: float, written: str) -> None:
    assert signed(number) == written


@pytest.mark.parametrize(
    ("p", "written"),
    [
        (0.0171, "p = 0.017"),
        (0.34, "p = 0.34"),
        (1.0, "p = 1.0"),
        (0.0001, "p = 0.00010"),
        (0.00009, "p = 9.0e-05"),
        (3.14e-7, "p = 3.1e-07"),
        (1e-299, "p = 1.0e-299"),
        (1e-300, "p < 1e-300"),
        (0.0, "p < 1e-300"),
        (0.049996, "p = 0.049996"),
        (0.0500001, "p = 0.050"),
    ],
)
def test_a_p_has_two_digits_and_stays_on_its_side_of_5_percent(p: float, written: str) -> None:
    assert p_in_words(p) == written


def test_a_p_stays_on_its_side_of_any_level() -> None:
    assert p_in_words(0.039996, 0.04) == "p = 0.039996"
    assert p_in_words(0.0400001, 0.04) == "p = 0.040"


def test_levels_keep_three_digits_and_margins_all() -> None:
    assert [level(number) for number in (98.2601, 0.03124, 0.0, 5.0)] == [
        "98.26",
        "0.0312",
        "0.00",
        "5.00",
    ]
    assert [exact(margin) for margin in (0.5, 0.15, 0.125, 2.0)] == [
        "0.50",
        "0.15",
        "0.125",
        "2.00",
    ]
