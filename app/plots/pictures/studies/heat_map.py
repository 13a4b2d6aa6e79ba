"""Means over two factors of a study as a heat map with the numbers in its cells."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.colors import (
    GREY,
    HATCH,
    INK,
    PAPER,
    UNMEASURED,
    VERMILION,
    most_inches,
)
from app.plots.canvas.contrast import color_of, ink_on
from app.plots.canvas.fonts import line_height, printable, shortened, width_of, wrapped
from app.plots.canvas.labels import cut_apart, told_apart
from app.plots.canvas.palette import Sign, draw_signs, signs_height
from app.plots.canvas.scales import least_span
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    NOTE_SIZE,
    PERCENT,
    Sheet,
    heading,
    rendered,
    say_in_middle,
)
from app.plots.figures.studies import HeatMapFigure

# made so that color-deficient and other readers see nearly the same: https://doi.org/10.1371/journal.pone.0199239
COLORS = "cividis"
CELL_INCHES, LEAST_CELL = (0.98, 0.5), 0.12
"""Of a cell with one line of text, and the least width of one without."""
NAMES_INCHES, TURNED_INCHES, NAME_SIZE, NAME_LINES = 2.0, 1.3, 9.0, 3
VALUE_SIZE, COUNT_SIZE = 9.5, 8.0
BAR_INCHES, BAR_GAP, BAR_NAMES = 0.16, 0.3, 0.9
LEAST_WIDTH = 5.3
"""Of a sheet, in inches."""

MISSING: dict[str, Any] = {
    "facecolor": UNMEASURED,
    "edgecolor": HATCH,
    "hatch": "////",
    "linewidth": 0,
}
DASH = "\N{EN DASH}"
LEAST_SCALE = 0.7
"""Texts that would be smaller are left out, and the bar of colors stands for them."""


@dataclass(frozen=True)
class Cells:
    """How large the cells are in inches, and by how much their texts are smaller than usual; 0 for none at all."""

    width: float
    height: float
    scale: float


def draw_heat_map(figure: HeatMapFigure, extension: str) -> bytes:
    """Value, interval, number of runs and, with a baseline, the difference from it in each cell; a bar of colors
    beside. `extension`: png, svg or pdf.
    """
    rows, columns = max(1, len(figure.y_values)), max(1, len(figure.x_values))
    y_names = told_apart(
        [_name(value) for value in figure.y_values],
        lambda name: wrapped(name, NAMES_INCHES, NAME_SIZE, 2),
    )
    gutter = max([0.3, *(width_of(line, NAME_SIZE) for lines in y_names for line in lines)]) + 0.12
    cells = _cells(figure, columns, most_inches() - 2 * MARGIN - gutter - BAR_GAP - BAR_NAMES)
    x_names, are_turned = _x_names(figure, cells.width - 0.06)
    width, height = columns * cells.width, rows * cells.height
    paper = max(2 * MARGIN + gutter + width + BAR_GAP + BAR_INCHES + BAR_NAMES, LEAST_WIDTH)
    head = heading(figure.title, figure.subtitle, paper)
    signs = _signs(figure, has_texts=cells.scale > 0)
    left, top = MARGIN + gutter, head.height + line_height(AXIS_SIZE) + 0.1
    below = top + height + 0.08
    below += (
        max(width_of(line, NAME_SIZE) for lines in x_names for line in lines)
        if are_turned
        else line_height(NAME_SIZE) * max([1, *map(len, x_names)])
    )
    end = below + line_height(AXIS_SIZE) + 0.14
    sheet = Sheet(paper, end + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    sheet.write(
        MARGIN, head.height, [shortened(figure.y_name, gutter + width - 0.1, AXIS_SIZE)], AXIS_SIZE
    )
    x_name = shortened(figure.x_name, paper - left - MARGIN, AXIS_SIZE)
    sheet.write(
        max(left, left + width / 2 - width_of(x_name, AXIS_SIZE) / 2),
        below + 0.05,
        [x_name],
        AXIS_SIZE,
    )
    panel = sheet.panel(left, top, width, height)
    scale = _draw_cells(panel, figure, cells.scale)
    for row, lines in enumerate(y_names):
        middle = top + height * (row + 0.5) / rows
        sheet.write(
            left - 0.1,
            middle - line_height(NAME_SIZE) * len(lines) / 2,
            lines,
            NAME_SIZE,
            ha="right",
        )
    for column, lines in enumerate(x_names):
        middle = left + cells.width * (column + 0.5)
        if are_turned:
            turned: dict[str, Any] = {"rotation": 90, "rotation_mode": "anchor", "ha": "right"}
            sheet.write(middle + NAME_SIZE / 200, top + height, lines, NAME_SIZE, **turned)
        else:
            sheet.write(middle, top + height + 0.08, lines, NAME_SIZE, ha="center")
    _draw_bar(sheet, figure, scale, (left + width + BAR_GAP, top, height))
    draw_signs(sheet, MARGIN, end, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _cells(figure: HeatMapFigure, columns: int, room: float) -> Cells:
    """As wide as usual where that fits, else narrower with smaller texts, down to colors alone."""
    width = max(LEAST_CELL, min(CELL_INCHES[0], (room - BAR_INCHES) / columns))
    scale = min(1.0, width / CELL_INCHES[0])
    scale = scale if scale >= LEAST_SCALE else 0.0
    lines = 2 + (figure.reference is not None) + (figure.half_widths is not None)
    height = CELL_INCHES[1] + 0.145 * (lines - 1) if scale else 0.8 * width
    return Cells(width, max(0.2, height * (scale or 1.0)), scale)


def _x_names(figure: HeatMapFigure, inches: float) -> tuple[list[list[str]], bool]:
    """Lines of each column's name, and whether they are turned because a word is wider than its column."""
    names = [_name(value) for value in figure.x_values]
    if any(
        width_of(word, NAME_SIZE) > inches for name in names for word in printable(name).split()
    ):
        return [[label] for label in cut_apart(names, TURNED_INCHES, NAME_SIZE)], True
    return told_apart(names, lambda name: wrapped(name, inches, NAME_SIZE, NAME_LINES)), False


