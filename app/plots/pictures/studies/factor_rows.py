"""A score against a factor that is no number: one row per cell, with its numbers beside it."""

from matplotlib.axes import Axes

from app.plots.canvas.colors import GREY, GRID, INK, is_small
from app.plots.canvas.fonts import line_height, shortened, wrapped
from app.plots.canvas.palette import (
    dot_look,
    draw_interval,
    draw_signs,
    look,
    seed_look,
    signs_height,
)
from app.plots.canvas.style import AXIS_SIZE, MARGIN, Sheet, heading
from app.plots.figures.studies import FactorFigure, Point
from app.plots.pictures.studies.score_marks import (
    BELOW_INCHES,
    published_look,
    runs_said,
    score_axis,
    signs_of,
)

ROW_SIZE = 9.0
INCHES, SMALL_INCHES = (3.4, 4.4, 1.75), (1.5, 1.95, 1.15)
"""Titles, axis, and the numbers right of it; and of a small picture."""

ROW_GAP, GROUP_INCHES = 0.14, 0.3


def in_rows(figure: FactorFigure) -> Sheet:
    """A chart with a row per cell, group by group."""
    has_titles, signs = len(figure.groups) > 1, signs_of(figure)
    titles_inches, rows_inches, texts_inches = SMALL_INCHES if is_small() else INCHES
    most = 3 if is_small() else 2
    titles = [
        [wrapped(str(point.x), titles_inches, ROW_SIZE, most) for point in group.points]
        for group in figure.groups
    ]
    heights = [
        [
            line_height(ROW_SIZE) * max(2 if is_small() else 1, len(lines)) + ROW_GAP
            for lines in group
        ]
        for group in titles
    ]
    paper = 2 * MARGIN + titles_inches + 0.15 + rows_inches + 0.15 + texts_inches
    head = heading(figure.title, figure.subtitle, paper)
    height = max(
        0.35, sum(map(sum, heights)) + (GROUP_INCHES * len(figure.groups) if has_titles else 0)
    )
    below = head.height + 0.1 + height + BELOW_INCHES
    sheet = Sheet(paper, below + MARGIN + signs_height(signs, paper - 2 * MARGIN))
    head.draw(sheet)
    panel = sheet.panel(MARGIN + titles_inches + 0.15, head.height + 0.1, rows_inches, height)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    score_axis(panel, figure, upright=False)
    panel.set_xlabel(shortened(figure.metric, rows_inches, AXIS_SIZE), fontsize=AXIS_SIZE)
    panel.set_yticks([])
    panel.set_ylim(height, 0)  # in inches, downward
    panel.spines["left"].set_visible(False)
    down = 0.0
    for number, group in enumerate(figure.groups):
        if has_titles:
            sheet.write(
                MARGIN,
                head.height + 0.2 + down,
                [shortened(group.title, titles_inches, ROW_SIZE, bold=True)],
                ROW_SIZE,
                fontweight="bold",
            )
            down += GROUP_INCHES
        for point, lines, room in zip(group.points, titles[number], heights[number], strict=True):
            _draw_row(panel, point, number, down + room / 2)
            middle = head.height + 0.1 + down + room / 2
            sheet.write(MARGIN, middle - line_height(ROW_SIZE) * len(lines) / 2, lines, ROW_SIZE)
            _write_scores(sheet, figure, point, middle, texts_inches)
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
        panel.plot([mean], [at], **dot_look(color, marker=look(number).marker), zorder=3.5)
    if point.published is not None:
        panel.plot([point.published], [at], **published_look(color))


def _write_scores(
    sheet: Sheet, figure: FactorFigure, point: Point, middle: float, inches: float
) -> None:
    """Right of the row: the mean and how many runs it is of."""
    if point.mean is None:
        lines = ["not measured"]
    else:
        said = figure.written(point.mean), runs_said([len(point.scores)])
        lines = [
            shortened(line, inches, ROW_SIZE)
            for line in (said if is_small() else [", ".join(said)])
        ]
    sheet.write(
        sheet.width - MARGIN - inches,
        middle - line_height(ROW_SIZE) * len(lines) / 2,
        lines,
        ROW_SIZE,
        color=INK if point.scores else GREY,
    )
