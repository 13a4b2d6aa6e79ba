"""Verdicts: which one is reached when, and the sentence that says it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.statistics.paired import Paired, compare, from_differences
from lab_models.statistics.power import seeds_for_equivalence, seeds_to_detect
from lab_models.statistics.verdicts import Verdict, judge
from lab_models.statistics.wording import exact, level, p_in_words, signed
from tests.lab_models.conftest import EXAMPLES

GAIN = (0.52, 0.36, 0.41, 0.09, 0.72)
DEPTH_6 = (-0.36, -0.02, -0.38)


def differing(*differences: float, margin: float | None = None) -> Paired:
    return compare([(98.0 + difference, 98.0) for difference in differences], margin)


def test_a_significant_gain_supports_the_hypothesis() -> None:
    judgement = judge(differing(*GAIN))
    assert judgement.verdict is Verdict.SUPPORTED
    assert (
        judgement.sentence
        == "Supported: +0.42 percentage points, 95 % interval +0.13 to +0.71 over 5 paired seeds, p = 0.015."
    )
    assert (judgement.more_seeds, judgement.minutes) == (None, None)


def test_a_significant_loss_contradicts_it() -> None:
    judgement = judge(differing(*(-gain for gain in GAIN)))
    assert judgement.verdict is Verdict.CONTRADICTED
    assert (
        judgement.sentence
        == "Contradicted: -0.42 percentage points, 95 % interval -0.71 to -0.13 over 5 paired seeds, p = 0.015."
    )


def test_of_a_loss_less_is_better() -> None:
    judgement = judge(differing(*(-gain for gain in GAIN)), lower_is_better=True, unit="nats")
    assert (
        judgement.sentence
        == "Supported: -0.42 nats (lower is better), 95 % interval -0.71 to -0.13 over 5 paired seeds, p = 0.015."
    )
    assert judge(differing(*GAIN), lower_is_better=True).verdict is Verdict.CONTRADICTED
    assert judge(differing(*GAIN), lower_is_better=True, expects=-1).verdict is Verdict.SUPPORTED


def test_a_hypothesis_may_expect_harm() -> None:
    assert judge(differing(*GAIN), expects=-1).verdict is Verdict.CONTRADICTED
    with pytest.raises(ValueError, match="expects must be 1"):
        judge(differing(*GAIN), expects=0)


def test_the_corrected_p_decides_and_is_named() -> None:
    assert judge(differing(*GAIN), p_adjusted=0.032).sentence.endswith(
        "over 5 paired seeds, p = 0.032 (Holm)."
    )
    judgement = judge(differing(*GAIN), p_adjusted=0.08)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "p = 0.080 (Holm; 0.015 alone); settling it takes about " in judgement.sentence


def test_further_seeds_are_counted_at_the_level_that_the_correction_asks_for() -> None:
    paired = differing(*GAIN)
    assert paired.std is not None
    assert paired.p_t is not None
    strict = seeds_to_detect(0.42, paired.std, alpha=0.05 * paired.p_t / 0.16)
    assert strict is not None
    assert judge(paired, p_adjusted=0.16).more_seeds == strict - 5 > 1


def test_within_the_margin_is_equivalent_and_a_real_difference_is_called_real() -> None:
    judgement = judge(differing(0.02, -0.03, 0.04, -0.01, 0.03, margin=0.15))
    assert judgement.verdict is Verdict.EQUIVALENT
    assert judgement.verdict.text == "equivalent within margin"
    assert (
        judgement.sentence
        == "Equivalent within ±0.15 percentage points: +0.01, 95 % interval -0.03 to +0.05 over 5 paired seeds,"
        " equivalence p = 0.00021."
    )
    real = judge(differing(0.05, 0.04, 0.06, 0.03, 0.045, margin=0.15))
    assert real.verdict is Verdict.EQUIVALENT
    assert real.sentence.endswith("; the difference is real but smaller than the margin.")


def test_inconclusive_names_the_seeds_that_would_settle_it_and_their_price() -> None:
    paired = differing(*DEPTH_6)
    judgement = judge(paired, seconds_per_pair=240.0)
    assert paired.std is not None
    assert seeds_to_detect(0.76 / 3, paired.std) == 8
    assert (judgement.verdict, judgement.more_seeds, judgement.minutes) == (
        Verdict.INCONCLUSIVE,
        5,
        20.0,
    )
    assert (
        judgement.sentence
        == "Inconclusive: -0.25 percentage points, 95 % interval -0.76 to +0.25 over 3 paired seeds, p = 0.16; "
        "settling it takes about 5 more seeds at this spread (about 20 minutes)."
    )
    assert judge(paired).sentence.endswith("about 5 more seeds at this spread.")


def test_showing_equivalence_may_be_the_shorter_way() -> None:
    differences = (0.11, -0.09, 0.02, -0.12, 0.09)
    paired, unbounded = differing(*differences, margin=0.10), differing(*differences)
    assert paired.mean is not None
    assert paired.std is not None
    shorter = seeds_for_equivalence(paired.mean, paired.std, 0.10)
    assert shorter is not None
    assert judge(paired).more_seeds == shorter - 5
    assert judge(unbounded).more_seeds is None
    assert judge(unbounded).sentence.endswith(
        "settling it takes more than 1,000 seeds at this spread."
    )


def test_at_least_one_more_seed_is_asked_for() -> None:
    gain = differing(*(1.05 * difference for difference in (0.9, 1.0, 1.1, 1.0)), margin=None)
    judgement = judge(gain, p_adjusted=0.0501, seconds_per_pair=3.0)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert (judgement.more_seeds, judgement.minutes) == (1, 0.05)
    assert judgement.sentence.endswith(
        "settling it takes about 1 more seed at this spread (less than a minute)."
    )


def test_what_has_no_spread_shows_nothing_and_says_why() -> None:
    assert judge(differing()).sentence == "Not measured: no seed has a number in both arms."
    assert judge(differing()).verdict is Verdict.NOT_MEASURED
    for differences, sentence in (
        (
            (0.42,),
            "Inconclusive: +0.42 percentage points with the one paired seed; one pair has no interval: add seeds.",
        ),
        (
            (0.5,) * 3,
            (
                "Inconclusive: +0.50 percentage points with each of the 3 paired seeds; equal differences have neither"
                " interval nor p: add seeds."
            ),
        ),
        (
            (0.0,) * 2,
            (
                "Inconclusive: 0.00 percentage points with each of the 2 paired seeds; equal differences have neither"
                " interval nor p: add seeds."
            ),
        ),
    ):
        judgement = judge(differing(*differences, margin=1.0), seconds_per_pair=60.0)
        assert (judgement.verdict, judgement.sentence, judgement.more_seeds, judgement.minutes) == (
            Verdict.INCONCLUSIVE,
            sentence,
            None,
            None,
        )


@pytest.mark.parametrize("n", [3, 5])
def test_without_a_difference_one_verdict_in_twenty_is_false(n: int) -> None:
    draws = np.random.default_rng(n).standard_normal((2000, n))
    verdicts = [judge(from_differences(row.tolist(), size=100.0)).verdict for row in draws]
    assert np.mean([verdict is not Verdict.INCONCLUSIVE for verdict in verdicts]) == pytest.approx(
        0.05, abs=0.015
    )
    supported, contradicted = (
        verdicts.count(Verdict.SUPPORTED),
        verdicts.count(Verdict.CONTRADICTED),
    )
    assert abs(supported - contradicted) < 4 * math.sqrt(supported + contradicted)


SWAPPED = {Verdict.SUPPORTED: Verdict.CONTRADICTED, Verdict.CONTRADICTED: Verdict.SUPPORTED}


@EXAMPLES
@given(
    st.lists(st.tuples(st.floats(90, 91), st.floats(90, 91)), max_size=6),
    st.none() | st.floats(0.01, 2),
)
def test_swapping_the_arms_swaps_the_verdict(
    pairs: list[tuple[float, float]], margin: float | None
) -> None:
    forth, back = (
        judge(compare(pairs, margin)),
        judge(compare([(control, treatment) for treatment, control in pairs], margin)),
    )
    assert back.verdict is SWAPPED.get(forth.verdict, forth.verdict)
    assert back.more_seeds == forth.more_seeds
    assert judge(compare(pairs, margin), expects=-1).verdict is back.verdict
    assert "-0.00 " not in forth.sentence


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.42, "+0.42"),
        (-0.004, "-0.004"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-1e-17, "0.00"),
        (0.00004, "+0.00004"),
        (-12.345, "-12.35"),
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
        (0.00009, "p < 0.0001"),
        (0.0, "p < 0.0001"),
        (0.049996, "p = 0.049996"),
        (0.0500001, "p = 0.050"),
    ],
)
def test_a_p_stays_on_its_side_of_5_percent(p: float, written: str) -> None:
    assert p_in_words(p) == written


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
