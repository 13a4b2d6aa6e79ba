"""Curves of all cells of a study, or of several experiments, as LaTeX source."""

import math

from app.plots.canvas.chart import percent_ticks, scalar_ticks, whole_ticks
from app.plots.canvas.colors import is_small, most_inches
from app.plots.canvas.palette import CHANCE, look, spread
from app.plots.canvas.scales import View, accuracy_view, amount_view, loss_view
from app.plots.canvas.style import MARGIN
from app.plots.figures.studies import Panel, StudyCurvesFigure
from app.plots.pgfplots.marks import entry, level, series_parts, series_table
from app.plots.pgfplots.options import limits, number, ticks
from app.plots.pgfplots.source import LatexPanel, LatexPicture
from app.plots.pictures.studies.line_ends import (
    ALPHAS,
    LABEL_GAP,
    LINE_WIDTH,
    THIN_WIDTH,
    CellLine,
)
from app.plots.pictures.studies.study_curves import (
    PANEL_INCHES,
    entry_of_cell,
    limits_of_epochs,
    range_of,
    spans_decades,
)
from app.tabulation import latex_text

GAP = (1.0, 0.95)
"""From one panel to the next, across and down, in inches."""
LOG_ROOM = 1.4
"""By what a logarithmic axis reaches beyond its values."""


def write_study_curves(figure: StudyCurvesFigure, extension: str) -> bytes:
    """Panels in a grid of up to three columns, a table for each line in each of them, the legend below. `extension`:
    tex or tikz.
    """
    count = max(1, len(figure.panels))
    columns = 1 if is_small() else count if count <= 3 else 2 if count == 4 else 3
    width, height = PANEL_INCHES[columns]
    if is_small():
        width = most_inches() - 2 * MARGIN - 1.0
        height = 0.66 * width
    source = LatexPicture(figure.title, figure.subtitle, width, height, columns, GAP)
    source.panels = [_panel(source, panel, figure) for panel in figure.panels]
    source.panels = source.panels or [LatexPanel(["hide axis, xmin=0, xmax=1, ymin=0, ymax=1"], [])]
    for place in range(len(figure.lines)):
        found = entry_of_cell(figure, place)
        title = f"{found.number} {found.title}".strip()
        source.legend += entry(found.swatch, title, found.note)
    return source.written(extension)


def _panel(source: LatexPicture, panel: Panel, figure: StudyCurvesFigure) -> LatexPanel:
    lines = [
        CellLine(place, series.without_gaps(), last)
        for place, cell in enumerate(figure.lines)
        if (series := cell.panels.get(panel)) is not None and (last := series.last) is not None
    ]
    epochs = limits_of_epochs(figure)
    is_log = panel.metric.endswith("loss") and spans_decades(lines)
    unit = ["nats"] if panel.metric.endswith("loss") else []
    notes = ", ".join(filter(None, [panel.note, *unit, *(["log scale"] if is_log else [])]))
    title = f"{panel.title} ({notes})" if notes else panel.title
    options = [
        f"title={{{latex_text(title)}}}",
        "xlabel={Epoch}, ymajorgrids",
        limits("x", epochs),
        *ticks("x", whole_ticks(epochs)),
    ]
    if not lines:
        options.append(r"ymin=0, ymax=1, ytick=\empty")
        note = r"\node[font=\footnotesize, text=labgrey] at (rel axis cs:0.5,0.5) {nothing to show yet};"
        return LatexPanel(options, [note])
    values = _view(panel, lines, is_log=is_log)
    options.append(limits("y", values))
    if is_log:
        options.append("ymode=log, log origin=infty")
    else:
        options += ticks(
            "y", (percent_ticks if "accuracy" in panel.metric else scalar_ticks)(values)
        )
    body = []
    if panel.chance is not None and values[0] < panel.chance < values[1]:
        body.append(level(panel.chance, epochs, CHANCE))
    opacity = next(shade for most, shade in ALPHAS if len(figure.lines) <= most)
    for line in lines:
        drawn, series = look(line.place), line.series
        table = series_table(source, series)
        body.append(f"% {latex_text(figure.lines[line.place].title)}: {table}")
        dot = {"marker": drawn.marker, "markersize": 4.5} if len(series) == 1 else {}
        style = {"color": drawn.color, "linestyle": drawn.dashes, "linewidth": LINE_WIDTH, **dot}
        body += series_parts(table, series, style, {"linewidth": THIN_WIDTH}, opacity)
    numbers = _numbers(lines, values, source.height, is_log=is_log) if len(figure.lines) > 1 else []
    return LatexPanel(options, [*body, *numbers])


def _view(panel: Panel, lines: list[CellLine], *, is_log: bool) -> View:
    low, high = range_of(lines)
    if is_log:
        return low / LOG_ROOM, high * LOG_ROOM
    if "accuracy" in panel.metric:
        return accuracy_view(low, high)
    return loss_view(low, high) if panel.metric.endswith("loss") else amount_view(low, high)


def _numbers(lines: list[CellLine], values: View, height: float, *, is_log: bool) -> list[str]:
    """Right of the panel the cells' numbers of the legend, apart where they are close."""
    low, high = (math.log(end) if is_log else end for end in values)
    ends = [math.log(line.last[1]) if is_log else line.last[1] for line in lines]
    wanted = [height * (end - low) / (high - low) for end in ends]
    places = spread(wanted, LABEL_GAP / 72, 0, height)
    return [
        rf"\node[anchor=west, font=\footnotesize\bfseries, text={look(line.place).color.replace(':', '')}]"
        rf" at (rel axis cs:1,{number(round(place / height, 4))}) {{{line.place + 1}}};"
        for line, place in zip(lines, places, strict=True)
    ]
