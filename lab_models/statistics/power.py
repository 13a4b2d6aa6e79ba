"""How many paired seeds a difference needs: the power of the paired t-test and of the test of equivalence, computed
exactly.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, stdtrit

from lab_models.statistics.paired import ALPHA

MOST_SEEDS = 1000
"""Beyond this a difference is out of reach: nobody trains so many networks to resolve it."""

POWER = 0.8
"""The chance of showing what is there (Cohen, Statistical Power Analysis, 1988, section 2.4)."""

NODES, WEIGHTS = np.polynomial.legendre.leggauss(96)
TAIL = 9.0
"""Standard deviations after which a tail is 0 in float64."""


def seeds_to_decide(
    spread: float,
    margin: float,
    level: Callable[[int], float],
    share: float = 1.0,
    power: float = POWER,
) -> int | None:
    """The fewest pairs with which a mean difference as large as the margin is found, and with which none at all is
    shown to lie within it: each with this power, at the level that n pairs are decided at.

    `share` is how much of the level the t-test has, where several share it. None when the spread is 0, or above 1,000
    pairs.
    """
    if spread <= 0:
        return None
    bound = margin / spread
    return _fewest(
        lambda n: min(
            power_to_detect(n, bound, share * level(n)),
            power_of_equivalence(n, 0.0, bound, level(n)),
        ),
        power,
    )


def power_to_detect(n: int, effect: float, alpha: float = ALPHA) -> float:
    """The chance that a two-sided paired t-test with n >= 2 pairs is significant; `effect` in standard deviations of
    the differences.

    P(|T| > t) for the noncentral t with n - 1 degrees of freedom and noncentrality effect · sqrt(n), as the mean over
    the estimated spread u of the normal tails: T > t where a normal variable exceeds t · u - noncentrality. SciPy's
    `nctdtr` is not finite in the far tail.
    """
    critical, shift = float(stdtrit(n - 1, 1 - alpha / 2)), abs(effect) * math.sqrt(n)
    return _mean_over_spreads(
        lambda u: ndtr(shift - critical * u) + ndtr(-shift - critical * u),
        n - 1,
        (shift + TAIL) / critical,
    )


def power_of_equivalence(n: int, effect: float, margin: float, alpha: float = ALPHA) -> float:
    """The chance that both one-sided tests with n >= 2 pairs are significant; effect and margin in standard deviations.

    At an estimated spread of u they are when the mean lies within ± (margin - t(1 - alpha, n - 1) · u / sqrt(n)).
    """
    critical, root = float(stdtrit(n - 1, 1 - alpha)), math.sqrt(n)
    high, low = (margin - effect) * root, (-margin - effect) * root
    return _mean_over_spreads(
        lambda u: ndtr(high - critical * u) - ndtr(low + critical * u),
        n - 1,
        margin * root / critical,
    )


def _mean_over_spreads(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], freedom: int, most: float
) -> float:
    """The function's mean over u = sqrt(chi squared / freedom), the estimated spread over the true one; 0 where u is
    above `most`.
    """
    low, high = (
        max(0.0, 1 - TAIL / math.sqrt(2 * freedom)),
        min(most, 1 + TAIL / math.sqrt(2 * freedom)),
    )
    if high <= low:
        return 0.0
    u = low + (high - low) * (NODES + 1) / 2
    half = freedom / 2
    density = np.exp(
        math.log(2)
        + half * math.log(half)
        - gammaln(half)
        + (freedom - 1) * np.log(u)
        - half * u * u
    )
    return float(np.sum(WEIGHTS * density * function(u))) * (high - low) / 2


def _fewest(power_with: Callable[[int], float], wanted: float) -> int | None:
    """The smallest n from 2 to MOST_SEEDS that reaches the power, which rises with n once it is above 5 %; None when
    even the largest does not.
    """
    if power_with(MOST_SEEDS) < wanted:
        return None
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_with(middle) >= wanted else (middle + 1, high)
    return low
