"""Claims over several settings: the number that decides, the verdict, and how often it is false."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lab_models.statistics import claims
from lab_models.statistics.cells import ClaimResult
from lab_models.statistics.looks import Look
from lab_models.statistics.paired import compare
from lab_models.statistics.verdicts import CLAIMED, ClaimVerdict, Terms, judge

PLAIN_DEPTHS = (
    {0: 97.78, 1: 97.77, 2: 97.75},
    {0: 98.07, 1: 97.80, 2: 98.13},
    {0: 97.21, 1: 97.57, 2: 97.72},
)
"""Test accuracies of plain networks of depth 2, 6 and 10."""

DEPTHS = ("depth 2", "depth 6", "depth 10")


def better(*said: Any, **more: Any) -> ClaimResult:
    """With the claim's own tests as the family."""
    return claims.better(*said, **more).alone()


def trend(*said: Any, **more: Any) -> ClaimResult:
    return claims.trend(*said, **more).alone()


def not_monotone(*said: Any, **more: Any) -> ClaimResult:
    return claims.not_monotone(*said, **more).alone()


def reaches(values: list[float], *said: Any, **more: Any) -> ClaimResult:
    return claims.reaches(dict(enumerate(values)), *said, **more).alone()


def settings(levels: list[float], noise: float = 0.05, seeds: int = 5) -> list[dict[int, float]]:
    """Scores around each setting's level, per seed."""
    draws = noise * np.random.default_rng(3).standard_normal((len(levels), seeds))
    return [
        {seed: float(level + draws[place, seed]) for seed in range(seeds)}
        for place, level in enumerate(levels)
    ]


def fractions(cells: list[dict[int, float]]) -> list[dict[int, float]]:
    return [{seed: score / 100 for seed, score in cell.items()} for cell in cells]


def test_one_contrast_is_judged_like_its_pairs() -> None:
    pairs = {0: (98.5, 98.0), 1: (98.2, 98.1), 2: (98.9, 98.2)}
    result, paired = better([pairs], 0.15), compare(list(pairs.values()), 0.15)
    assert (
        result.sentence
        == judge(
            Terms("percentage points", heads=CLAIMED), paired, look=Look.PLANNED, sign=1
        ).sentence
    )
    assert (result.estimate, result.ci95, result.p, result.n) == (
        paired.mean,
        paired.ci95,
        paired.p_t,
        3,
    )


def test_better_tests_each_seeds_mean_difference_over_the_contrasts() -> None:
    rows = [
        {0: (0.5, 0.4), 1: (0.6, 0.4), 2: (0.5, 0.35)},
        {0: (0.9, 0.7), 1: (0.8, 0.7), 2: (0.8, 0.55)},
    ]
    result = better(rows, scale=100.0, titles=["small", "large"])
    reference = stats.ttest_1samp([15.0, 15.0, 20.0], 0)
    assert result.verdict is ClaimVerdict.SUPPORTED
    assert result.estimate == pytest.approx(50 / 3)
    assert result.p == pytest.approx(reference.pvalue)
    assert result.ci95 == pytest.approx(tuple(reference.confidence_interval()))
    assert result.sentence.startswith(
        "Supported: +16.67 percentage points (mean of 2 contrasts), 95 % interval +9.50 to +23.84 over 3 paired seeds,"
        " p = "
    )
    assert result.evidence[0].startswith(
        "small: +15.00 percentage points, 95 % interval +2.58 to +27.42 over 3 paired seeds, p = 0.070 (Holm; 0.035"
        " alone; level 4 %)"
    )
    assert len(result.evidence) == 2


def test_only_the_seeds_of_every_contrast_count_and_the_others_are_named() -> None:
    rows = [
        {0: (0.5, 0.4), 1: (0.6, 0.4), 7: (0.1, 0.9)},
        {0: (0.9, 0.7), 1: (0.8, 0.7), 2: (0.8, 0.55)},
    ]
    result = better(rows, scale=100.0)
    assert result.n == 2
    assert result.evidence[-1] == "left out, as not everything has them: seeds 2, 7"
    assert better([{0: (0.5, 0.4)}, {1: (0.5, 0.4)}]).verdict is ClaimVerdict.NOT_MEASURED
    assert better([]).verdict is ClaimVerdict.NOT_MEASURED


