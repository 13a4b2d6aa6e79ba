"""A score against one factor of a study, as LaTeX source: over a numeric factor, or with a row per cell."""

import math
from collections.abc import Sequence
from typing import Any

from app.plots.canvas.chart import Ticks, percent_ticks, scalar_ticks
from app.plots.canvas.colors import GREY, is_small, most_inches
from app.plots.canvas.palette import CHANCE, dot_look, look, seed_look
from app.plots.canvas.scales import View
from app.plots.canvas.style import MARGIN
from app.plots.figures.scores import FactorFigure, Group, Point, ScorePanel
from app.plots.pgfplots.marks import entry, level, plot, upright
from app.plots.pgfplots.options import ink, limits, line_of, number, ticks
from app.plots.pgfplots.source import LatexPanel, LatexPicture
from app.plots.pictures.studies.factor import entry_of, is_joined, pairs_of, panel_inches
from app.plots.pictures.studies.factor_axis import FactorLayout, layout_of
from app.plots.pictures.studies.score_marks import (
    line_look,
    pair_look,
    published_look,
    runs_said,
    score_view,
    scores_of,
    signs_of,
)
from app.tabulation import latex_text

GAP = (1.2, 0.75)
"""From one panel to the next, across and down, in inches."""
ROW_INCHES, TITLES_INCHES, ROWS_INCHES = 0.3, 2.6, 4.4
"""A row, and how wide titles and axis are, of a chart with a row per cell."""
INTERVAL_WIDTH, CUT_SIZE, INSET = 1.3, 2.5, 0.012
"""Of intervals, in points; an end that is not in the panel is an arrow so far from its edge, as a part of the axis."""
NOTHING = r"\node[font=\small, text=labgrey] at (rel axis cs:0.5,0.5) {nothing measured yet};"


def write_factor(figure: FactorFigure, extension: str) -> bytes:
    """Every seed's dot, each cell's mean with its 95 % interval, and what the source published: two tables for each
    group, of cells and of runs. `extension`: tex or tikz.
    """
    is_numeric = all(
        isinstance(point.x, (int, float)) and math.isfinite(point.x) for point in figure.points
    )
    source = _numeric(figure) if is_numeric else _in_rows(figure)
    return source.written(extension)


def _numeric(figure: FactorFigure) -> LatexPicture:
    width, height = panel_inches(len(figure.panels))
    source = LatexPicture(figure.title, figure.subtitle, width, height, 1, GAP)
    placed, has_pairs = layout_of(figure, width), False
    panels = figure.panels
    for shown in panels:
        values, pairs = score_view(shown), pairs_of(shown, figure)
        has_pairs = has_pairs or bool(pairs)
        name = (
            f"xlabel={{{latex_text(figure.factor + placed.note)}}}, " if shown is panels[-1] else ""
        )
        along = Ticks(*_split(placed.ticks))
        options = [
            *_title(figure, shown.dataset),
            f"{name}ymajorgrids",
            f"{limits('x', placed.view)}, {limits('y', values)}",
            *ticks("x", along),
            *_score_ticks("y", shown, values),
        ]
        body = [] if scores_of(shown) else [NOTHING]
        if _is_within(shown.chance, values):
            body.append(level(shown.chance or 0.0, placed.view, CHANCE))
        color = look(0).color if len(figure.titles) == 1 else GREY
        for ends, scores in pairs:
            across = [
                placed.places[value] + placed.shifts[group] - placed.aside for value, group in ends
            ]
            body += [_pair(across, each, color) for each in scores]
        for place, group in shown.groups.items():
            body += _group(source, figure, group, place, placed, values)
        source.panels.append(LatexPanel(options, body))
    for place, title in enumerate(figure.titles):
        found = entry_of(figure, title, place)
        source.legend += entry(found.swatch, found.title, found.note)
    for sign in signs_of(figure, has_pairs=has_pairs):
        source.legend += entry(sign.marker, sign.text)
    return source


