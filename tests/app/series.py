"""Series for tests, from each run's own numbers."""

import math
from collections.abc import Mapping

import numpy as np

from app.plots.series import Series


def over_runs(*runs: Mapping[int, float | None]) -> Series:
    """Mean and range over runs, each given as its numbers by epoch: None, NaN and infinities where one was not
    finite.
    """
    begun = [run for run in runs if run]
    epochs = sorted({epoch for run in begun for epoch in run})
    table = np.array(
        [[_number(run.get(epoch)) for epoch in epochs] for run in begun], dtype=np.float64
    ).reshape(len(begun), len(epochs))
    is_there = ~np.isnan(table)
    mean = np.divide(
        np.nansum(table, axis=0),
        is_there.sum(axis=0),
        out=np.full(len(epochs), np.nan),
        where=is_there.any(axis=0),
    )
    low, high = (
        np.min(table, axis=0, initial=math.inf, where=is_there),
        np.max(table, axis=0, initial=-math.inf, where=is_there),
    )
    nothing = ~is_there.any(axis=0)
    low[nothing] = high[nothing] = np.nan
    has_gaps = any(math.isnan(_number(value)) for run in begun for value in run.values())
    counts = np.array([sum(epoch in run for run in begun) for epoch in epochs], dtype=np.int64)
    return Series(np.array(epochs, dtype=np.int64), mean, low, high, len(begun), has_gaps, counts)


def _number(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