def test_of_a_loss_the_lower_is_better() -> None:
    row = {0: (0.31, 0.42), 1: (0.30, 0.43), 2: (0.29, 0.41)}
    assert better([row], lower_is_better=True, unit="nats").verdict is ClaimVerdict.SUPPORTED
    assert better([row], unit="nats").verdict is ClaimVerdict.CONTRADICTED


def test_fractions_with_a_scale_say_what_percentages_say() -> None:
    cells = settings([97.0, 97.2, 97.1, 97.6])
    for claim in (trend, not_monotone):
        assert (
            claim(fractions(cells), margin=0.5, scale=100.0).sentence
            == claim(cells, margin=0.5).sentence
        )


def test_a_trend_is_each_seeds_least_squares_line() -> None:
    cells = settings([97.0, 97.2, 97.1, 97.6])
    slopes = [np.polyfit(range(4), [cell[seed] for cell in cells], 1)[0] for seed in range(5)]
    result = trend(cells)
    assert result.verdict is ClaimVerdict.SUPPORTED
    assert result.estimate == pytest.approx(3 * np.mean(slopes))
    assert result.p == pytest.approx(stats.ttest_1samp(slopes, 0).pvalue)
    assert (
        f"least-squares trend: {np.mean(slopes):+.2f} percentage points per step" in result.evidence
    )
    assert " percentage points over 3 steps, 95 % interval " in result.sentence
    assert trend(cells, rises=False).verdict is ClaimVerdict.CONTRADICTED
    assert trend(cells[::-1], rises=False).verdict is ClaimVerdict.SUPPORTED


def test_the_whole_change_of_a_flat_trend_lies_within_the_margin() -> None:
    result = trend(settings([97.0, 97.02, 97.0, 97.01]), margin=0.25)
    assert result.verdict is ClaimVerdict.EQUIVALENT
    assert result.sentence.startswith("Equivalent within ±0.25 percentage points over 3 steps: ")
    assert (
        trend(settings([97.0, 97.1, 97.2, 97.3]), margin=0.25).verdict
        is not ClaimVerdict.EQUIVALENT
    ), "a tenth per step is more than the margin in all"


def test_a_trend_needs_two_settings_and_common_seeds() -> None:
    assert trend([{0: 0.5}]).verdict is ClaimVerdict.NOT_MEASURED
    assert trend([]).sentence == "Not measured: a trend needs at least two settings."
    assert (
        trend([{0: 0.5}, {1: 0.6}]).sentence
        == "Not measured: no seed has a number at every setting."
    )
    one = trend([{0: 0.5}, {0: 0.6}], scale=100.0)
    assert (
        one.sentence
        == "Open: +10.00 percentage points over 1 step with the one paired seed; one seed has no interval: add"
        " seeds."
    )


def test_more_is_not_better_where_a_later_setting_is_worse() -> None:
    result = not_monotone(settings([97.0, 97.8, 97.3, 97.4]), 0.1, titles=["2", "4", "6", "8"])
    assert result.verdict is ClaimVerdict.SUPPORTED
    assert result.sentence.startswith(
        "Supported: 6 is worse than 4: −0.5"
    ) or result.sentence.startswith("Supported: 8 is worse than 4: −0.4")
    assert "(Holm; level 4 %)." in result.sentence
    assert result.estimate is not None
    assert result.estimate < 0
    assert len([line for line in result.evidence if " against " in line]) == 6


