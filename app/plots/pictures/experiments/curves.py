"""Metrics over epochs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.plots.canvas.chart import (
    NO_TICKS,
    Chart,
    Ticks,
    percent_ticks,
    scalar_ticks,
    whole_ticks,
)
from app.plots.canvas.colors import BLUE, GREY, VERMILION, is_small, most_inches
from app.plots.canvas.fonts import width_of
from app.plots.canvas.palette import CHANCE, Sign, draw_signs, signs_height
from app.plots.canvas.scales import View, accuracy_view, amount_view, epoch_view, loss_view
from app.plots.canvas.style import (
    MARGIN,
    NOTE_SIZE,
    Sheet,
    columns_that_fit,
    heading,
    rendered,
)
from app.plots.figures.experiments import CurvesFigure
from app.plots.series import Series

SPLIT_STYLE = {"train": (VERMILION, "--"), "val": (BLUE, "-")}
PANEL_INCHES = (3.98, 2.85)
LEFT_OF_PANEL, ABOVE_PANEL, BELOW_PANEL, GAP = 0.62, 0.3, 0.5, 0.12
"""Room for ticks, titles and labels, and from one panel to the next."""
END_INCHES = width_of("train", NOTE_SIZE) + 0.14
MOST_MARKED, MOST_NAMED = 30, 6
THIN: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.75}
"""Where a mean is of fewer runs than before."""
CHOSEN: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":"}


def draw_curves(figure: CurvesFigure, extension: str) -> bytes:
    """One panel per metric, two beside each other; with several runs the mean as a line and the range as a band.
    `extension`: png, svg or pdf.
    """
    width, height = PANEL_INCHES
    if is_small():
        width = most_inches() - 2 * MARGIN - LEFT_OF_PANEL - END_INCHES
    across, down = (
        LEFT_OF_PANEL + width + END_INCHES + GAP,
        ABOVE_PANEL + height + BELOW_PANEL,
    )
    count = len(figure.metrics)
    columns = columns_that_fit(across - GAP, GAP, 1 if is_small() else min(count, 2))
    paper = 2 * MARGIN + across * columns - GAP
    above, signs = heading(figure.title, figure.subtitle, paper), signs_of_curves(figure)
    below = above.height + down * math.ceil(count / columns) + 0.06
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    above.draw(sheet)
    for number, metric in enumerate(figure.metrics):
        row, column = divmod(number, columns)
        left = MARGIN + across * column + LEFT_OF_PANEL
        top = above.height + down * row + ABOVE_PANEL
        _draw_panel(sheet, (left, top, width, height), metric, figure)
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _draw_panel(
    sheet: Sheet, place: tuple[float, float, float, float], metric: str, figure: CurvesFigure
) -> None:
    shown = shown_in(figure, metric)
    epochs, values = epoch_limits(figure), view_of_metric(metric, list(shown.values()))
    chart = Chart(sheet, *place, epochs, values)
    chart.axes(
        whole_ticks(epochs),
        value_ticks(metric, values) if shown else NO_TICKS,
        figure.label(metric),
        "Epoch",
    )
    if not shown:
        chart.note("no epoch finished yet", color=GREY)
        return
    if is_chance_seen(figure, metric):
        chart.line(epochs, [figure.chance] * 2, **CHANCE)
    for epoch in dict.fromkeys(figure.chosen):
        chart.line([epoch] * 2, values, **CHOSEN)
    for split, series in shown.items():
        _draw_split(chart, split, series)
    chart.name_ends(
        [
            (split, SPLIT_STYLE[split][0], series.last)
            for split, series in shown.items()
            if series.last is not None
        ]
    )


def shown_in(figure: CurvesFigure, metric: str) -> dict[str, Series]:
    """What a panel shows, by split."""
    found = {split: figure.curves.get((split, metric)) for split in SPLIT_STYLE}
    return {
        split: series.without_gaps()
        for split, series in found.items()
        if series is not None and series.is_finite.any()
    }


def view_of_metric(metric: str, shown: Sequence[Series]) -> View:
    """From where to where the metric's axis reaches."""
    if not shown:
        return 0.0, 1.0
    low = min(float(np.min(series.low)) for series in shown)
    high = max(float(np.max(series.high)) for series in shown)
    match metric:
        case "accuracy":
            return accuracy_view(low, high)
        case "loss":
            return loss_view(low, high)
        case _:
            return amount_view(low, high)


def value_ticks(metric: str, values: View) -> Ticks:
    """Of the metric's axis."""
    return percent_ticks(values) if metric == "accuracy" else scalar_ticks(values)


def _draw_split(chart: Chart, split: str, shown: Series) -> None:
    """The mean of all runs; thin where later epochs are of fewer."""
    look = look_of(split, shown)
    of_all = shown.num_of_all
    for part, more, opacity in (
        (shown.part(of_all - 1, len(shown)) if shown.has_fewer else None, THIN, 0.09),
        (shown.part(0, of_all), {}, 0.18),
    ):
        if part is None or not len(part):
            continue
        if shown.num_runs > 1:
            chart.band(part.epochs, part.low, part.high, look["color"], opacity)
        chart.line(part.epochs, part.mean, **{**look, **more})


def look_of(split: str, shown: Series) -> dict[str, Any]:
    """Of a split's line; few epochs are marked, many would hide it."""
    color, line = SPLIT_STYLE[split]
    return {
        "color": color,
        "linestyle": line,
        "linewidth": 1.8,
        "marker": "o" if len(shown) <= MOST_MARKED else None,
        "markersize": 3.5,
    }


def is_chance_seen(figure: CurvesFigure, metric: str) -> bool:
    """Whether the panel has a line at what guessing would score."""
    if metric != "accuracy" or figure.chance is None:
        return False
    low, high = view_of_metric(metric, list(shown_in(figure, metric).values()))
    return low < figure.chance < high


def signs_of_curves(figure: CurvesFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    shown = {metric: shown_in(figure, metric) for metric in figure.metrics}
    signs = []
    for split, (color, line) in SPLIT_STYLE.items():
        found = [of[split] for of in shown.values() if split in of]
        if found:
            sample = {"color": color, "linestyle": line, "linewidth": 1.8}
            signs.append(Sign(f"{split}{_runs_said(found)}", sample))
    if signs and figure.chosen:
        signs.append(Sign(_chosen_said(sorted(figure.chosen)), CHOSEN))
    if any(of and is_chance_seen(figure, metric) for metric, of in shown.items()):
        signs.append(Sign("chance, one over the classes", CHANCE))
    return signs


def _runs_said(found: Sequence[Series]) -> str:
    runs = max(series.num_runs for series in found)
    if runs == 1:
        return ""
    fewer = ", thin where of fewer" if any(one.has_fewer for one in found) else ""
    return f", mean and range of {runs} runs{fewer}"


def _chosen_said(epochs: Sequence[int]) -> str:
    if len(epochs) == 1:
        return f"best epoch, {epochs[0]}"
    listed = f": {', '.join(map(str, epochs))}" if len(epochs) <= MOST_NAMED else ""
    return f"best epochs of {len(epochs)} runs{listed}"


def epoch_limits(figure: CurvesFigure) -> View:
    """From where to where the axis of epochs reaches."""
    shown = (series for series in figure.curves.values() if len(series))
    return epoch_view((int(series.epochs[-1]) for series in shown), figure.epochs)
