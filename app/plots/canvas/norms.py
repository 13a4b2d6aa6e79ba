"""Norms of layers over epochs as columns of a heat map on a logarithmic scale of colors."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

INITIAL_COLUMN: Final = 0.05
LEAST_DECADES: Final = 2
FARTHEST: Final = 290
"""Powers of ten beyond that, which only double precision has, are drawn as that."""

Norms = npt.NDArray[np.float64]


def thinned(num_epochs: int, most: int) -> list[int]:
    """Rows of the norms that become columns: all, or evenly chosen ones where there are more than pixels, always the
    first and the last.
    """
    chosen = np.linspace(0, num_epochs - 1, min(num_epochs, most)).round().astype(int)
    return sorted(set(chosen.tolist()))


def edges_of(epochs: Sequence[int]) -> Norms:
    """Left and right edges of the columns: one unit each, initialization never narrower than a twentieth of the
    whole.
    """
    widths = np.ones(len(epochs))
    if epochs[0] == 0:
        widths[0] = max(1.0, INITIAL_COLUMN * len(epochs))
    return np.concatenate([[0.0], np.cumsum(widths)])


def decades_of(norms: Norms) -> tuple[float, float]:
    """Whole decades around all norms above 0, at least two, so that small differences do not look large."""
    positive = norms[np.isfinite(norms) & (norms > 0)]
    if not len(positive):
        return 0.1, 10.0
    low, high = (
        min(max(exponent, -FARTHEST), FARTHEST)
        for exponent in (
            math.floor(math.log10(positive.min())),
            math.ceil(math.log10(positive.max())),
        )
    )
    missing = max(0, LEAST_DECADES - (high - low))
    return 10.0 ** (low - missing // 2), 10.0 ** (high + missing - missing // 2)
