"""Layers' numbers over epochs: one run's from its metrics, and means over runs."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.services.experiments.metrics import RunMetrics
from lab_models.training.layer_metrics import (
    BIAS_GRADIENT_L2,
    GRADIENT_L2,
    GRADIENT_MEAN_ABS,
    LAYER_POSITION,
    WEIGHT_NORM,
)

SHORTCUT = re.compile(r"downsample|shortcut|projection", re.IGNORECASE)
"""Names of 1x1 convs on a shortcut: they stand beside the path whose slope is asked for."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerSeries:
    """One run's numbers, or means over runs: `layers` input first, `epochs` rising, 0 is initialization.

    The matrices are (epochs, layers), NaN where nothing was measured: a frozen layer, no bias, a number that was not
    finite. `is_fitted` marks the layers that the slope is fitted to: all but the head, which is the last, and
    shortcuts. `num_runs` (epochs, layers) is how many runs a number of `l2` is the mean of.
    """

    layers: tuple[str, ...]
    is_fitted: npt.NDArray[np.bool_]
    epochs: npt.NDArray[np.int64]
    l2: Matrix
    mean_abs: Matrix
    bias_l2: Matrix
    weight_norm: Matrix
    num_runs: npt.NDArray[np.int64]

    @property
    def ratio(self) -> Matrix:
        """Gradient norm over weight norm; NaN where the weight is 0."""
        return np.divide(
            self.l2, self.weight_norm, out=np.full_like(self.l2, np.nan), where=self.weight_norm > 0
        )


def series_of(metrics: RunMetrics) -> LayerSeries | None:
    """One run's layers from its metric rows; None before anything was measured."""
    epochs = sorted(epoch for epoch, splits in metrics.items() if WEIGHT_NORM in splits)
    if not epochs:
        return None
    position = {
        name: place
        for name, place in metrics.get(0, {}).get(LAYER_POSITION, {}).items()
        if place is not None
    }
    names = {name for epoch in epochs for name in metrics[epoch][WEIGHT_NORM]}
    layers = tuple(sorted(names, key=lambda name: (position.get(name, math.inf), name)))

    def matrix(split: str) -> Matrix:
        rows = [[metrics[epoch].get(split, {}).get(layer) for layer in layers] for epoch in epochs]
        return np.array(
            [[np.nan if value is None else value for value in row] for row in rows],
            dtype=np.float64,
        )

    l2 = matrix(GRADIENT_L2)
    return LayerSeries(
        layers=layers,
        is_fitted=_fitted(layers),
        epochs=np.array(epochs, dtype=np.int64),
        l2=l2,
        mean_abs=matrix(GRADIENT_MEAN_ABS),
        bias_l2=matrix(BIAS_GRADIENT_L2),
        weight_norm=matrix(WEIGHT_NORM),
        num_runs=(~np.isnan(l2)).astype(np.int64),
    )


def pooled(runs: Sequence[LayerSeries]) -> LayerSeries:
    """Means of logarithms over runs of one spec, given back as norms.

    A run counts where its norm is above 0, so that one dead run does not turn the mean into nothing; where all runs
    have exactly 0 the mean is 0. `num_runs` says how many counted. Raises ValueError when no run is given.
    """
    widest = max(runs, key=lambda run: len(run.layers))
    epochs = np.unique(np.concatenate([run.epochs for run in runs]))
    aligned = {
        name: np.stack([_aligned(run, getattr(run, name), widest.layers, epochs) for run in runs])
        for name in _MATRICES
    }
    means = {name: _geometric_mean(stack) for name, stack in aligned.items()}
    counted = np.sum(aligned["l2"] > 0, axis=0)
    all_zero = np.where(means["l2"] == 0, np.sum(aligned["l2"] == 0, axis=0), 0)
    return LayerSeries(
        layers=widest.layers,
        is_fitted=widest.is_fitted,
        epochs=epochs,
        num_runs=counted + all_zero,
        **means,
    )


_MATRICES = ("l2", "mean_abs", "bias_l2", "weight_norm")


def _fitted(layers: Sequence[str]) -> npt.NDArray[np.bool_]:
    on_the_path = [SHORTCUT.search(layer) is None for layer in layers]
    head = max((place for place, is_on_it in enumerate(on_the_path) if is_on_it), default=-1)
    return np.array(
        [is_on_it and place != head for place, is_on_it in enumerate(on_the_path)], dtype=np.bool_
    )


def _geometric_mean(stack: npt.NDArray[np.float64]) -> Matrix:
    """(runs, epochs, layers) -> (epochs, layers): exp of the mean log where above 0; 0 where all that is measured is 0;
    else NaN.
    """
    positive = stack > 0
    count = positive.sum(axis=0)
    total = np.log(stack, out=np.zeros_like(stack), where=positive).sum(axis=0)
    zero = np.where((stack == 0).any(axis=0), 0.0, np.nan)
    return np.where(count > 0, np.exp(total / np.maximum(count, 1)), zero)


def _aligned(
    run: LayerSeries, matrix: Matrix, layers: Sequence[str], epochs: npt.NDArray[np.int64]
) -> Matrix:
    """The run's matrix on the given epochs and layers."""
    wide = np.full((len(epochs), len(layers)), np.nan)
    columns = np.array([layers.index(layer) for layer in run.layers], dtype=np.int64)
    wide[np.ix_(np.searchsorted(epochs, run.epochs), columns)] = matrix
    return wide
