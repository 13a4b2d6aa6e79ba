"""Where the values of a factor stand on its axis, and what is written there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.ticker import MaxNLocator

from app.plots.canvas.fonts import width_of
from app.plots.canvas.palette import TICK_STEPS
from app.plots.canvas.scales import View
from app.plots.canvas.style import TICK_SIZE
from app.plots.figures.scores import FactorFigure

LOG_RATIO, CLOSE = 50.0, 0.02
"""Values of a factor that span that ratio are on a log scale; else, where two are that close as a share of the span, in
equal steps.
"""


NOT_TO_SCALE = " (not to scale)"
SLOT_POINTS = 17.0
"""Room for one group at one value of the factor: where several have that value, they stand beside each other."""
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


def labels_of(
    values: Sequence[float], places: Sequence[float], view: View, inches: float
) -> list[str]:
    """What is written at the places; a label that would touch the one before it is left out. The axis shows `view` and
    is so many inches wide.
    """
    low, high = view
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
    return labels


def round_values(
    values: Sequence[float], view: View, *, is_log: bool
) -> tuple[list[float], list[float]]:
    """Round numbers in place of the values of a cloud, which are many and odd, and their places on the axis that shows
    `view`.
    """
    low, high = view
    if not is_log:
        ticks = MaxNLocator(7, steps=TICK_STEPS).tick_values(values[0], values[-1])
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        return inside, inside
    first, last = math.floor(math.log10(values[0])), math.ceil(math.log10(values[-1]))
    steps = (1, 2, 5) if last - first <= FEW_DECADES else (1,)
    inside = [
        tick
        for decade in range(first, last + 1)
        for step in steps
        if 10**low <= (tick := float(f"{step}e{decade}")) <= 10**high
    ]
    return inside, [math.log10(tick) for tick in inside]


@dataclass(frozen=True)
class FactorLayout:
    """Where everything stands along a numeric factor: `places` by value, `shifts` by group, seeds `aside` of their
    mean; the axis shows `view` and has `ticks`, each a place and what is written there.
    """

    places: dict[float, float]
    note: str
    view: View
    shifts: Sequence[float]
    aside: float
    ticks: Sequence[tuple[float, str]]


def layout_of(figure: FactorFigure, inches: float) -> FactorLayout:
    """Of a figure whose axis is so many inches wide; all panels have the values of all, so that one stands below the
    other.
    """
    values = sorted({float(point.x) for point in figure.points})
    places, note = places_of(values, figure)
    if not values:
        return FactorLayout({}, note, (0.0, 1.0), (), 0.0, ())
    span = (places[-1] - places[0]) or 1.0
    point = 1.14 * span / (72 * inches)
    closest = min((after - before for before, after in pairwise(places)), default=span)
    num_groups = len(figure.titles)
    # points of a cloud stand where they are
    slot = (
        0.0 if figure.is_scatter else min(SLOT_POINTS * point, 0.7 * closest / max(1, num_groups))
    )
    margin = max((0.07 if len(places) > 1 else 0.57) * span, slot * (num_groups + 1) / 2)
    view = places[0] - margin, places[-1] + margin
    written, at = values, places
    if figure.is_scatter:
        written, at = round_values(values, view, is_log=figure.is_log)
    return FactorLayout(
        dict(zip(values, places, strict=True)),
        note,
        view,
        [slot * (number - (num_groups - 1) / 2) for number in range(num_groups)],
        0.32 * slot,
        list(zip(at, labels_of(written, at, view, inches), strict=True)),
    )