def _group(
    source: LatexPicture,
    figure: FactorFigure,
    group: Group,
    place: int,
    placed: FactorLayout,
    view: View,
) -> list[str]:
    points = sorted(group.points, key=lambda point: float(point.x))
    at = [placed.places[float(point.x)] + placed.shifts[place] for point in points]
    cells = source.table(
        {"value": [float(point.x) for point in points], "place": at, **_cells(points)}
    )
    runs = source.table(_runs(points, [one - placed.aside for one in at]))
    joined = is_joined(figure, placed.note)
    color = look(place).color
    return [
        f"% {latex_text(group.title)}: {cells} has the cells, {runs} the runs",
        plot(line_of(line_look(place, is_joined=joined)), cells, "place", "mean"),
        plot(line_of(seed_look(color)), runs, "place", "score"),
        *_intervals(points, at, cells, color, view, is_upright=True),
        plot(line_of(published_look(color)), cells, "place", "published"),
    ]


def _in_rows(figure: FactorFigure) -> LatexPicture:
    """Rows downward, group by group, the score across."""
    width = most_inches() - 2 * MARGIN - TITLES_INCHES - 1.4 if is_small() else ROWS_INCHES
    most = max((_num_rows(figure, shown) for shown in figure.panels), default=1)
    source = LatexPicture(
        figure.title,
        figure.subtitle,
        width,
        max(1, most) * ROW_INCHES,
        1,
        GAP,
        TITLES_INCHES + 0.1,
    )
    for shown in figure.panels:
        source.panels.append(_rows(source, figure, shown, most))
    for sign in signs_of(figure):
        source.legend += entry(sign.marker, sign.text)
    return source


def _num_rows(figure: FactorFigure, shown: ScorePanel) -> int:
    return len(shown.points) + (len(shown.groups) if len(figure.titles) > 1 else 0)


def _rows(source: LatexPicture, figure: FactorFigure, shown: ScorePanel, most: int) -> LatexPanel:
    values = score_view(shown)
    labels: list[tuple[float, str]] = []
    body = [] if scores_of(shown) else [NOTHING]
    if _is_within(shown.chance, values):
        body.append(upright(shown.chance or 0.0, (0.0, float(most)), CHANCE))
    for place, group in shown.groups.items():
        if len(figure.titles) > 1:
            labels.append((len(labels) + 0.5, rf"\bfseries {latex_text(group.title)}"))
        at = [len(labels) + each + 0.5 for each in range(len(group.points))]
        labels += [
            (row, latex_text(str(point.x))) for row, point in zip(at, group.points, strict=True)
        ]
        cells = source.table({"place": at, **_cells(group.points)})
        runs = source.table(_runs(group.points, [row - 0.25 for row in at]))
        color = look(place).color
        body += [
            f"% {latex_text(group.title)}: {cells} has the cells, {runs} the runs",
            plot(line_of(seed_look(color)), runs, "score", "place"),
            *_intervals(group.points, at, cells, color, values, is_upright=False),
            plot(line_of(dot_look(color, marker=look(place).marker)), cells, "mean", "place"),
            plot(line_of(published_look(color)), cells, "published", "place"),
            *(
                _said(figure, point, 1 - row / most)
                for row, point in zip(at, group.points, strict=True)
            ),
        ]
    places = ",".join(number(row) for row, _ in labels)
    options = [
        *_title(figure, shown.dataset, with_metric=False),
        f"xlabel={{{latex_text(figure.metric)}}}, xmajorgrids, y dir=reverse",
        f"{limits('x', values)}, ymin=0, ymax={most}",
        *_score_ticks("x", shown, values),
        f"ytick={{{places}}}, yticklabels={{{','.join(f'{{{text}}}' for _, text in labels)}}}",
        f"yticklabel style={{text width={TITLES_INCHES}in, align=right}}, ytick style={{draw=none}}",
    ]
    return LatexPanel(options, body)


def _title(figure: FactorFigure, dataset: str, *, with_metric: bool = True) -> list[str]:
    """What stands above a panel: the score's name, and the data set where there are several."""
    said = [rf"\textbf{{{latex_text(dataset)}}}"] if dataset else []
    said += [latex_text(figure.metric)] if with_metric else []
    return [f"title={{{', '.join(said)}}}"] if said else []


