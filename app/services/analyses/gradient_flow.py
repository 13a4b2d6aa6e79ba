"""From layers' gradient norms to a slope along depth with its interval, and to a verdict in words."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from app.services.experiments.metrics import RunMetrics
from app.services.experiments.results import CONFIDENCE
from lab_models.training.layer_metrics import (
    BIAS_GRADIENT_L2,
    GRADIENT_L2,
    GRADIENT_MEAN_ABS,
    LAYER_POSITION,
    WEIGHT_NORM,
)

THRESHOLD = 100.0
"""Factor between the gradients of first and last layer from which on one speaks of vanishing or exploding.

Networks of 20 layers of width 64 on digits, three seeds each, measured at initialization: with shortcuts 2, with layer
norm 2 to 4, with batch norm 42 to 51 (growing toward the input); plain 2e6 to 6e6. Two decades lie between the kinds.
"""

FEWEST_LAYERS = 3
"""A line through two points has no interval."""

MOST_EXPONENT = 700.0
"""Where exp and its inverse are both finite in float64."""

SHORTCUT = re.compile(r"downsample|shortcut|projection", re.IGNORECASE)
"""Names of 1x1 convs on a shortcut: they stand beside the path whose slope is asked for."""

Matrix = npt.NDArray[np.float64]


class FlowVerdict(StrEnum):
    """What becomes of the gradient on its way from the head to the input."""

    VANISHING = "vanishing"
    EXPLODING = "exploding"
    HEALTHY = "healthy"
    UNCLEAR = "unclear"
    TOO_FEW_LAYERS = "too_few_layers"


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


@dataclass(frozen=True)
class Slope:
    """The fit of ln(gradient L2) to the layer's place at one epoch.

    `slope` per layer toward the head, with its 95 % t-interval; `factor` is exp(slope * steps from the first fitted
    layer to the last): how many times smaller the gradient is at the first than at the last, by the fit.
    `first_over_last` is the ratio as measured, of the first of all `num_layers` measured to the last. `zero_layers`
    have a gradient of exactly 0; `num_blocked` of them lie before every other gradient.
    """

    epoch: int
    verdict: FlowVerdict
    num_layers: int
    slope: float | None
    ci95: tuple[float, float] | None
    factor: float | None
    first_over_last: float | None
    zero_layers: tuple[str, ...]
    num_blocked: int

    @property
    def sentence(self) -> str:
        """The verdict with the numbers it rests on."""
        return (
            f"{self.verdict.replace('_', ' ')} {'at initialization' if self.epoch == 0 else f'in epoch {self.epoch}'}:"
            f" {'; '.join(self._reasons())}"
        )

    def _reasons(self) -> list[str]:
        if self.verdict is FlowVerdict.TOO_FEW_LAYERS:
            return [
                f"a slope needs {FEWEST_LAYERS} layers before the head that have a gradient, here"
                f" {_are(self.num_layers - len(self.zero_layers))}"
            ]
        reasons = []
        if self.num_blocked:
            reasons.append(
                f"no gradient at all reaches the first {self.num_blocked} of {self.num_layers} layers"
            )
        if self.slope is not None and self.ci95 is not None and self.factor is not None:
            where = f"along {'the other ' if self.num_blocked else ''}{self.num_layers - len(self.zero_layers)} layers"
            slope, low, high = _signed(self.slope, *self.ci95)
            fit = f"slope {slope} per layer, 95 % interval {low} to {high}; threshold: factor {THRESHOLD:g}"
            reasons.append(f"{where} the gradient {_change(self.factor)} toward the input ({fit})")
        if self.verdict is FlowVerdict.UNCLEAR:
            reasons.append("that is past the threshold, but the interval includes 0")
        if past := len(self.zero_layers) - self.num_blocked:
            reasons.append(
                f"{past} more layer{'s have' if past > 1 else ' has'} a gradient of exactly 0, but it flows past"
            )
        return reasons


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


def slopes(series: LayerSeries) -> list[Slope]:
    """The verdict of every epoch."""
    return [slope_at(series, row) for row in range(len(series.epochs))]


def slope_at(series: LayerSeries, row: int) -> Slope:
    """The verdict of one row of the series; -1 is the last epoch."""
    names = [
        layer for layer, is_fitted in zip(series.layers, series.is_fitted, strict=True) if is_fitted
    ]
    return slope_along(names, series.l2[row, series.is_fitted], int(series.epochs[row]))


def slope_along(layers: Sequence[str], norms: npt.NDArray[np.float64], epoch: int) -> Slope:
    """Least squares of ln(norm) on the place of the layer, input first, and what it means. `norms` (layers,), NaN where
    not measured.

    A norm of exactly 0 has no logarithm and stays out of the fit. What it means depends on where it lies. With no
    gradient in any layer nearer the input, nothing reaches the input: the chain has underflowed, or units are dead for
    every image, and the verdict is vanishing whatever the fit says. With a gradient in some layer nearer the input, the
    flow goes past it: such a layer is dead by construction (a branch whose last scale starts at 0, a part that takes no
    share in the loss), it is counted, and the verdict is that of the others.

    The interval takes the scatter of layers about the line as independent, which neighbours are only roughly.
    """
    measured, positive = ~np.isnan(norms), norms > 0
    places = np.flatnonzero(positive)
    zero_layers = tuple(layer for layer, norm in zip(layers, norms, strict=True) if norm == 0)
    num_blocked = int(np.sum(measured[: places[0]] if len(places) else measured))
    num_layers = int(measured.sum())
    ends = norms[measured][[0, -1]].tolist() if num_layers else [0.0, 0.0]
    ratio = ends[0] / ends[1] if ends[1] > 0 else None
    if num_layers < FEWEST_LAYERS or (len(places) < FEWEST_LAYERS and not num_blocked):
        return Slope(
            epoch,
            FlowVerdict.TOO_FEW_LAYERS,
            num_layers,
            None,
            None,
            None,
            ratio,
            zero_layers,
            num_blocked,
        )
    if len(places) < FEWEST_LAYERS:
        return Slope(
            epoch,
            FlowVerdict.VANISHING,
            num_layers,
            None,
            None,
            None,
            ratio,
            zero_layers,
            num_blocked,
        )
    slope, ci95 = _line(places.astype(np.float64), np.log(norms[places]))
    exponent = slope * float(places[-1] - places[0])
    factor = math.exp(min(max(exponent, -MOST_EXPONENT), MOST_EXPONENT))
    verdict = FlowVerdict.VANISHING if num_blocked else _verdict(factor, ci95)
    return Slope(epoch, verdict, num_layers, slope, ci95, factor, ratio, zero_layers, num_blocked)


def summary(found: Sequence[Slope]) -> list[str]:
    """The sentence of the first epoch measured and, where it is another, of the last."""
    return [slope.sentence for slope in dict.fromkeys((found[0], found[-1]))] if found else []


_MATRICES = ("l2", "mean_abs", "bias_l2", "weight_norm")


def _fitted(layers: Sequence[str]) -> npt.NDArray[np.bool_]:
    on_the_path = [SHORTCUT.search(layer) is None for layer in layers]
    head = max((place for place, is_on_it in enumerate(on_the_path) if is_on_it), default=-1)
    return np.array(
        [is_on_it and place != head for place, is_on_it in enumerate(on_the_path)], dtype=np.bool_
    )


def _line(
    places: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[float, tuple[float, float]]:
    """Slope of the least-squares line and its interval, slope ± t(0.975, n - 2) · s / sqrt(Sxx)."""
    centered = places - places.mean()
    spread = float(np.sum(centered**2))
    slope = float(np.sum(centered * values)) / spread
    residuals = values - values.mean() - slope * centered
    freedom = len(places) - 2
    error = math.sqrt(float(np.sum(residuals**2)) / freedom / spread)
    half_width = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    return slope, (slope - half_width, slope + half_width)


def _verdict(factor: float, ci95: tuple[float, float]) -> FlowVerdict:
    if 1 / THRESHOLD <= factor <= THRESHOLD:
        return FlowVerdict.HEALTHY
    if ci95[0] <= 0 <= ci95[1]:
        return FlowVerdict.UNCLEAR
    return FlowVerdict.VANISHING if factor > 1 else FlowVerdict.EXPLODING


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


def _change(factor: float) -> str:
    times = max(factor, 1 / factor)
    if times < 1.05:
        return "keeps its size"
    return f"{'falls' if factor > 1 else 'grows'} by a factor of {_rounded(times)}"


def _signed(*values: float) -> list[str]:
    """With a sign and two decimals, or three where all are small; never -0."""
    decimals = 3 if max(map(abs, values)) < 0.1 else 2
    return [f"{round(value, decimals) + 0.0:+.{decimals}f}" for value in values]


def _rounded(times: float) -> str:
    """Two digits: 1.3, 51, 310, 3.1e4."""
    if times < 1000:
        return f"{float(f'{times:.2g}'):g}"
    mantissa, exponent = f"{times:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"
