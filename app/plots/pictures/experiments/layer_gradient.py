"""One parameter's gradient over the steps of training: its norm, and below it the magnitudes of its elements."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter

from app.plots.canvas.chart import NO_TICKS, Chart, Ticks, whole_ticks
from app.plots.canvas.colors import BLUE, GREY, most_inches
from app.plots.canvas.palette import Sign, draw_signs, signs_height
from app.plots.canvas.scales import View
from app.plots.canvas.style import MARGIN, NOTE_SIZE, Sheet, heading, power_of_ten, rendered
from app.plots.figures.experiments import LayerGradientFigure

CHART_INCHES = (7.6, 2.7)
HISTOGRAM_INCHES = 2.4
LEFT, BELOW, BETWEEN = 0.86, 0.5, 0.4
BAR_GAP, BAR_INCHES, RIGHT = 0.12, 0.12, 0.72
TITLE = 0.3
"""Room for a panel's title."""
LINE: dict[str, Any] = {"color": BLUE, "linewidth": 1.3}
COLORS = "viridis"
LEAST_SHARE = 1e-5
"""Of a parameter's elements: a bin with less is drawn like an empty one."""
LEAST_DECADES = 1.0
MOST_TICKS = 8

Floats = npt.NDArray[np.float64]


def draw_layer_gradient(figure: LayerGradientFigure, extension: str) -> bytes:
    """The norm on a logarithmic axis, with several runs the geometric mean as a line and the range as a band.
    `extension`: png, svg or pdf.
    """
    width, height = CHART_INCHES
    across = min(LEFT + width + RIGHT + MARGIN, most_inches())
    width = across - LEFT - RIGHT - MARGIN
    above, signs = heading(figure.title, figure.subtitle, across), _signs(figure)
    below = 0.0 if figure.counts is None else BETWEEN + HISTOGRAM_INCHES + BELOW
    end = above.height + TITLE + height + BELOW + below
    sheet = Sheet(across, end + signs_height(signs, across - 2 * MARGIN) + MARGIN / 2)
    above.draw(sheet)
    draw_signs(sheet, MARGIN, end, across - 2 * MARGIN, signs)
    steps = _limits(figure)
    chart_place = (LEFT, above.height + TITLE, width, height)
    _draw_norms(sheet, chart_place, figure, steps)
    if figure.counts is not None:
        top = above.height + TITLE + height + BELOW + BETWEEN
        _draw_histogram(sheet, (LEFT, top, width, HISTOGRAM_INCHES), figure, steps)
    return rendered(sheet.canvas, extension)


def _draw_norms(
    sheet: Sheet,
    place: tuple[float, float, float, float],
    figure: LayerGradientFigure,
    steps: View,
) -> None:
    logs = np.log10(figure.norms, out=np.full_like(figure.norms, np.nan), where=figure.norms > 0)
    shown = np.isfinite(logs).any(axis=0)
    logs, at = logs[:, shown], figure.steps[shown]
    view = _decades(logs)
    chart = Chart(sheet, *place, steps, view)
    chart.axes(
        whole_ticks(steps),
        _power_ticks(view) if at.size else NO_TICKS,
        "L2 norm of the gradient",
        _steps_label(figure),
    )
    if not at.size:
        chart.note(_why_nothing(figure), color=GREY)
        return
    if len(figure.norms) > 1:
        chart.band(at, np.nanmin(logs, axis=0), np.nanmax(logs, axis=0), BLUE)
    chart.line(at, np.nanmean(logs, axis=0), **LINE)


def _signs(figure: LayerGradientFigure) -> list[Sign]:
    """One run needs no explanation."""
    runs = len(figure.norms)
    return [Sign(f"geometric mean and range of {runs} runs", LINE)] if runs > 1 else []


