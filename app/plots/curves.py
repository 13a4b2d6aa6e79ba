"""Metrics over epochs."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from app.plots.figures import AXIS_LABEL, CurvesFigure
from app.plots.style import BLUE, GREY, MARGIN, VERMILION, Sheet, heading, rendered

SPLIT_STYLE = {"train": (VERMILION, "--"), "val": (BLUE, "-")}
PANEL_INCHES = (4.3, 2.95)
LEFT_OF_PANEL, BELOW_PANEL = 0.86, 0.62
"""Room for ticks and labels. Places are said, since to have matplotlib find them takes as long as all the rest."""


def draw_curves(figure: CurvesFigure, extension: str) -> bytes:
    """One panel per metric; with several runs the mean as a line and the range as a band. `extension`: png, svg or pdf."""
    width, height = PANEL_INCHES
    across = (LEFT_OF_PANEL + width + MARGIN) * len(figure.metrics)
    above = heading(figure.title, figure.subtitle, across)
    sheet = Sheet(across, above.height + height + BELOW_PANEL)
    above.draw(sheet)
    for number, metric in enumerate(figure.metrics):
        left = (LEFT_OF_PANEL + width + MARGIN) * number + LEFT_OF_PANEL
        _draw_panel(sheet.panel(left, above.height, width, height), metric, figure)
    return rendered(sheet.canvas, extension)


def _draw_panel(panel: Axes, metric: str, figure: CurvesFigure) -> None:
    panel.set_xlabel("Epoch")
    panel.set_ylabel(AXIS_LABEL.get(metric, metric))
    panel.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.set_xlim(*_epoch_limits(figure))
    if metric == "accuracy":
        panel.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None))
    else:
        panel.ticklabel_format(axis="y", scilimits=(-2, 5))  # no tick is wider than there is room
    drawn = [split for split in SPLIT_STYLE if _draw_split(panel, metric, split, figure)]
    if not drawn:
        panel.text(0.5, 0.5, "no epoch finished yet", transform=panel.transAxes, ha="center", va="center", color=GREY)
        panel.set_yticks([])
        return
    if figure.best_epoch is not None:
        panel.axvline(figure.best_epoch, color=GREY, linewidth=1, linestyle=":", label=f"best epoch, {figure.best_epoch}")
    panel.legend(frameon=False, fontsize=9)


def _draw_split(panel: Axes, metric: str, split: str, figure: CurvesFigure) -> bool:
    series = figure.curves.get((split, metric))
    if series is None or not series.is_finite.any():
        return False
    color, line = SPLIT_STYLE[split]
    shown = series.without_gaps()
    label = split if series.num_runs == 1 else f"{split}, mean and range of {series.num_runs} runs"
    if series.num_runs > 1:
        panel.fill_between(shown.epochs, shown.low, shown.high, color=color, alpha=0.18, linewidth=0)
    marker = "o" if len(shown) <= 30 else None
    panel.plot(shown.epochs, shown.mean, color=color, linestyle=line, linewidth=1.8, marker=marker, markersize=3.5, label=label)
    return True


def _epoch_limits(figure: CurvesFigure) -> tuple[float, float]:
    last = max([1, *(int(series.epochs[-1]) for series in figure.curves.values() if len(series))])
    last = max(last, min(figure.epochs, 2))
    margin = max(0.02 * last, 0.1)
    return 1 - margin, last + margin
