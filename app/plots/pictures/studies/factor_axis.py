"""Where the values of a factor stand on its axis, and what is written there."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from app.plots.canvas.fonts import width_of
from app.plots.canvas.palette import TICK_STEPS
from app.plots.canvas.style import TICK_SIZE
from app.plots.figures.scores import FactorFigure

LOG_RATIO, CLOSE = 50.0, 0.02
"""Values of a factor that span that ratio are on a log scale; else, where two are that close as a share of the span, in
equal steps.
"""


NOT_TO_SCALE = " (not to scale)"
FEW_DECADES = 3
"""Over so many a log scale has 1, 2 and 5 of each; over more their first numbers."""


def places_of(values: Sequence[float], figure: FactorFigure) -> tuple[list[float], str]:
    """Where sorted values stand on the axis, and the note in its label."""
    if figure.is_log and values and values[0] > 0:
        return [math.log10(value) for value in values], " (log scale)"
    if figure.is_scatter:
        return list(values), ""
    if len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= LOG_RATIO:
        return [math.log10(value) for value in values], " (log scale)"
    gaps = [after - before for before, after in pairwise(values)]
    if gaps and min(gaps) < CLOSE * (values[-1] - values[0]):
        return [float(place) for place in range(len(values))], NOT_TO_SCALE
    return list(values), ""


def label_values(
    panel: Axes, values: Sequence[float], places: Sequence[float], inches: float
) -> None:
    """The values themselves as ticks; a label that would touch the one before it is left out. The axis is so
    many inches wide.
    """
    low, high = panel.get_xlim()
    labels, free_from = [], -math.inf
    for value, place in zip(values, places, strict=True):
        text = f"{value:g}"
        half, center = (
            width_of(text, TICK_SIZE) / 2,
            (place - low) / (high - low) * inches,
        )
        fits = center - half >= free_from
        labels.append(text if fits else "")
        free_from = center + half + 0.06 if fits else free_from
    panel.set_xticks(places, labels)


def label_round(panel: Axes, values: Sequence[float], inches: float, *, is_log: bool) -> None:
    """Round numbers as ticks, since the values of a cloud are many and odd."""
    if not is_log:
        ticks = MaxNLocator(7, steps=TICK_STEPS).tick_values(values[0], values[-1])
        low, high = panel.get_xlim()
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        label_values(panel, inside, inside, inches)
        return
    first, last = math.floor(math.log10(values[0])), math.ceil(math.log10(values[-1]))
    steps = (1, 2, 5) if last - first <= FEW_DECADES else (1,)
    low, high = (10**end for end in panel.get_xlim())
    inside = [
        tick
        for decade in range(first, last + 1)
        for step in steps
        if low <= (tick := float(f"{step}e{decade}")) <= high
    ]
    label_values(panel, inside, [math.log10(tick) for tick in inside], inches)
