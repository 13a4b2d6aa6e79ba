"""A score against what it costs: each cell's mean with its interval under its name, and the front of those that no
other cell beats in both.
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from app.plots.canvas.colors import BLUE, GREY, GRID, INK, is_small, most_inches
from app.plots.canvas.fonts import line_height, shortened, width_of
from app.plots.canvas.labels import cut_apart
from app.plots.canvas.palette import (
    TICK_STEPS,
    Sign,
    dot_look,
    draw_interval,
    draw_signs,
    signs_height,
    view_of,
)
from app.plots.canvas.percents import PercentFormatter
from app.plots.canvas.scales import least_span
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    NOTE_SIZE,
    PANEL_SIZE,
    TICK_SIZE,
    Sheet,
    heading,
    rendered,
    say_in_middle,
)
from app.plots.figures.studies import TradeoffFigure
from app.plots.pictures.studies.score_marks import runs_said

PANEL_INCHES, LEFT_INCHES, BELOW_INCHES, ABOVE_INCHES = (8.2, 4.4), 0.75, 0.55, 0.25
NAME_INCHES, NAME_GAP, NAME_RISE = 2.2, 0.07, 0.1
LOG_RATIO = 8.0
"""Costs that span that ratio are on a log scale."""
FRONT: dict[str, Any] = {"color": BLUE, "linewidth": 1.1, "linestyle": (0, (4, 2)), "alpha": 0.8}
FEWEST_ON_FRONT = 2


def draw_tradeoff(figure: TradeoffFigure, extension: str) -> bytes:
    """One point per cell, costs to the right, on a log scale where they span much. `extension`: png, svg or pdf."""
    room = most_inches() - 2 * MARGIN - LEFT_INCHES
    width, height = (room, 0.8 * room) if is_small() else PANEL_INCHES
    paper = 2 * MARGIN + LEFT_INCHES + width
    head, signs = heading(figure.title, figure.subtitle, paper), _signs(figure)
    top = head.height + ABOVE_INCHES
    below = top + height + BELOW_INCHES
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    sheet.write(
        MARGIN, head.height - 0.04, [shortened(figure.metric, width, PANEL_SIZE)], PANEL_SIZE
    )
    panel = sheet.panel(MARGIN + LEFT_INCHES, top, width, height)
    if figure.points:
        _draw_points(panel, figure, (width, height))
    else:
        panel.set_xticks([])
        panel.set_yticks([])
        say_in_middle(panel, "nothing measured yet")
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _draw_points(panel: Axes, figure: TradeoffFigure, inches: tuple[float, float]) -> None:
    is_log = _scale(panel, figure, inches[0])
    scale = " (log scale)" if is_log else ""
    label = shortened(figure.cost, inches[0] - width_of(scale, AXIS_SIZE), AXIS_SIZE)
    panel.set_xlabel(label + scale, fontsize=AXIS_SIZE)
    panel.tick_params(labelsize=TICK_SIZE, color=GREY)
    panel.grid(axis="both", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    front = figure.front
    if len(front) >= FEWEST_ON_FRONT:
        on_it = [figure.points[place] for place in front]
        panel.plot(
            [point.cost for point in on_it],
            [point.score for point in on_it],
            drawstyle="steps-post",
            zorder=2,
            **FRONT,
        )
    for place, point in enumerate(figure.points):
        color = BLUE if place in front else GREY
        if point.ci95:
            draw_interval(
                panel, point.ci95, point.cost, upright=True, color=color, linewidth=1.3, zorder=3
            )
        panel.plot([point.cost], [point.score], **dot_look(color, 7), zorder=3.5)
    _write_names(panel, figure, inches)


def _scale(panel: Axes, figure: TradeoffFigure, width: float) -> bool:
    """Both axes' limits and ticks; returns whether costs are on a log scale."""
    costs, scores = [p.cost for p in figure.points], [p.score for p in figure.points]
    is_log = min(costs) > 0 and max(costs) / min(costs) >= LOG_RATIO
    least = least_span(max(map(abs, scores)), as_percent=figure.as_percent)
    low, high = view_of(scores, [point.ci95 for point in figure.points if point.ci95], least)
    if figure.as_percent:
        low, high = max(low, -0.02), min(high, 1.02)
    panel.set_ylim(low, high)
    panel.yaxis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    if figure.as_percent:
        panel.yaxis.set_major_formatter(PercentFormatter())
    # room for a name on either side of the outermost points
    aside = min(0.3, (max(width_of(name, NOTE_SIZE) for name in _names(figure)) + 0.2) / width)
    if not is_log:
        span = (max(costs) - min(costs)) or abs(max(costs)) or 1.0
        panel.set_xlim(min(costs) - 0.06 * span, max(costs) + span * aside / (1 - aside))
        panel.xaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount(value)))
        return False
    first, last = math.log10(min(costs)), math.log10(max(costs))
    panel.set_xscale("log")
    panel.set_xlim(
        10 ** (first - 0.06 * (last - first)), 10 ** (last + (last - first) * aside / (1 - aside))
    )
    steps = (1, 2, 5) if last - first < 2 else (1, 3) if last - first < 4 else (1,)
    ticks = [
        step * 10.0**power
        for power in range(math.floor(first), math.ceil(last) + 1)
        for step in steps
    ]
    start, end = panel.get_xlim()
    panel.set_xticks([tick for tick in ticks if start <= tick <= end])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _amount(value)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    return True