def _draw_histogram(
    sheet: Sheet,
    place: tuple[float, float, float, float],
    figure: LayerGradientFigure,
    steps: View,
) -> None:
    """Columns are steps, rows bins of magnitude; the color says which share of the elements lies in one."""
    counts = figure.counts
    assert counts is not None
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    edges = np.log10(figure.magnitudes)
    width = edges[1] - edges[0]
    # the outermost bins have no end of their own: they are drawn as wide as the others
    edges = np.concatenate([[edges[0] - width], edges, [edges[-1] + width]])
    view = _filled(shares, edges)
    chart = Chart(sheet, *place, steps, view)
    chart.axes(
        whole_ticks(steps), _power_ticks(view), "Magnitude of its elements", _steps_label(figure)
    )
    panel = sheet.panel(*place)
    panel.set_axis_off()
    panel.set_zorder(1)  # over the grid, under the axes
    panel.set_xlim(*steps)
    panel.set_ylim(*view)
    norm, colors = LogNorm(LEAST_SHARE, 1.0), colormaps[COLORS]
    if figure.steps.size:
        panel.pcolormesh(
            _between(figure.steps),
            edges,
            np.ma.masked_less(shares.T, LEAST_SHARE),
            cmap=colors,
            norm=norm,
            rasterized=True,
        )
    left, top, wide, height = place
    end = left + wide + BAR_GAP + BAR_INCHES
    sheet.write(end, top - 0.2, ["Share of its elements"], NOTE_SIZE, ha="right", color=GREY)
    bar = sheet.panel(end - BAR_INCHES, top, BAR_INCHES, height)
    sheet.canvas.colorbar(ScalarMappable(norm, colors), cax=bar, format=FuncFormatter(_share))
    bar.minorticks_off()
    bar.spines[:].set_visible(False)
    bar.tick_params(length=2, labelsize=NOTE_SIZE, color=GREY)


def _why_nothing(figure: LayerGradientFigure) -> str:
    if not len(figure.norms):
        return "kept when a run has succeeded"
    return "exactly 0 at every step" if (figure.norms == 0).any() else "frozen: it has no gradient"


def _steps_label(figure: LayerGradientFigure) -> str:
    if figure.steps_per_epoch is None:
        return "Step"
    plural = "" if figure.steps_per_epoch == 1 else "s"
    return f"Step ({figure.steps_per_epoch:,} step{plural} an epoch)"


def _limits(figure: LayerGradientFigure) -> View:
    last = float(figure.steps[-1]) if figure.steps.size else 1.0
    margin = max(0.02 * last, 0.5)
    return 1 - margin, last + margin


def _decades(logs: Floats) -> View:
    """Around all numbers, at least a decade, so that small differences do not look large."""
    finite = logs[np.isfinite(logs)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    missing = max(0.0, LEAST_DECADES - (high - low)) / 2
    margin = 0.05 * (high - low + 2 * missing)
    return low - missing - margin, high + missing + margin


def _filled(shares: Floats, edges: Floats) -> View:
    """From the first bin that has elements to the last."""
    used = np.flatnonzero((shares >= LEAST_SHARE).any(axis=0))
    if not used.size:
        return float(edges[0]), float(edges[-1])
    return float(edges[used[0]]), float(edges[used[-1] + 1])


def _power_ticks(view: View) -> Ticks:
    """Of an axis of decimal logarithms: at whole decades; where there are fewer than three, at 2 and 5 of each too."""
    low, high = math.ceil(view[0] - 1e-9), math.floor(view[1] + 1e-9)
    if high - low >= 2:
        step = max(1, -(-(high - low + 1) // MOST_TICKS))
        places = np.arange(low, high + 1, step, dtype=float)
        return Ticks(places, [power_of_ten(10**place) for place in places], "")
    values = [digit * 10.0**power for power in range(low - 1, high + 2) for digit in (1, 2, 5)]
    shown = [value for value in values if view[0] <= math.log10(value) <= view[1]]
    return Ticks(np.log10(shown), [f"{value:.3g}" for value in shown], "")


def _between(steps: npt.NDArray[np.int64]) -> Floats:
    """Edges of the columns, halfway between the steps."""
    at = steps.astype(float)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middles = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middles[0]], middles, [2 * at[-1] - middles[-1]]])


def _share(value: float, _position: object = None) -> str:
    return f"{100 * value:.3g} %"
