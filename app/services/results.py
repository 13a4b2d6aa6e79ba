"""From an experiment's runs to numbers with their uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """`std` is the sample's (n - 1); `ci95` is Student's t interval of the mean; both need two values."""

    mean: float
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    values: tuple[float, ...]


def summarise(values: Sequence[float]) -> Summary:
    """Mean over seeds with its 95 % interval, mean ± t(0.975, n - 1) · std / sqrt(n)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Summary(mean, None, len(values), None, tuple(values))
    std = float(np.std(values, ddof=1))
    half_width = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * std / math.sqrt(len(values))
    return Summary(mean, std, len(values), (mean - half_width, mean + half_width), tuple(values))


def summarise_scores(scores: Sequence[dict[str, Any]]) -> dict[str, Summary]:
    """One summary per number that all given score sheets have."""
    if not scores:
        return {}
    return {name: summarise([sheet[name] for sheet in scores]) for name in scores[0] if all(isinstance(sheet.get(name), int | float) for sheet in scores)}