def _draw_cells(panel: Axes, figure: HeatMapFigure, size: float) -> ScalarMappable:
    """Cells and their numbers; returns the scale of the colors."""
    scale = ScalarMappable(_norm(figure), colormaps[COLORS])
    panel.set_xlim(-0.5, max(1, len(figure.x_values)) - 0.5)
    panel.set_ylim(max(1, len(figure.y_values)) - 0.5, -0.5)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    if not figure.means.size:
        say_in_middle(panel, "nothing to show", NAME_SIZE)
    for row, means in enumerate(figure.means.tolist()):
        for column, mean in enumerate(means):
            is_known = math.isfinite(mean)
            look: dict[str, Any] = (
                {"facecolor": color_of(scale, mean), "linewidth": 0} if is_known else MISSING
            )
            panel.add_patch(Rectangle((column - 0.488, row - 0.482), 0.976, 0.964, **look))
            if is_known:
                _write_cell(panel, figure, (column, row), ink_on(scale, mean), size)
            elif size:
                panel.text(
                    column,
                    row,
                    DASH,
                    ha="center",
                    va="center",
                    fontsize=12,
                    color=INK,
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 2.5},
                )
    return scale


def _write_cell(
    panel: Axes, figure: HeatMapFigure, place: tuple[int, int], ink: str, scale: float
) -> None:
    if not scale:
        return
    column, row = place
    mean = float(figure.means[row, column])
    texts = [(figure.written(mean), VALUE_SIZE)]
    if figure.half_widths is not None and math.isfinite(figure.half_widths[row, column]):
        texts.append((figure.interval(float(figure.half_widths[row, column])), COUNT_SIZE))
    if figure.reference is not None:
        texts.append((figure.difference(mean - figure.reference), COUNT_SIZE))
    texts.append((f"n = {figure.counts[row, column]}", COUNT_SIZE))
    texts = [(text, scale * size) for text, size in texts]
    down = sum(1.3 * size for _, size in texts) / 2
    for text, size in texts:
        down -= 1.3 * size / 2
        panel.annotate(
            text,
            (column, row),
            (0, down),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            color=ink,
            fontsize=size,
        )
        down -= 1.3 * size / 2


