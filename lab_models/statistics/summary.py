"""One number over several seeds: its mean, the mean's interval, and where one further run lies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95

VAGUE = 0.25
"""Half an interval of a fraction that still tells something."""
ROUNDING = 1e-12
"""Spread, relative to the numbers, that is float64's rounding (2.2e-16) and a few sums of it; one image in a million is
1e-6.
"""


@dataclass(frozen=True)
class Summary:
    """`std` is the sample's (n - 1); `ci95` is Student's t interval of the mean. Both need two values, the interval two
    that differ by more than float rounding: equal ones say nothing about the next.
    """

    mean: float
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    values: tuple[float, ...]


def summarise(values: Sequence[float]) -> Summary:
    """Mean over seeds with its 95 % interval, mean ± t(0.975, n - 1) · std / sqrt(n)."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Summary(mean, None, n, None, tuple(values))
    std = float(np.std(values, ddof=1))
    ci95 = (
        None
        if is_rounding(std, values)
        else t_interval(mean, std / math.sqrt(n), n - 1, CONFIDENCE)
    )
    return Summary(mean, std, n, ci95, tuple(values))


@dataclass(frozen=True)
class SummaryColumns:
    """`summarise` of every column of a table, arrays of one number each; NaN where there is none. `n` counts."""

    mean: FloatArray
    std: FloatArray
    n: NDArray[np.int64]
    low: FloatArray
    high: FloatArray
    least: FloatArray
    largest: FloatArray


def summarise_columns(values: FloatArray) -> SummaryColumns:
    """As `summarise`, of a table (replicates, columns) in which NaN stands for what a replicate does not have; `low`
    and `high` are the ends of the interval.
    """
    there = np.isfinite(values)
    n = there.sum(axis=0)
    known = np.where(there, values, 0.0)
    mean = np.divide(known.sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    squares = np.where(there, values - mean, 0.0) ** 2
    std = np.sqrt(np.divide(squares.sum(axis=0), n - 1, out=np.full(n.shape, np.nan), where=n > 1))
    differ = std > ROUNDING * np.abs(known).max(axis=0, initial=0.0)
    half_width = np.full(n.shape, np.nan)
    freedom = n[differ] - 1
    quantile = stdtrit(freedom, 0.5 + CONFIDENCE / 2)
    half_width[differ] = quantile * (std[differ] / np.sqrt(n[differ]))
    return SummaryColumns(
        mean=mean,
        std=std,
        n=n,
        low=mean - half_width,
        high=mean + half_width,
        least=_or_none(np.where(there, values, np.inf).min(axis=0, initial=np.inf)),
        largest=_or_none(np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)),
    )


def _or_none(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)


def prediction_interval(summary: Summary) -> tuple[float, float] | None:
    """Where one further run lies with 95 %: mean ± t(0.975, n - 1) · std · sqrt(1 + 1/n).

    A single run of somebody else is to be compared with this, not with the mean's interval, which only says where the
    mean lies (Hahn & Meeker, Statistical Intervals, 1991, section 4.7). None where the mean has no interval.
    """
    if summary.std is None or summary.ci95 is None:
        return None
    return t_interval(
        summary.mean, summary.std * math.sqrt(1 + 1 / summary.n), summary.n - 1, CONFIDENCE
    )


def as_fraction(ends: tuple[float, float]) -> tuple[float, float]:
    """An interval of a fraction as it is shown: cut where fractions end."""
    low, high = (min(max(end, 0.0), 1.0) for end in ends)
    return low, high


def is_vague(ends: tuple[float, float]) -> bool:
    """Whether an interval of a fraction says next to nothing, as that of two seeds which reaches beyond 0 and 100 %."""
    return ends[1] - ends[0] > 2 * VAGUE


def t_interval(
    mean: float, standard_error: float, freedom: int, confidence: float
) -> tuple[float, float]:
    """The symmetric interval mean ± t · standard error of Student's t with `freedom` degrees of freedom."""
    half_width = float(stdtrit(freedom, 0.5 + confidence / 2)) * standard_error
    return mean - half_width, mean + half_width


def is_rounding(spread: float, numbers: Sequence[float]) -> bool:
    """Whether a spread is no more than what float arithmetic leaves behind when it handles these numbers."""
    return spread <= ROUNDING * max((abs(number) for number in numbers), default=0.0)
