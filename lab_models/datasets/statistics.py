"""Mean and deviation of a data set's pixels, which normalize its images. Nothing here loads torch."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

ROWS_AT_ONCE = 64


def mean_and_std(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel over all pixels of (N, C, H, W), in [0, 1], exact by counting; a constant channel has std 1, so that
    it can be divided by.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for rows in slices(len(images)):
        for channel in range(images.shape[1]):
            counts[channel] += np.bincount(
                np.ascontiguousarray(images[rows, channel]).reshape(-1), minlength=256
            )
    levels = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    std = np.where(counts.max(axis=1) == total, 1.0, np.sqrt(variance))
    return tuple(float(f"{value:.6g}") for value in mean), tuple(
        float(f"{value:.6g}") for value in std
    )


def slices(count: int) -> Iterable[slice]:
    """All rows, some at a time."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE))