def _write_names(panel: Axes, figure: TradeoffFigure, inches: tuple[float, float]) -> None:
    """Each point's name: of the front on the side where nothing can be, cheaper and better; of the others on the
    opposite one. Moved on where two would touch.
    """
    width, height = inches
    to_inches = panel.transAxes.inverted()
    places = []
    for point in figure.points:
        across, up = to_inches.transform(panel.transData.transform((point.cost, point.score)))
        places.append((float(across) * width, float(up) * height))
    taken: list[tuple[float, float, float]] = []
    better, step, front = -1 if figure.lower_is_better else 1, line_height(NOTE_SIZE), figure.front
    names = _names(figure)
    for number in sorted(range(len(places)), key=lambda place: better * places[place][1]):
        (across, up), text = places[number], names[number]
        wide, toward = width_of(text, NOTE_SIZE), better if number in front else -better
        is_left = number in front and across - NAME_GAP - wide > 0
        left = across - NAME_GAP - wide if is_left else across + NAME_GAP
        middle = up + toward * NAME_RISE
        while any(
            left < other_right and left + wide > other_left and abs(middle - other) < step
            for other_left, other_right, other in taken
        ):
            middle += toward * step / 4
        taken.append((left, left + wide, middle))
        panel.text(
            left / width,
            middle / height,
            text,
            transform=panel.transAxes,
            va="center_baseline",
            fontsize=NOTE_SIZE,
            color=INK,
            zorder=4,
        )


def _names(figure: TradeoffFigure) -> list[str]:
    """The points' names, of which no two are cut to the same."""
    inches = NAME_INCHES / (1.6 if is_small() else 1)
    return cut_apart([point.title for point in figure.points], inches, NOTE_SIZE)


def _amount(value: float) -> str:
    """Such as 0.5, 20, 3,000, 1.5 M."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:,g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _signs(figure: TradeoffFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    counts = [point.n for point in figure.points]
    if not counts:
        return []
    bar = {"color": GREY, "marker": "o", "markersize": 6, "linewidth": 1.3}
    has_intervals = any(point.ci95 for point in figure.points)
    signs: Sequence[tuple[Sign, bool]] = [
        (
            Sign(
                f"mean of {runs_said(counts)}{' and its 95 % interval' if has_intervals else ''}",
                bar if has_intervals else dot_look(GREY),
            ),
            True,
        ),
        (
            Sign(
                "Pareto front: by their means no cell is both cheaper and better",
                {**FRONT, "marker": "o", "markersize": 5},
            ),
            len(figure.front) >= FEWEST_ON_FRONT,
        ),
    ]
    return [sign for sign, is_there in signs if is_there]
