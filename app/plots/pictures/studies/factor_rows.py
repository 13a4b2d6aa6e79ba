"""A score against a factor that is no number: one row per cell, with its numbers beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from app.plots.canvas.colors import GREY, GRID, INK, is_small
from app.plots.canvas.fonts import line_height, shortened, wrapped
from app.plots.canvas.labels import told_apart
from app.plots.canvas.palette import (
    dot_look,
    draw_interval,
    draw_signs,
    look,
    seed_look,
    signs_height,
)
from app.plots.canvas.style import AXIS_SIZE, MARGIN, Sheet, heading
from app.plots.figures.scores import FactorFigure, Point, ScorePanel
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
    """A chart with a row per cell, group by group, and a panel for each data set."""
    panels, signs = [_laid_out(shown, figure) for shown in figure.panels], signs_of(figure)
    titles_inches, rows_inches, texts_inches = SMALL_INCHES if is_small() else INCHES
    paper = 2 * MARGIN + titles_inches + 0.15 + rows_inches + 0.15 + texts_inches
    head = heading(figure.title, figure.subtitle, paper)
    below = head.height + 0.1 + sum(panel.height + BELOW_INCHES for panel in panels)
    sheet = Sheet(paper, below + MARGIN + signs_height(signs, paper - 2 * MARGIN))
    head.draw(sheet)
    top = head.height + 0.1
    for panel in panels:
        _draw_panel(sheet, panel, figure, top)
        top += panel.height + BELOW_INCHES
    draw_signs(sheet, MARGIN, below + 0.06, paper - 2 * MARGIN, signs)
    return sheet


@dataclass(frozen=True)
class _Row:
    point: Point
    number: int
    lines: Sequence[str]

    @property
    def height(self) -> float:
        least = 2 if is_small() else 1
        return line_height(ROW_SIZE) * max(least, len(self.lines)) + ROW_GAP


@dataclass(frozen=True)
class _Panel:
    """Groups with their titles, and rows; all in inches downward."""

    shown: ScorePanel
    groups: Sequence[tuple[str, Sequence[_Row]]]

    @property
    def height(self) -> float:
        rows = sum(row.height for _, rows in self.groups for row in rows)
        return max(0.35, rows + GROUP_INCHES * sum(bool(title) for title, _ in self.groups))


def _laid_out(shown: ScorePanel, figure: FactorFigure) -> _Panel:
    """What has one group needs no title but its data set's."""
    is_titled = len(figure.titles) > 1
    return _Panel(
        shown,
        [
            (
                ", ".join(filter(None, [shown.dataset, group.title if is_titled else ""])),
                _rows(group.points, number),
            )
            for number, group in shown.groups.items()
        ],
    )


def _rows(points: Sequence[Point], number: int) -> list[_Row]:
    inches, most = (SMALL_INCHES if is_small() else INCHES)[0], 3 if is_small() else 2
    titles = told_apart(
        [str(point.x) for point in points], lambda title: wrapped(title, inches, ROW_SIZE, most)
    )
    return [_Row(point, number, lines) for point, lines in zip(points, titles, strict=True)]


def _draw_panel(sheet: Sheet, panel: _Panel, figure: FactorFigure, top: float) -> None:
    titles_inches, rows_inches, texts_inches = SMALL_INCHES if is_small() else INCHES
    axes = sheet.panel(MARGIN + titles_inches + 0.15, top, rows_inches, panel.height)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    score_axis(axes, panel.shown, upright=False)
    axes.set_xlabel(shortened(figure.metric, rows_inches, AXIS_SIZE), fontsize=AXIS_SIZE)
    axes.set_yticks([])
    axes.set_ylim(panel.height, 0)  # in inches, downward
    axes.spines["left"].set_visible(False)
    down = 0.0
    for title, rows in panel.groups:
        if title:
            text = shortened(title, titles_inches, ROW_SIZE, bold=True)
            sheet.write(MARGIN, top + 0.1 + down, [text], ROW_SIZE, fontweight="bold")
            down += GROUP_INCHES
        for row in rows:
            _draw_row(axes, row.point, row.number, down + row.height / 2)
            middle = top + down + row.height / 2
            half = line_height(ROW_SIZE) * len(row.lines) / 2
            sheet.write(MARGIN, middle - half, row.lines, ROW_SIZE)
            _write_scores(sheet, figure, row.point, middle, texts_inches)
            down += row.height


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
