"""Metrics over epochs."""

from typing import Any

from app.plots.canvas.chart import (
    NO_TICKS,
    Chart,
    Ticks,
    percent_ticks,
    scalar_ticks,
    view_of,
    whole_ticks,
)
from app.plots.canvas.style import BLUE, GREY, MARGIN, VERMILION, Sheet, heading, rendered
from app.plots.figures.experiments import AXIS_LABEL, CurvesFigure
from app.plots.series import Series

SPLIT_STYLE = {"train": (VERMILION, "--"), "val": (BLUE, "-")}
PANEL_INCHES = (4.3, 2.95)
LEFT_OF_PANEL, BELOW_PANEL = 0.86, 0.62
"""Room for ticks and labels."""
MOST_MARKED = 30


def draw_curves(figure: CurvesFigure, extension: str) -> bytes:
    """One panel per metric; with several runs the mean as a line and the range as a band. `extension`: png, svg or
    pdf.
    """
    width, height = PANEL_INCHES
    across = (LEFT_OF_PANEL + width + MARGIN) * len(figure.metrics)
    above = heading(figure.title, figure.subtitle, across)
    sheet = Sheet(across, above.height + height + BELOW_PANEL)
    above.draw(sheet)
    for number, metric in enumerate(figure.metrics):
        left = (LEFT_OF_PANEL + width + MARGIN) * number + LEFT_OF_PANEL
        _draw_panel(sheet, (left, above.height, width, height), metric, figure)
    return rendered(sheet.canvas, extension)


def _draw_panel(
    sheet: Sheet, place: tuple[float, float, float, float], metric: str, figure: CurvesFigure
) -> None:
    found = {split: figure.curves.get((split, metric)) for split in SPLIT_STYLE}
    shown = {
        split: series.without_gaps()
        for split, series in found.items()
        if series is not None and series.is_finite.any()
    }
    epochs, values = (
        _epoch_limits(figure),
        view_of(
            [ends for series in shown.values() for ends in (series.mean, series.low, series.high)]
        ),
    )
    chart = Chart(sheet, *place, epochs, values)
    chart.axes(
        whole_ticks(epochs),
        _value_ticks(metric, values) if shown else NO_TICKS,
        "Epoch",
        AXIS_LABEL.get(metric, metric),
    )
    if not shown:
        chart.note("no epoch finished yet", color=GREY)
        return
    entries = [_draw_split(chart, split, series) for split, series in shown.items()]
    if figure.best_epoch is not None:
        look: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":"}
        chart.line([figure.best_epoch] * 2, values, **look)
        entries.append((f"best epoch, {figure.best_epoch}", look))
    chart.legend(entries)


def _value_ticks(metric: str, values: tuple[float, float]) -> Ticks:
    return percent_ticks(values) if metric == "accuracy" else scalar_ticks(values)


def _draw_split(chart: Chart, split: str, shown: Series) -> tuple[str, dict[str, Any]]:
    """Returns its entry of the legend."""
    color, line = SPLIT_STYLE[split]
    if shown.num_runs > 1:
        chart.band(shown.epochs, shown.low, shown.high, color)
    look = {
        "color": color,
        "linestyle": line,
        "linewidth": 1.8,
        "marker": "o" if len(shown) <= MOST_MARKED else None,
        "markersize": 3.5,
    }
    chart.line(shown.epochs, shown.mean, **look)
    return (
        split if shown.num_runs == 1 else f"{split}, mean and range of {shown.num_runs} runs",
        look,
    )


def _epoch_limits(figure: CurvesFigure) -> tuple[float, float]:
    last = max([1, *(int(series.epochs[-1]) for series in figure.curves.values() if len(series))])
    last = max(last, min(figure.epochs, 2))
    margin = max(0.02 * last, 0.1)
    return 1 - margin, last + margin
