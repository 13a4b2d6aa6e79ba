"""Intervals, tests, corrections and power: against SciPy, printed numbers, and their own promises over thousands of
draws.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab_models.statistics.families import Test, corrected, holm, pair_key
from lab_models.statistics.paired import Paired, compare, discordant, from_differences, mcnemar
from lab_models.statistics.power import (
    MOST_SEEDS,
    POWER,
    power_of_equivalence,
    power_to_detect,
    seeds_to_decide,
)
from lab_models.statistics.summary import as_fraction, prediction_interval, summarise
from tests.lab_models.conftest import EXAMPLES

DRAWS = 2000
SLACK = 0.015
"""Three standard errors of a 5 % rate over 2,000 draws."""

DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
"""Crossed minus self-fertilized maize, eighths of an inch; Fisher, The Design of Experiments, 1935, section 17: t =
2.148, p just below 5 %.
"""


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def differing(differences: np.ndarray | list[float], margin: float | None = None) -> Paired:
    return from_differences([float(value) for value in differences], size=100.0, margin=margin)


def test_the_prediction_interval_is_wider_than_the_means_by_the_root_of_n_plus_1() -> None:
    summary = summarise([98.1, 98.3, 98.2, 98.6])
    assert summary.ci95 is not None
    low, high = prediction_interval(summary) or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(98.3)
    assert high - low == pytest.approx((summary.ci95[1] - summary.ci95[0]) * math.sqrt(5))
    assert high - low == pytest.approx(
        2 * 3.182446 * np.std([98.1, 98.3, 98.2, 98.6], ddof=1) * math.sqrt(1.25), rel=1e-6
    )


def test_an_interval_of_a_fraction_is_shown_within_0_and_1() -> None:
    assert as_fraction((-0.2, 1.041)) == (0.0, 1.0)
    assert as_fraction((0.408, 0.98)) == (0.408, 0.98)


def test_nothing_is_predicted_from_one_value_or_from_equal_ones() -> None:
    for values in ([0.9], [0.1 + 0.2, 0.3, 0.3], [0.0902, 0.0902]):
        assert prediction_interval(summarise(values)) is None
        assert summarise(values).ci95 is None
    assert summarise([0.1 + 0.2, 0.3, 0.3]).n == 3
    assert summarise([0.0902, 0.0903]).ci95 is not None


@pytest.mark.parametrize("n", [3, 5])
def test_a_further_run_lies_in_the_prediction_interval_19_times_out_of_20(n: int) -> None:
    draws = normal(n, DRAWS, n + 1)
    intervals = [prediction_interval(summarise(list(row[:n]))) or (0.0, 0.0) for row in draws]
    assert np.mean(
        [low <= row[n] <= high for (low, high), row in zip(intervals, draws, strict=True)]
    ) == pytest.approx(0.95, abs=SLACK)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
def test_the_paired_test_is_that_of_scipy(n: int) -> None:
    treatment, control = np.array([[0.7], [0.0]]) + normal(n, 2, n)
    paired, reference = (
        compare(list(zip(treatment, control, strict=True)), margin=1.0),
        stats.ttest_rel(treatment, control),
    )
    assert paired.p_t == pytest.approx(reference.pvalue)
    assert paired.ci95 == pytest.approx(tuple(reference.confidence_interval(0.95)))
    one_sided = [
        stats.ttest_1samp(paired.differences, bound, alternative=side).pvalue
        for bound, side in ((-1.0, "greater"), (1.0, "less"))
    ]
    assert paired.p_tost == pytest.approx(max(one_sided))
    assert (paired.p_wilcoxon is None) == (n < 6)


def test_darwins_maize_comes_out_as_fisher_printed_it() -> None:
    paired = differing(list(DARWIN))
    assert paired.mean == pytest.approx(20.93, abs=0.005)
    assert paired.std is not None
    assert 20.93 / (paired.std / math.sqrt(15)) == pytest.approx(2.148, abs=0.001)
    assert paired.p_t == pytest.approx(0.0497, abs=0.0001)
    assert paired.p_wilcoxon == pytest.approx(stats.wilcoxon(DARWIN, method="exact").pvalue)


@pytest.mark.parametrize(
    ("differences", "mean", "low", "high"),
    [([-0.36, -0.02, -0.38], -0.25, -0.76, 0.25), ([0.31, 0.07, -0.02], 0.12, -0.30, 0.54)],
    ids=["depth 6", "depth 10"],
)
def test_measured_seed_differences_give_the_interval_that_was_printed(
    differences: list[float], mean: float, low: float, high: float
) -> None:
    paired = compare([(98.0 + difference, 98.0) for difference in differences])
    assert paired.mean == pytest.approx(mean, abs=0.005)
    assert paired.ci95 == pytest.approx((low, high), abs=0.005)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_19_times_out_of_20(n: int) -> None:
    intervals = np.array([differing(row).ci95 for row in normal(n, DRAWS, n) + 0.4])
    assert np.mean((intervals[:, 0] <= 0.4) & (intervals[:, 1] >= 0.4)) == pytest.approx(
        0.95, abs=SLACK
    )


def test_equal_differences_and_single_pairs_have_neither_interval_nor_p() -> None:
    for pairs in ([(0.3, 0.1)], [(0.5, 0.4), (0.9, 0.8), (0.2, 0.1)], [(0.5, 0.5)] * 7, []):
        paired = compare(pairs, margin=0.5)
        assert (
            paired.ci95,
            paired.p_t,
            paired.p_wilcoxon,
            paired.p_tost,
        ) == (None,) * 4
        assert not paired.is_equivalent(0.05)
        assert paired.n == len(pairs)
    assert compare([(0.3, 0.1)]).mean == pytest.approx(0.2)
    assert compare([]).mean is None


def test_without_a_margin_equivalence_is_not_asked() -> None:
    assert not differing([0.1, 0.2, 0.3]).is_equivalent(0.05)
    assert not differing([0.1, 0.2, 0.3], margin=0.21).is_equivalent(0.05)
    wide = differing([0.1, 0.2, 0.3], margin=0.5)
    assert wide.p_tost == pytest.approx(0.0175, abs=1e-4)
    assert wide.is_equivalent(0.05)
    assert not wide.is_equivalent(0.0007)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_is_above_0(margin: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        compare([(1.0, 2.0)], margin)


def test_a_diverged_run_is_refused_rather_than_averaged() -> None:
    with pytest.raises(ValueError, match="not finite"):
        compare([(1.0, 2.0), (math.nan, 2.0)])


def test_the_signed_rank_test_counts_every_pattern_of_signs_with_ties_and_without_zeros() -> None:
    # ranks 2, 2, 2, 4, 5.5, 5.5 without the zero; 19 of 21 are positive
    differences = [0.0, 1.0, 1.0, -1.0, 2.0, 3.0, 3.0]
    signs = 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1
    ranks = np.array([2, 2, 2, 4, 5.5, 5.5])
    sums = ((signs > 0) * ranks).sum(axis=1)
    assert differing(differences).p_wilcoxon == pytest.approx(2 * np.mean(sums >= 19))


def test_a_tie_is_a_tie_after_float_subtraction_too() -> None:
    pairs = [(0.3, 0.1), (0.7, 0.5), (0.1, 0.3), (0.9, 0.7), (0.5, 0.2), (0.6, 0.2)]
    assert len({abs(treatment - control) for treatment, control in pairs[:4]}) > 1, (
        "float64 subtracts these to different numbers"
    )
    assert compare(pairs).p_wilcoxon == differing([2, 2, -2, 2, 3, 4]).p_wilcoxon


@EXAMPLES
@given(st.lists(st.integers(-40, 40).filter(bool), min_size=6, max_size=12, unique_by=abs))
def test_the_signed_rank_test_without_ties_is_that_of_scipy(differences: list[int]) -> None:
    assert differing(differences).p_wilcoxon == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue
    )


@pytest.mark.parametrize(
    ("treatment", "control"), [(0, 0), (5, 0), (3, 3), (10, 4), (97, 131), (1500, 1400)]
)
def test_mcnemar_is_the_exact_binomial_test(treatment: int, control: int) -> None:
    expected = (
        stats.binomtest(treatment, treatment + control).pvalue if treatment + control else 1.0
    )
    assert mcnemar(treatment, control) == pytest.approx(expected)
    assert mcnemar(control, treatment) == mcnemar(treatment, control)


def test_no_p_is_0() -> None:
    assert mcnemar(5000, 0) == 1e-300
    assert mcnemar(900, 0) == pytest.approx(2 * 0.5**900)
    far = differing([1e5 + step for step in (0.1, 0.2, 0.3, 0.4) * 40], margin=1.0)
    assert far.p_t == 1e-300
    assert far.p_tost == 1.0


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="below 0"):
        mcnemar(3, -1)


def test_discordant_images_are_those_that_one_side_alone_gets_right() -> None:
    assert discordant([0, 1, 2, 3, 4], [0, 1, 9, 9, 9], [0, 5, 2, 3, 9]) == (2, 1)
    with pytest.raises(ValueError, match="same images"):
        discordant([0, 1], [0, 1, 2], [0, 1, 2])


def test_holm_steps_down_as_in_the_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.02, 0.9]) == pytest.approx([1.0, None, 0.06, 1.0])
    assert holm([]) == []
    assert holm([None]) == [None]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])
    assert holm([0.01, None, 0.02], 4) == pytest.approx([0.04, None, 0.06])
    with pytest.raises(ValueError, match="only 1 tests"):
        holm([0.1, 0.2], 1)


def test_what_a_family_has_shown_is_not_taken_back_when_its_other_tests_come_in() -> None:
    """Tests without a p count from the beginning, so a corrected p can only fall."""
    tests = {
        "a": Test(differing([1.0, 1.1, 0.9, 1.05, 1.0])),
        "b": Test(differing([])),
        "c": Test(differing([0.3])),
    }
    early = corrected(tests)
    assert early["a"] == pytest.approx(3 * (tests["a"].paired.p_t or 0))
    assert (early["b"], early["c"]) == (None, None)
    late = corrected({**tests, "b": Test(differing([0.1, -0.2, 0.3]))})
    assert late["a"] == early["a"]


def test_a_pair_of_cells_is_one_test_whichever_is_the_treatment() -> None:
    assert pair_key("a", "b") == pair_key("b", "a") != pair_key("a", "c")


@EXAMPLES
@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float | None]) -> None:
    adjusted = holm(p_values)
    assert [p is None for p in adjusted] == [p is None for p in p_values]
    known = sorted(
        (raw, corrected)
        for raw, corrected in zip(p_values, adjusted, strict=True)
        if raw is not None and corrected is not None
    )
    assert all(raw <= corrected <= 1 for raw, corrected in known)
    assert [corrected for _, corrected in known] == sorted(corrected for _, corrected in known)


def test_holm_keeps_a_table_of_five_rows_from_finding_what_is_not_there() -> None:
    tables = normal(5, DRAWS, 5, 5)
    found = [
        any((p or 1.0) < 0.05 for p in holm([differing(row).p_t for row in table]))
        for table in tables
    ]
    uncorrected = [any((differing(row).p_t or 1.0) < 0.05 for row in table) for table in tables]
    assert np.mean(found) <= 0.05 + SLACK
    assert np.mean(uncorrected) > 0.19, "1 - 0.95^5 = 23 % of such tables would show something"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_difference_as_large_as_the_margin_is_called_equivalent_1_time_out_of_20_at_most(
    n: int,
) -> None:
    assert (
        np.mean(
            [
                differing(row, margin=1.0).is_equivalent(0.05)
                for row in 0.3 * normal(n, DRAWS, n) + 1.0
            ]
        )
        <= 0.05 + SLACK
    )


@pytest.mark.parametrize("n", [2, 3, 5, 20, 300])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_the_power_of_the_t_test_is_the_noncentral_ts(n: int, alpha: float) -> None:
    critical = stats.t.isf(alpha / 2, n - 1)
    for shift in (0.5, 2.0, 4.0, 7.0):
        # SciPy has no number for what is below 1e-15
        wrong_side = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
        expected = stats.nct.sf(critical, n - 1, shift) + wrong_side
        assert power_to_detect(n, shift / math.sqrt(n), alpha) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_power_of_80_percent_is_reached_where_cohens_tables_have_it(
    effect: float, n: int
) -> None:
    # as G*Power prints them for matched pairs
    assert power_to_detect(n - 1, effect) < POWER <= power_to_detect(n, effect)
    assert power_to_detect(n, -effect) == power_to_detect(n, effect)


def test_what_cannot_be_resolved_has_no_number_of_seeds() -> None:
    def five_percent(_n: int) -> float:
        return 0.05

    assert seeds_to_decide(0.0, 0.5, five_percent) is None
    assert seeds_to_decide(1.0, 0.05, five_percent) is None
    most = seeds_to_decide(1.0, 0.093, five_percent)
    assert most is not None
    assert 900 < most <= MOST_SEEDS


@pytest.mark.parametrize(("effect", "spread"), [(0.3, 0.2), (0.5, 0.6), (1.0, 0.3)])
@pytest.mark.parametrize("n", [5, 12])
def test_a_difference_is_found_as_often_as_its_power_says(
    effect: float, spread: float, n: int
) -> None:
    draws = effect + spread * normal(n, DRAWS, n)
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(power_to_detect(n, effect / spread), abs=0.03)


@pytest.mark.parametrize(
    ("effect", "spread", "margin"), [(0.0, 0.2, 0.3), (0.1, 0.2, 0.3), (0.3, 0.4, 0.5)]
)
@pytest.mark.parametrize("n", [6, 20])
def test_equivalence_is_shown_as_often_as_its_power_says(
    effect: float, spread: float, margin: float, n: int
) -> None:
    draws = effect + spread * normal(n, DRAWS, n)
    standard_error = draws.std(axis=1, ddof=1) / math.sqrt(n)
    shown = float(
        np.mean(stats.t.cdf((np.abs(draws.mean(axis=1)) - margin) / standard_error, n - 1) < 0.05)
    )
    assert shown == pytest.approx(
        power_of_equivalence(n, effect / spread, margin / spread), abs=0.03
    )