def test_the_p_of_a_worsening_is_corrected_over_all_pairs() -> None:
    cells = ({0: 1.0, 1: 1.2, 2: 1.1}, {0: 0.5, 1: 0.73, 2: 0.57}, {0: 0.9, 1: 0.4, 2: 1.5})
    raw = stats.ttest_rel(list(cells[1].values()), list(cells[0].values())).pvalue
    result = not_monotone(cells)
    assert (result.p, result.level) == (pytest.approx(raw), 0.04)
    assert result.p_holm == pytest.approx(4 * raw)  # three pairs and the trend
    assert result.verdict is ClaimVerdict.SUPPORTED
    assert result.sentence.startswith(
        "Supported: setting 1 is worse than setting 0: −0.50 percentage points, "
    )


def test_a_steady_rise_contradicts_that_more_is_not_better() -> None:
    result = not_monotone(settings([97.0, 97.3, 97.6, 97.9]))
    assert result.verdict is ClaimVerdict.CONTRADICTED
    assert result.sentence.startswith(
        "Contradicted: no later setting is significantly worse than an earlier one, and the trend is for the better:"
        " +0.9",
    )
    assert (
        not_monotone(settings([0.9, 0.6, 0.3]), lower_is_better=True, unit="nats").verdict
        is ClaimVerdict.CONTRADICTED
    )
    assert (
        not_monotone(settings([0.3, 0.6, 0.9]), lower_is_better=True, unit="nats").verdict
        is ClaimVerdict.SUPPORTED
    )


def test_no_worsening_and_no_change_is_equivalent() -> None:
    result = not_monotone(settings([97.0, 97.0, 97.01]), 0.3)
    assert result.verdict is ClaimVerdict.EQUIVALENT
    assert result.sentence.startswith(
        "Equivalent within ±0.30 percentage points over 2 steps: no later setting is significantly worse than an"
        " earlier one, and the trend changes by ",
    )


def test_measured_depths_leave_open_whether_more_is_better() -> None:
    result = not_monotone(PLAIN_DEPTHS, 0.15, titles=DEPTHS, seconds_per_seed=60.0)
    assert result.verdict is ClaimVerdict.OPEN
    assert result.sentence.startswith(
        "Open: the largest change for the worse, from depth 6 to depth 10, is −0.50 percentage points, 95 %"
        " interval "
    )
    assert (
        "(Holm; level 4 %); to show a difference as large as the margin, or that there is none, takes about "
        in (result.sentence)
    )
    assert " seeds in all at this spread (" in result.sentence
    assert "; the look at them is a further one)" in result.sentence
    assert (
        "depth 10 against depth 2: −0.27 percentage points, 95 % interval −0.95 to +0.42 over 3 paired seeds"
        in " ".join(result.evidence)
    )


def test_one_seed_shows_no_order() -> None:
    fall = not_monotone([{0: 0.98}, {0: 0.97}], scale=100.0)
    assert fall.sentence.startswith(
        "Open: the largest change for the worse, from setting 0 to setting 1, is −1.00 percentage points with"
        " the one"
    )
    rise = not_monotone([{0: 0.97}, {0: 0.98}], scale=100.0)
    assert rise.sentence.startswith(
        "Open: no later setting is worse than an earlier one on average; the trend changes by +1.00 percentage"
        " points"
    )
    assert not_monotone([{0: 0.97}, {1: 0.98}]).verdict is ClaimVerdict.NOT_MEASURED
    assert not_monotone([{0: 0.97}]).verdict is ClaimVerdict.NOT_MEASURED


def test_rises_that_are_not_significant_are_inconclusive() -> None:
    result = not_monotone(({0: 97.0, 1: 97.4, 2: 97.1}, {0: 97.3, 1: 97.2, 2: 97.6}))
    assert result.verdict is ClaimVerdict.OPEN
    assert (
        "but a trend for the better is not shown: +0.20 percentage points over 1 step, 95 % interval "
        in result.sentence
    )


