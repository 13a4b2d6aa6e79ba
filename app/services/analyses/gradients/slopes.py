"""From layers' gradient norms to a slope along depth, over runs with its interval, and to a verdict in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from app.services.analyses.gradients.series import LayerSeries, pooled
from app.services.experiments.results import CONFIDENCE, summarise
from lab_models.statistics.wording import with_sign

THRESHOLD = 100.0
"""Factor between the gradients of first and last layer from which on one speaks of vanishing or exploding.

Networks of 20 layers of width 64 on digits, three seeds each, measured at initialization: with shortcuts 2, with layer
norm 2 to 4, with batch norm 42 to 51 (growing toward the input); plain 2e6 to 6e6. Two decades lie between the kinds.
"""

FEWEST_LAYERS = 3
"""A line through two points fits whatever they are."""

BENT = 3.0
"""A layer that lies so many times off the fitted line is worth a word: the line then hides what the layers do."""

MOST_EXPONENT = 700.0
"""Where exp and its inverse are both finite in float64."""


class FlowVerdict(StrEnum):
    """What becomes of the gradient on its way from the head to the input."""

    VANISHING = "vanishing"
    EXPLODING = "exploding"
    HEALTHY = "healthy"
    UNCLEAR = "unclear"
    TOO_FEW_LAYERS = "too_few_layers"


@dataclass(frozen=True)
class Slope:
    """The fit of ln(gradient L2) to the layer's place at one epoch, of one run or of several.

    `slope` per layer toward the head; of `num_runs` that have one it is the mean of theirs, and `ci95` Student's t
    interval of that. A single run has no interval: the scatter of its layers about the line says nothing about another
    seed, nor are neighbours independent. `factor` is exp(slope * steps from the first fitted
    layer to the last): how many times smaller the gradient is at the first than at the last, by the fit.
    `first_over_last` is the ratio as measured, of the first of all `num_layers` measured to the last. `zero_layers`
    have a gradient of exactly 0; `num_blocked` of them lie before every other gradient. `farthest` is by what factor
    the layer farthest from the line lies off it.
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
    num_runs: int = 1
    farthest: float | None = None

    @property
    def sentence(self) -> str:
        """The verdict with the numbers it rests on."""
        return (
            f"{self.verdict.replace('_', ' ')} {'at initialization' if self.epoch == 0 else f'in epoch {self.epoch}'}:"
            f" {'; '.join(self._reasons())}"
        )

    def _slope_in_words(self) -> str:
        if self.ci95 is None:
            return f"{_signed(self.slope or 0.0)[0]} per layer"
        slope, low, high = _signed(self.slope or 0.0, *self.ci95)
        return f"{slope} per layer, 95 % interval {low} to {high} over {self.num_runs} runs"

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
        if self.slope is not None and self.factor is not None:
            where = f"along {'the other ' if self.num_blocked else ''}{self.num_layers - len(self.zero_layers)} layers"
            fit = f"slope {self._slope_in_words()}; threshold: factor {THRESHOLD:g}"
            reasons.append(f"{where} the gradient {_change(self.factor)} toward the input ({fit})")
            if self.farthest is not None and self.farthest >= BENT:
                reasons.append(
                    f"the layers do not lie on a line: up to a factor of {_rounded(self.farthest)} off it"
                )
        if self.verdict is FlowVerdict.UNCLEAR:
            is_known = self.ci95 is None or not self.ci95[0] <= 0 <= self.ci95[1]
            why = (
                "the layers scatter too much about a line"
                if is_known
                else "the interval includes 0"
            )
            reasons.append(f"that is past the threshold, but {why}")
        if past := len(self.zero_layers) - self.num_blocked:
            reasons.append(
                f"{past} more layer{'s have' if past > 1 else ' has'} a gradient of exactly 0, but it flows past"
            )
        return reasons