def _cells(points: Sequence[Point]) -> dict[str, list[Any]]:
    return {
        "mean": [point.mean for point in points],
        "low": [point.ci95 and point.ci95[0] for point in points],
        "high": [point.ci95 and point.ci95[1] for point in points],
        "below": [point.ci95 and (point.mean or 0.0) - point.ci95[0] for point in points],
        "above": [point.ci95 and point.ci95[1] - (point.mean or 0.0) for point in points],
        "n": [len(point.scores) for point in points],
        "published": [point.published for point in points],
    }


def _runs(points: Sequence[Point], places: Sequence[float]) -> dict[str, list[Any]]:
    """A row for each finite score, with the place of its cell."""
    pairs = [
        (place, score)
        for place, point in zip(places, points, strict=True)
        for score in point.scores
    ]
    return {"place": [place for place, _ in pairs], "score": [score for _, score in pairs]}


def _intervals(
    points: Sequence[Point],
    places: Sequence[float],
    table: str,
    color: str,
    view: View,
    *,
    is_upright: bool,
) -> list[str]:
    """Bars from `low` to `high`; an end beyond the panel is an arrow at its edge."""
    if not any(point.ci95 for point in points):
        return []
    axis, look_of_bar = "y" if is_upright else "x", f"{ink(color)}, line width={INTERVAL_WIDTH}pt"
    x, y = ("place", "mean") if is_upright else ("mean", "place")
    options = (
        f"draw=none, mark=none, forget plot, error bars/.cd, {axis} dir=both, {axis} explicit,"
        f" error bar style={{{look_of_bar}}}, error mark options={{{look_of_bar}, mark size=2pt, rotate=90}}"
    )
    ends = f"{axis} error plus=above, {axis} error minus=below"
    drawn = [rf"\addplot[{options}] table[x={x}, y={y}, {ends}] {{{table}}};"]
    inset = INSET * (view[1] - view[0])
    for place, point in zip(places, points, strict=True):
        low, high = point.ci95 or view
        cut = [(view[0] + inset, 180)] if low < view[0] else []
        cut += [(view[1] - inset, 0)] if high > view[1] else []
        drawn += [_arrow(place, edge, turned, color, is_upright=is_upright) for edge, turned in cut]
    return drawn


def _arrow(place: float, edge: float, turned: int, color: str, *, is_upright: bool) -> str:
    x, y = (place, edge) if is_upright else (edge, place)
    rotated = turned if is_upright else turned - 90
    mark = f"mark=triangle*, mark size={CUT_SIZE}pt, mark options={{rotate={rotated}}}"
    return rf"\addplot[{ink(color)}, only marks, {mark}, forget plot] coordinates {{({number(x)},{number(y)})}};"


def _pair(across: Sequence[float], scores: Sequence[float], color: str) -> str:
    ends = " ".join(f"({number(x)},{number(y)})" for x, y in zip(across, scores, strict=True))
    return rf"\addplot[{line_of(pair_look(color))}, forget plot] coordinates {{{ends}}};"


def _said(figure: FactorFigure, point: Point, up: float) -> str:
    """Right of a row: the mean and how many runs it is of."""
    text = (
        "not measured"
        if point.mean is None
        else f"{figure.written(point.mean)}, {runs_said([len(point.scores)])}"
    )
    place = f"(rel axis cs:1,{number(round(up, 6))})"
    return (
        rf"\node[anchor=west, font=\footnotesize, text=labink] at {place} {{{latex_text(text)}}};"
    )


def _score_ticks(axis: str, shown: ScorePanel, view: View) -> list[str]:
    if not scores_of(shown):
        return [f"{axis}tick=\\empty"]
    return ticks(axis, percent_ticks(view) if shown.as_percent else scalar_ticks(view))


def _is_within(value: float | None, view: View) -> bool:
    return value is not None and view[0] < value < view[1]


def _split(pairs: Sequence[tuple[float, str]]) -> tuple[Any, Sequence[str]]:
    return [place for place, _ in pairs], [text for _, text in pairs]
