"""A score against one factor of a study: every seed's dot, the mean with its interval, and what the source
published.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from app.plots.canvas.palette import (
    TICK_STEPS,
    Entry,
    Legend,
    Sign,
    draw_interval,
    draw_signs,
    look,
    signs_height,
    view_of,
)
from app.plots.canvas.style import (
    GREY,
    GRID,
    INK,
    MARGIN,
    PAPER,
    Sheet,
    heading,
    line_height,
    rendered,
    shortened,
    width_of,
    wrapped,
)
from app.plots.figures import FactorFigure, Group, Point

PANEL_INCHES, LEFT_INCHES, BELOW_INCHES = (7.0, 4.2), 0.75, 0.55
LEGEND_INCHES, LEGEND_GAP = 2.7, 0.3
FEW_GROUPS = 3
"""Of so many the legend stands below, where it needs less room."""

LABEL_SIZE, ROW_SIZE = 8.5, 9.0
TITLES_INCHES, ROWS_INCHES, TEXTS_INCHES = 3.6, 4.6, 1.75
"""Of the chart with a row per cell: its titles, its axis, the numbers right of it."""

ROW_GAP, GROUP_INCHES = 0.14, 0.3
SLOT_POINTS = 13.0
"""Room for one group at one value of the factor: where several have that value, they stand beside each other."""

LOG_RATIO, CLOSE = 50.0, 0.02
"""Values of a factor that span that ratio are on a log scale; else, where two are that close as a share of the span, in
equal steps.
"""

LEAST_SHARE, LEAST_RELATIVE = 0.01, 0.02
"""What an axis spans at least: one percentage point where scores are fractions, else that part of the largest score."""


def draw_factor(figure: FactorFigure, extension: str) -> bytes:
    """Lines over a numeric factor; where any of its values is a text, a chart with one row per cell. `extension`: png,
    svg or pdf.
    """
    is_numeric = all(
        isinstance(point.x, (int, float)) and math.isfinite(point.x) for point in figure.points
    )
    return rendered((_numeric if is_numeric else _in_rows)(figure).canvas, extension)


def _numeric(figure: FactorFigure) -> Sheet:
    width, height = PANEL_INCHES
    entries, signs, is_beside = (
        [_entry(figure, place) for place in range(len(figure.groups))],
        _signs(figure),
        len(figure.groups) > FEW_GROUPS,
    )
    paper = 2 * MARGIN + LEFT_INCHES + width + (LEGEND_GAP + LEGEND_INCHES if is_beside else 0)
    legend = (
        Legend(entries, LEGEND_INCHES)
        if is_beside
        else Legend(entries, paper - 2 * MARGIN, max(1, len(entries)))
    )
    head = heading(figure.title, figure.subtitle, paper)
    top = head.height + 0.25
    below = top + height + BELOW_INCHES
    end = max(below, top + legend.height) if is_beside else below + legend.height
    sheet = Sheet(paper, end + 0.1 + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    sheet.write(
        MARGIN,
        head.height - 0.04,
        [shortened(figure.metric, width, LABEL_SIZE + 0.5)],
        LABEL_SIZE + 0.5,
    )
    _draw_groups(sheet.panel(MARGIN + LEFT_INCHES, top, width, height), figure)
    legend.draw(
        sheet, *((MARGIN + LEFT_INCHES + width + LEGEND_GAP, top) if is_beside else (MARGIN, below))
    )
    draw_signs(sheet, MARGIN, end + 0.1, paper - 2 * MARGIN, signs)
    return sheet


def _draw_groups(panel: Axes, figure: FactorFigure) -> None:
    values = sorted({float(point.x) for point in figure.points})
    places, note = _places(values)
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    _score_axis(panel, figure, upright=True)
    panel.set_xlabel(
        shortened(figure.factor, PANEL_INCHES[0] - 1.5, LABEL_SIZE + 0.5) + note,
        fontsize=LABEL_SIZE + 0.5,
    )
    panel.set_xticks([])
    if not values:
        return
    span = (places[-1] - places[0]) or 1.0
    point = 1.14 * span / (72 * PANEL_INCHES[0])
    closest = min((after - before for before, after in pairwise(places)), default=span)
    slot = min(SLOT_POINTS * point, 0.7 * closest / max(1, len(figure.groups)))
    margin = max((0.07 if len(places) > 1 else 0.57) * span, slot * (len(figure.groups) + 1) / 2)
    panel.set_xlim(places[0] - margin, places[-1] + margin)
    _label_values(panel, values, places)
    place_of = dict(zip(values, places, strict=True))
    for number, group in enumerate(figure.groups):
        shift = slot * (number - (len(figure.groups) - 1) / 2)
        _draw_group(
            panel,
            group,
            number,
            {value: place + shift for value, place in place_of.items()},
            0.4 * slot,
        )


def _draw_group(
    panel: Axes, group: Group, number: int, places: dict[float, float], aside: float
) -> None:
    """Seeds a little left of their mean, so that neither hides the other."""
    drawn = look(number)
    points = sorted(group.points, key=lambda point: float(point.x))
    measured = [
        (places[float(point.x)], mean) for point in points if (mean := point.mean) is not None
    ]
    panel.plot(
        *zip(*measured, strict=True) if measured else ([], []), **_line_look(number), zorder=3
    )
    for point in points:
        place = places[float(point.x)]
        panel.plot([place - aside] * len(point.scores), point.scores, **_seed_look(drawn.color))
        if point.ci95:
            draw_interval(
                panel, point.ci95, place, upright=True, color=drawn.color, linewidth=1.3, zorder=3
            )
        if point.published is not None:
            panel.plot([place], [point.published], **_published_look(drawn.color))


def _in_rows(figure: FactorFigure) -> Sheet:
    has_titles, signs = len(figure.groups) > 1, _signs(figure)
    titles = [
        [wrapped(str(point.x), TITLES_INCHES, ROW_SIZE, 2) for point in group.points]
        for group in figure.groups
    ]
    heights = [
        [line_height(ROW_SIZE) * max(1, len(lines)) + ROW_GAP for lines in group]
        for group in titles
    ]
    paper = 2 * MARGIN + TITLES_INCHES + 0.15 + ROWS_INCHES + 0.15 + TEXTS_INCHES
    head = heading(figure.title, figure.subtitle, paper)
    height = max(
        0.35, sum(map(sum, heights)) + (GROUP_INCHES * len(figure.groups) if has_titles else 0)
    )
    below = head.height + 0.1 + height + BELOW_INCHES
    sheet = Sheet(paper, below + MARGIN + signs_height(signs, paper - 2 * MARGIN))
    head.draw(sheet)
    panel = sheet.panel(MARGIN + TITLES_INCHES + 0.15, head.height + 0.1, ROWS_INCHES, height)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    _score_axis(panel, figure, upright=False)
    panel.set_xlabel(
        shortened(figure.metric, ROWS_INCHES, LABEL_SIZE + 0.5), fontsize=LABEL_SIZE + 0.5
    )
    panel.set_yticks([])
    panel.set_ylim(height, 0)  # in inches, downward
    panel.spines["left"].set_visible(False)
    down = 0.0
    for number, group in enumerate(figure.groups):
        if has_titles:
            sheet.write(
                MARGIN,
                head.height + 0.2 + down,
                [shortened(group.title, TITLES_INCHES, ROW_SIZE, bold=True)],
                ROW_SIZE,
                fontweight="bold",
            )
            down += GROUP_INCHES
        for point, lines, room in zip(group.points, titles[number], heights[number], strict=True):
            _draw_row(panel, point, number, down + room / 2)
            middle = head.height + 0.1 + down + room / 2
            sheet.write(MARGIN, middle - line_height(ROW_SIZE) * len(lines) / 2, lines, ROW_SIZE)
            _write_scores(sheet, figure, point, middle)
            down += room
    draw_signs(sheet, MARGIN, below + 0.06, paper - 2 * MARGIN, signs)
    return sheet


def _draw_row(panel: Axes, point: Point, number: int, at: float) -> None:
    color, mean = look(number).color, point.mean
    panel.axhline(at, color=GRID, linewidth=0.6, zorder=0.5)
    panel.plot(point.scores, [at - 0.08] * len(point.scores), **_seed_look(color))
    if point.ci95:
        draw_interval(panel, point.ci95, at, upright=False, color=color, linewidth=1.3, zorder=3)
    if mean is not None:
        panel.plot([mean], [at], **{**_line_look(number), "linestyle": "none"}, zorder=3.5)
    if point.published is not None:
        panel.plot([point.published], [at], **_published_look(color))


def _write_scores(sheet: Sheet, figure: FactorFigure, point: Point, middle: float) -> None:
    """Right of the row: the mean and how many runs it is of."""
    text = (
        "not measured"
        if point.mean is None
        else f"{figure.written(point.mean)}, {_runs([len(point.scores)])}"
    )
    place = sheet.width - MARGIN - TEXTS_INCHES
    sheet.write(
        place,
        middle - line_height(ROW_SIZE) / 2,
        [shortened(text, TEXTS_INCHES, ROW_SIZE)],
        ROW_SIZE,
        color=INK if point.scores else GREY,
    )


def _score_axis(panel: Axes, figure: FactorFigure, *, upright: bool) -> None:
    scores = [
        score
        for point in figure.points
        for score in [*point.scores, *([point.published] if point.published is not None else [])]
    ]
    least = (
        LEAST_SHARE
        if figure.as_percent
        else LEAST_RELATIVE * max(map(abs, scores), default=0.0) or 1.0
    )
    low, high = view_of(scores, [point.ci95 for point in figure.points if point.ci95], least)
    if figure.as_percent:
        room = 0.03 * (high - low)
        low, high = max(low, min([0.0, *scores]) - room), min(high, max([1.0, *scores]) + room)
    axis = panel.yaxis if upright else panel.xaxis
    if not scores:
        panel.text(
            0.5,
            0.5,
            "nothing measured yet",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color=GREY,
            fontsize=9,
        )
        axis.set_ticks([])
        return
    (panel.set_ylim if upright else panel.set_xlim)(low, high)
    axis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    if figure.as_percent:
        axis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None, symbol=" %"))
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=LABEL_SIZE, color=GREY)


def _places(values: Sequence[float]) -> tuple[list[float], str]:
    """Where sorted values stand on the axis, and the note in its label."""
    if len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= LOG_RATIO:
        return [math.log10(value) for value in values], " (log scale)"
    gaps = [after - before for before, after in pairwise(values)]
    if gaps and min(gaps) < CLOSE * (values[-1] - values[0]):
        return [float(place) for place in range(len(values))], " (not to scale)"
    return list(values), ""


def _label_values(panel: Axes, values: Sequence[float], places: Sequence[float]) -> None:
    """The values themselves as ticks; a label that would touch the one before it is left out."""
    low, high = panel.get_xlim()
    labels, free_from = [], -math.inf
    for value, place in zip(values, places, strict=True):
        text = f"{value:g}"
        half, center = (
            width_of(text, LABEL_SIZE) / 2,
            (place - low) / (high - low) * PANEL_INCHES[0],
        )
        fits = center - half >= free_from
        labels.append(text if fits else "")
        free_from = center + half + 0.06 if fits else free_from
    panel.set_xticks(places, labels)


def _entry(figure: FactorFigure, number: int) -> Entry:
    group = figure.groups[number]
    counts = [len(point.scores) for point in group.points if point.scores]
    return Entry(
        group.title,
        f"{_runs(counts)}{' each' if len(counts) > 1 else ''}" if counts else "not measured",
        _line_look(number),
    )


def _runs(counts: Sequence[int]) -> str:
    if min(counts) != max(counts):
        return f"n = {min(counts)} to {max(counts)} runs"
    return f"n = {counts[0]} run{'s' if counts[0] > 1 else ''}"


def _signs(figure: FactorFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    bar = {"color": GREY, "marker": "o", "markersize": 5.5, "linewidth": 1.3}
    signs = [
        (Sign("one run (seed)", _seed_look(GREY)), any(point.scores for point in figure.points)),
        (
            Sign("mean of the runs and 95 % interval of the mean", bar),
            any(point.ci95 for point in figure.points),
        ),
        (
            Sign("published by the source", _published_look(GREY)),
            any(point.published is not None for point in figure.points),
        ),
    ]
    return [sign for sign, is_there in signs if is_there]


def _line_look(number: int) -> dict[str, Any]:
    drawn = look(number)
    return {
        "color": drawn.color,
        "linestyle": drawn.dashes,
        "linewidth": 1.6,
        "marker": drawn.marker,
        "markersize": 6.2,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.6,
    }


def _seed_look(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "alpha": 0.6,
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.2,
        "markeredgewidth": 0,
        "zorder": 2.5,
    }


def _published_look(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "linestyle": "none",
        "marker": "D",
        "markersize": 7.5,
        "markerfacecolor": "none",
        "markeredgewidth": 1.3,
        "zorder": 4,
    }