def pooled_slopes(runs: Sequence[LayerSeries]) -> list[Slope]:
    """The verdict of every epoch over runs of one spec, as rows of `pooled`: each run's slope is one number, whose mean
    has an interval. Raises ValueError when no run is given.
    """
    by_epoch: dict[int, list[float]] = {}
    for run in runs:
        for found in slopes_of(run):
            if found.slope is not None:
                by_epoch.setdefault(found.epoch, []).append(found.slope)
    return [_over_runs(slope, by_epoch.get(slope.epoch, [])) for slope in slopes_of(pooled(runs))]


def _over_runs(shown: Slope, slopes: Sequence[float]) -> Slope:
    """The slope of the pooled norms with what the runs' own slopes say."""
    if len(slopes) < 2 or shown.slope is None or shown.factor is None:
        return shown
    found = summarise(slopes)
    steps = math.log(shown.factor) / shown.slope if shown.slope else 0.0
    factor = _factor(found.mean * steps)
    is_known = found.ci95 is None or not found.ci95[0] <= 0 <= found.ci95[1]
    is_line = is_known and shown.verdict is not FlowVerdict.UNCLEAR
    verdict = shown.verdict if shown.num_blocked else _verdict(factor, is_line)
    return replace(
        shown,
        slope=found.mean,
        ci95=found.ci95,
        factor=factor,
        verdict=verdict,
        num_runs=len(slopes),
    )


def slopes_of(series: LayerSeries) -> list[Slope]:
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
    slope, is_line, farthest = _line(places.astype(np.float64), np.log(norms[places]))
    factor = _factor(slope * float(places[-1] - places[0]))
    return Slope(
        epoch,
        FlowVerdict.VANISHING if num_blocked else _verdict(factor, is_line),
        num_layers,
        slope,
        None,
        factor,
        ratio,
        zero_layers,
        num_blocked,
        farthest=math.exp(min(farthest, MOST_EXPONENT)),
    )


def summary(found: Sequence[Slope]) -> list[str]:
    """The sentence of the first epoch measured and, where it is another, of the last."""
    return [slope.sentence for slope in dict.fromkeys((found[0], found[-1]))] if found else []


def _line(
    places: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[float, bool, float]:
    """Slope of the least-squares line, whether the layers follow it rather than scatter about a flat one (it is further
    from 0 than t(0.975, n - 2) · s / sqrt(Sxx)), and the largest distance of a value from it.

    That takes the scatter of layers as independent, which neighbours are only roughly, so it is no interval.
    """
    centered = places - places.mean()
    spread = float(np.sum(centered**2))
    slope = float(np.sum(centered * values)) / spread
    residuals = values - values.mean() - slope * centered
    freedom = len(places) - 2
    error = math.sqrt(float(np.sum(residuals**2)) / freedom / spread)
    is_line = abs(slope) > float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    return slope, is_line, float(np.abs(residuals).max())


def _factor(exponent: float) -> float:
    return math.exp(min(max(exponent, -MOST_EXPONENT), MOST_EXPONENT))


def _verdict(factor: float, is_line: bool) -> FlowVerdict:
    if 1 / THRESHOLD <= factor <= THRESHOLD:
        return FlowVerdict.HEALTHY
    if not is_line:
        return FlowVerdict.UNCLEAR
    return FlowVerdict.VANISHING if factor > 1 else FlowVerdict.EXPLODING


def _change(factor: float) -> str:
    times = max(factor, 1 / factor)
    if times < 1.05:
        return "keeps its size"
    return f"{'falls' if factor > 1 else 'grows'} by a factor of {_rounded(times)}"


def _signed(*values: float) -> list[str]:
    """With a sign and two decimals, or three where all are small; never -0."""
    decimals = 3 if max(map(abs, values)) < 0.1 else 2
    return [with_sign(round(value, decimals) + 0.0, decimals) for value in values]


def _rounded(times: float) -> str:
    """Two digits: 1.3, 51, 310, 3.1e4."""
    if times < 1000:
        return f"{float(f'{times:.2g}'):g}"
    mantissa, exponent = f"{times:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"
