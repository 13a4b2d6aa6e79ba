"""A score against a factor that is no number: one row per cell, with its numbers beside it."""

from matplotlib.axes import Axes

from app.plots.canvas.palette import draw_interval, draw_signs, look, signs_height
from app.plots.canvas.style import (
    GREY,
    GRID,
    INK,
    MARGIN,
    Sheet,
    heading,
    line_height,
    shortened,
    wrapped,
)
from app.plots.figures.studies import FactorFigure, Point
from app.plots.pictures.studies.score_marks import (
    BELOW_INCHES,
    LABEL_SIZE,
    line_look,
    published_look,
    runs_said,
    score_axis,
    seed_look,
    signs_of,
)

ROW_SIZE = 9.0
TITLES_INCHES, ROWS_INCHES, TEXTS_INCHES = 3.6, 4.6, 1.75
"""Titles, axis, and the numbers right of it."""

ROW_GAP, GROUP_INCHES = 0.14, 0.3


def in_rows(figure: FactorFigure) -> Sheet:
    """A chart with a row per cell, group by group."""
    has_titles, signs = len(figure.groups) > 1, signs_of(figure)
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
    score_axis(panel, figure, upright=False)
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
    panel.plot(point.scores, [at - 0.08] * len(point.scores), **seed_look(color))
    if point.ci95:
        draw_interval(panel, point.ci95, at, upright=False, color=color, linewidth=1.3, zorder=3)
    if mean is not None:
        panel.plot([mean], [at], **{**line_look(number), "linestyle": "none"}, zorder=3.5)
    if point.published is not None:
        panel.plot([point.published], [at], **published_look(color))


def _write_scores(sheet: Sheet, figure: FactorFigure, point: Point, middle: float) -> None:
    """Right of the row: the mean and how many runs it is of."""
    text = (
        "not measured"
        if point.mean is None
        else f"{figure.written(point.mean)}, {runs_said([len(point.scores)])}"
    )
    place = sheet.width - MARGIN - TEXTS_INCHES
    sheet.write(
        place,
        middle - line_height(ROW_SIZE) / 2,
        [shortened(text, TEXTS_INCHES, ROW_SIZE)],
        ROW_SIZE,
        color=INK if point.scores else GREY,
    )