def test_titles_are_one_per_setting() -> None:
    with pytest.raises(ValueError, match="3 settings but 2 titles"):
        not_monotone(PLAIN_DEPTHS, titles=DEPTHS[:2])
    with pytest.raises(ValueError, match="1 contrasts but 0 titles"):
        better([{0: (0.1, 0.2)}], titles=[])


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.9840, 0.9842, 0.9841], ClaimVerdict.SUPPORTED),
        ([0.9800, 0.9802, 0.9801], ClaimVerdict.CONTRADICTED),
        ([0.9821, 0.9826, 0.9829], ClaimVerdict.EQUIVALENT),
        ([0.9700, 0.9850], ClaimVerdict.OPEN),
        ([0.9826], ClaimVerdict.OPEN),
        ([0.9826, 0.9826], ClaimVerdict.OPEN),
        ([], ClaimVerdict.NOT_MEASURED),
    ],
)
def test_a_published_number_is_reached_or_not(values: list[float], verdict: ClaimVerdict) -> None:
    result = reaches(values, 0.9826, 0.15, scale=100.0)
    assert result.verdict is verdict
    assert result.sentence.startswith(f"{verdict.text.capitalize()}: ")


def test_reaching_reports_the_mean_with_its_interval() -> None:
    values = [98.40, 98.42, 98.41, 98.45]
    result, reference = reaches(values, 98.26), stats.ttest_1samp(values, 98.26)
    assert result.estimate == pytest.approx(98.42)
    assert result.ci95 == pytest.approx(tuple(reference.confidence_interval()))
    assert result.p == pytest.approx(reference.pvalue)
    assert (
        result.sentence
        == "Supported: 98.42 % on average, 95 % interval 98.39 to 98.45 over 4 runs, +0.16 from the target of 98.26, p"
        " = 0.00067 (level 4 %)."
    )
    assert result.evidence == ("runs: 98.40, 98.42, 98.41, 98.45",)


def test_a_printed_interval_of_percent_ends_at_100() -> None:
    result = reaches([0.99, 0.95, 0.999], 0.9, scale=100.0, limits=(0.0, 100.0))
    assert result.ci95 is not None
    assert result.ci95[1] > 100
    assert "95 % interval 91.49 to 100.00 over 3 runs" in result.sentence


def test_a_miss_within_the_margin_is_still_a_miss_and_said_to_be_small() -> None:
    result = reaches([98.20, 98.21, 98.22], 98.26, 0.15)
    assert result.verdict is ClaimVerdict.CONTRADICTED
    assert result.sentence.endswith("; the miss is real but smaller than the margin.")


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.40, 1.42, 1.41, 1.45], ClaimVerdict.SUPPORTED),
        ([2.40, 2.42, 2.41, 2.45], ClaimVerdict.CONTRADICTED),
        ([1.0, 3.0, 2.1], ClaimVerdict.OPEN),
    ],
)
def test_what_should_be_small_stays_below_its_bound(
    values: list[float], verdict: ClaimVerdict
) -> None:
    said = reaches(values, 2.0, lower_is_better=True, unit="percentage points")
    assert said.verdict is verdict
    assert " from the bound of 2.00" in said.sentence


def test_what_would_settle_a_target_is_said() -> None:
    said = reaches([98.0, 98.6, 98.3], 98.1, 0.5, seconds_per_seed=600.0).sentence
    assert said.endswith(
        "takes about 13 seeds in all at this spread (10 more, about 100 minutes; the look at them is a further one)."
    )
    assert reaches([98.0, 98.6, 98.3], 98.1).sentence.endswith("p = 0.37 (level 4 %).")
    assert (
        reaches([98.0], 98.1).sentence
        == "Open: 98.00 % in the one run, −0.10 from the target of 98.10; one run has no interval: add seeds."
    )


def test_claims_find_nothing_in_noise_more_often_than_1_time_in_20() -> None:
    tables = np.random.default_rng(4).standard_normal((1000, 4, 4))
    cells = [[dict(enumerate(row)) for row in table.tolist()] for table in tables]
    trends = [trend(table).verdict for table in cells]
    assert np.mean([verdict is not ClaimVerdict.OPEN for verdict in trends]) == pytest.approx(
        0.04, abs=0.02
    )
    assert (
        np.mean([not_monotone(table).verdict is ClaimVerdict.SUPPORTED for table in cells])
        <= 0.05 + 0.02
    )