def _draw_bar(
    sheet: Sheet, figure: HeatMapFigure, scale: ScalarMappable, place: tuple[float, float, float]
) -> None:
    """The colors' meaning: `place` is left, top and height; the baseline is a triangle where it is within the scale."""
    left, top, height = place
    sheet.write(
        left,
        top - line_height(AXIS_SIZE) - 0.1,
        [shortened(figure.metric, sheet.width - MARGIN / 2 - left, AXIS_SIZE)],
        AXIS_SIZE,
    )
    bar = sheet.panel(left, top, BAR_INCHES, height)
    as_text = FuncFormatter(
        lambda value, _: f"{100 * value:.4g}{PERCENT}" if figure.as_percent else f"{value:.4g}"
    )
    sheet.canvas.colorbar(
        scale, cax=bar, ticks=MaxNLocator(max(2, min(8, int(height / 0.4)))), format=as_text
    )
    bar.spines[:].set_visible(False)
    bar.tick_params(length=2, labelsize=NOTE_SIZE, color=GREY)
    low, high = bar.get_ylim()
    if figure.reference is not None and low <= figure.reference <= high:
        down = top + height * (high - figure.reference) / (high - low)
        sheet.draw([left, left + BAR_INCHES], [down, down], color=PAPER, linewidth=2.4, zorder=5)
        sheet.draw(
            [left, left + BAR_INCHES], [down, down], color=VERMILION, linewidth=1.4, zorder=6
        )
        sheet.draw(
            [left - 0.06],
            [down],
            color=VERMILION,
            marker=">",
            markersize=6,
            linestyle="none",
            zorder=6,
        )


def _norm(figure: HeatMapFigure) -> Normalize:
    """From the least mean to the greatest; a baseline is taken in that lies no further outside than they are apart."""
    known = figure.means[np.isfinite(figure.means)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    least = least_span(max(abs(low), abs(high)), as_percent=figure.as_percent)
    missing = max(0.0, least - (high - low))
    low, high = low - missing / 2, high + missing / 2
    reach = high - low
    if figure.reference is not None and low - reach <= figure.reference <= high + reach:
        low, high = min(low, figure.reference), max(high, figure.reference)
    return Normalize(low, high)


def _signs(figure: HeatMapFigure, *, has_texts: bool) -> list[Sign]:
    signs, scale = [], _norm(figure)
    if figure.reference is not None:
        unit = ", in percentage points" if figure.as_percent else ""
        is_on = 0 <= scale(figure.reference) <= 1
        marker = (
            {"color": VERMILION, "marker": ">", "markersize": 6, "linestyle": "none"}
            if is_on
            else {}
        )
        off = "" if is_on else ", off the scale of colors"
        difference = f"; in each cell the difference from it{unit}" if has_texts else ""
        signs.append(Sign(f"baseline {figure.written(figure.reference)}{off}{difference}", marker))
    if has_texts and figure.half_widths is not None and np.isfinite(figure.half_widths).any():
        unit = ", in percentage points" if figure.as_percent else ""
        signs.append(Sign(f"± half of the 95 % interval of the mean{unit}"))
    return signs + (
        [Sign(f"{DASH} not measured", shade=MISSING)] if not np.isfinite(figure.means).all() else []
    )


def _name(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
