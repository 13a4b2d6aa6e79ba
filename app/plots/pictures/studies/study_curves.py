"""Curves of all cells of a study: one panel per split and metric, one numbered line per cell with a band over its
seeds.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from app.plots.canvas.colors import GREY, GRID, INK, is_small, most_inches
from app.plots.canvas.fonts import shortened
from app.plots.canvas.palette import TICK_STEPS, Entry, Legend, look
from app.plots.canvas.percents import PercentFormatter
from app.plots.canvas.scales import accuracy_view, amount_view, loss_view
from app.plots.canvas.style import (
    AXIS_SIZE,
    DPI,
    MARGIN,
    PANEL_SIZE,
    TICK_SIZE,
    Sheet,
    heading,
    power_of_ten,
    rendered,
    say_in_middle,
)
from app.plots.figures.studies import CellCurves, Panel, StudyCurvesFigure
from app.plots.pictures.studies.line_ends import CellLine, draw_series, number_ends
from app.plots.pictures.studies.score_marks import draw_chance
from app.plots.series import Series

PANEL_INCHES = {1: (6.2, 3.9), 2: (4.12, 2.8), 3: (2.4, 2.3)}
"""Plotting area of a panel by the number of columns."""

AXIS_INCHES, TITLE_INCHES, EPOCH_INCHES, END_INCHES, COLUMN_GAP, ROW_GAP = (
    0.6,
    0.3,
    0.46,
    0.34,
    0.12,
    0.1,
)
LEGEND_INCHES, LEGEND_GAP = 2.55, 0.2
LOG_DECADES = 2.0
"""A loss that spans more has a logarithmic axis."""


def draw_study_curves(figure: StudyCurvesFigure, extension: str) -> bytes:
    """Panels in a grid of up to three columns, the legend below, or beside a single one.
    `extension`: png, svg or pdf.
    """
    count = max(1, len(figure.panels))
    columns = 1 if is_small() else count if count <= 3 else 2 if count == 4 else 3
    rows = math.ceil(count / columns)
    width, height = _panel_inches(columns)
    across, down = (
        AXIS_INCHES + width + END_INCHES + COLUMN_GAP,
        TITLE_INCHES + height + EPOCH_INCHES + ROW_GAP,
    )
    entries = [entry_of_cell(figure, place) for place in range(len(figure.lines))]
    legend, is_beside = Legend(entries, LEGEND_INCHES), columns == 1 and not is_small()
    if not is_beside or legend.height > down * rows:
        legend, is_beside = _legend_below(entries, across * columns - COLUMN_GAP), False
    paper = (
        2 * MARGIN
        + across * columns
        - COLUMN_GAP
        + (LEGEND_GAP + LEGEND_INCHES if is_beside else 0)
    )
    head = heading(figure.title, figure.subtitle, paper)
    sheet = Sheet(
        paper, head.height + down * rows + MARGIN / 2 + (0 if is_beside else legend.height)
    )
    head.draw(sheet)
    sheet.write(MARGIN, head.height, [] if figure.panels else ["nothing to show"], color=GREY)
    for place, panel in enumerate(figure.panels):
        row, column = divmod(place, columns)
        axes = sheet.panel(
            MARGIN + AXIS_INCHES + across * column,
            head.height + TITLE_INCHES + down * row,
            width,
            height,
        )
        _draw_panel(axes, panel, figure)
        axes.set_xlabel("Epoch" if place + columns >= count else "", fontsize=AXIS_SIZE)
    legend.draw(
        sheet,
        MARGIN + across * columns - COLUMN_GAP + LEGEND_GAP if is_beside else MARGIN,
        head.height + TITLE_INCHES if is_beside else head.height + down * rows,
    )
    return rendered(sheet.canvas, extension)


def _panel_inches(columns: int) -> tuple[float, float]:
    room = most_inches() - 2 * MARGIN - AXIS_INCHES - END_INCHES
    return (room, 0.66 * room) if is_small() else PANEL_INCHES[columns]


def _legend_below(entries: Sequence[Entry], width: float) -> Legend:
    return Legend(entries, width, max(1, min(len(entries), int(width / LEGEND_INCHES))))


def _draw_panel(axes: Axes, panel: Panel, figure: StudyCurvesFigure) -> None:
    lines = [
        (place, series)
        for place, cell in enumerate(figure.lines)
        if (series := cell.panels.get(panel)) is not None and len(series)
    ]
    shown = [
        CellLine(place, series, last)
        for place, series in lines
        if (last := series.last) is not None
    ]
    is_log = panel.metric.endswith("loss") and spans_decades(shown)
    unit = ["nats"] if panel.metric.endswith("loss") else []
    notes = ", ".join(filter(None, [panel.note, *unit, *(["log scale"] if is_log else [])]))
    axes.set_title(
        shortened(
            f"{panel.title} ({notes})" if notes else panel.title,
            axes.bbox.width / DPI + END_INCHES,
            PANEL_SIZE,
        ),
        loc="left",
        fontsize=PANEL_SIZE,
        color=INK,
        pad=7,
    )
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=TICK_SIZE, color=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1, steps=TICK_STEPS))
    axes.set_xlim(*limits_of_epochs(figure))
    if not shown:
        axes.set_yticks([])
        text = "no finite value" if lines else "no epoch finished yet"
        say_in_middle(axes, text)
        return
    for line in shown:
        draw_series(axes, line, len(figure.lines))
    _scale(axes, panel, shown, is_log)
    draw_chance(axes, panel.chance, upright=True)
    if len(figure.lines) > 1:
        number_ends(axes, shown)


def _scale(axes: Axes, panel: Panel, lines: Sequence[CellLine], is_log: bool) -> None:
    low, high = range_of(lines)
    if is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(power_of_ten))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.4, high * 1.4)
        return
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    if "accuracy" in panel.metric:
        axes.set_ylim(*accuracy_view(low, high))
        axes.yaxis.set_major_formatter(PercentFormatter())
    elif panel.metric.endswith("loss"):
        axes.set_ylim(*loss_view(low, high))
    else:
        axes.set_ylim(*amount_view(low, high))


def entry_of_cell(figure: StudyCurvesFigure, place: int) -> Entry:
    """Of a cell in the legend."""
    cell, drawn = figure.lines[place], look(place)
    swatch = {"color": drawn.color, "linestyle": drawn.dashes, "linewidth": 1.8}
    note = _note(
        cell,
        [
            series
            for panel in figure.panels
            if (series := cell.panels.get(panel)) is not None and len(series)
        ],
    )
    is_drawn = any(panel in cell.panels and cell.panels[panel].last for panel in figure.panels)
    return Entry(
        cell.title,
        note,
        swatch,
        str(place + 1) if len(figure.lines) > 1 else "",
        faded=not is_drawn,
    )


def _note(cell: CellCurves, shown: Sequence[Series]) -> str:
    """How many runs the line is about, and whether all of them have begun, gone on as long and stayed finite."""
    if not shown:
        return cell.without
    if not any(series.last for series in shown):
        return "no finite value"
    runs = "1 run" if cell.num_begun == 1 else f"mean and range of {cell.num_begun} runs"
    of_all = f" ({cell.num_waiting} more not started)" if cell.num_waiting else ""
    thin = ", thin where of fewer" if any(series.has_fewer for series in shown) else ""
    is_broken = any(series.has_gaps for series in cell.panels.values())
    return runs + of_all + (", some values not finite" if is_broken else "") + thin


def range_of(lines: Sequence[CellLine]) -> tuple[float, float]:
    """The least and the largest value."""
    return min(float(np.nanmin(line.series.low)) for line in lines), max(
        float(np.nanmax(line.series.high)) for line in lines
    )


def spans_decades(lines: Sequence[CellLine]) -> bool:
    """Whether their values are to be on a log scale, if losses."""
    low, high = range_of(lines) if lines else (1.0, 1.0)
    return low > 0 and math.log10(high / low) > LOG_DECADES


def limits_of_epochs(figure: StudyCurvesFigure) -> tuple[float, float]:
    """From where to where the axes of epochs reach."""
    shown = [
        series
        for cell in figure.lines
        for panel in figure.panels
        if (series := cell.panels.get(panel)) is not None and len(series)
    ]
    first, last = (
        min([1, *(int(series.epochs[0]) for series in shown)]),
        max([2, *(int(series.epochs[-1]) for series in shown)]),
    )
    margin = max(0.015 * (last - first), 0.05)
    return first - margin, last + margin
