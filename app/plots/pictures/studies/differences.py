"""Contrasts of a study as a forest plot: each seed's difference, the mean with its interval, the margin of equivalence,
the verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.colors import (
    BLUE,
    GREY,
    GRID,
    INK,
    MARGIN_SHADE,
    PAPER,
    VERMILION,
    is_small,
)
from app.plots.canvas.fonts import line_height, shortened, wrapped
from app.plots.canvas.labels import told_apart
from app.plots.canvas.palette import (
    TICK_STEPS,
    Sign,
    draw_interval,
    draw_signs,
    seed_look,
    signs_height,
    view_of,
)
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    MINUS,
    TICK_SIZE,
    Sheet,
    heading,
    rendered,
    say_in_middle,
)
from app.plots.figures.studies import DifferenceRow, DifferencesFigure

GAP, ROW_SIZE, ROW_GAP, HEAD_INCHES, BELOW_INCHES = 0.18, 9.0, 0.15, 0.26, 0.55
TITLE_LINES, VERDICT_LINES = 2, 3
SHADE: dict[str, Any] = {"facecolor": MARGIN_SHADE, "edgecolor": "none"}
BEHIND_TITLE: dict[str, Any] = {"facecolor": PAPER, "edgecolor": "none"}
LEAST_SEEN = 2 / 72
"""A band of the margin that is narrower, in inches, is not seen."""


@dataclass(frozen=True)
class Columns:
    """How wide the parts of a row are in inches: title, picture, numbers, verdict. Of a small picture the title stands
    above the rest.
    """

    titles: float
    rows: float
    numbers: float
    verdicts: float
    is_stacked: bool

    @property
    def paper(self) -> float:
        """Of the whole sheet."""
        beside = [self.rows, self.numbers, self.verdicts] + [self.titles] * (not self.is_stacked)
        return 2 * MARGIN + sum(beside) + GAP * (len(beside) - 1)

    @property
    def rows_left(self) -> float:
        """Of the picture."""
        return MARGIN if self.is_stacked else MARGIN + self.titles + GAP

    @property
    def numbers_left(self) -> float:
        """Of the numbers."""
        return self.rows_left + self.rows + GAP

    @property
    def verdicts_left(self) -> float:
        """Of the verdicts."""
        return self.numbers_left + self.numbers + GAP


USUAL = Columns(2.75, 3.6, 1.95, 1.45, is_stacked=False)
SMALL = Columns(4.9, 1.85, 1.75, 0.94, is_stacked=True)


def draw_differences(figure: DifferencesFigure, extension: str) -> bytes:
    """One row per contrast, in their order: title, picture, numbers, verdict. `extension`: png, svg or pdf."""
    columns = SMALL if is_small() else USUAL
    titles = told_apart(
        [row.title for row in figure.rows],
        lambda title: wrapped(title, columns.titles, ROW_SIZE, TITLE_LINES),
    )
    verdicts = [
        wrapped(row.verdict, columns.verdicts, ROW_SIZE, VERDICT_LINES) for row in figure.rows
    ]
    numbers = [_numbers(row, columns.numbers) for row in figure.rows]
    aboves = [line_height(ROW_SIZE) * len(title) * columns.is_stacked for title in titles]
    rooms = [
        above
        + line_height(ROW_SIZE)
        * max(2, len(found), len(verdict), 0 if columns.is_stacked else len(title))
        + ROW_GAP
        for title, verdict, found, above in zip(titles, verdicts, numbers, aboves, strict=True)
    ]
    paper, height = columns.paper, max(0.4, sum(rooms))
    head = heading(figure.title, figure.subtitle, paper)
    top = head.height + HEAD_INCHES
    view = _view(figure)
    signs = _signs(figure, view, columns.rows)
    below = top + height + BELOW_INCHES + line_height(AXIS_SIZE) * columns.is_stacked
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    panel = sheet.panel(columns.rows_left, top, columns.rows, height)
    _prepare(panel, figure, view, height)
    _write_heads(sheet, columns, head.height)
    down = 0.0
    for row, title, verdict, found, above, room in zip(
        figure.rows, titles, verdicts, numbers, aboves, rooms, strict=True
    ):
        middle = down + above + (room - above) / 2
        _draw_row(panel, row, middle)
        shade = INK if row.is_measured else GREY  # a verdict is more than where the interval lies
        if columns.is_stacked:
            sheet.box(MARGIN, top + down, paper - 2 * MARGIN, above + 0.02, **BEHIND_TITLE)
            sheet.write(MARGIN, top + down + 0.02, title, ROW_SIZE)
        else:
            _write(sheet, MARGIN, top + middle, title)
        _write(sheet, columns.numbers_left, top + middle, found, INK if row.is_measured else GREY)
        _write(sheet, columns.verdicts_left, top + middle, verdict, shade)
        down += room
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _view(figure: DifferencesFigure) -> tuple[float, float]:
    """From where to where the axis reaches."""
    margin = [figure.margin, -figure.margin] if figure.margin is not None else []
    values = [
        value
        for row in figure.rows
        for value in [
            *_finite(row),
            *([row.mean] if row.mean is not None and row.is_measured else []),
        ]
    ]
    return view_of(
        [0.0, *margin, *values],
        [row.ci95 for row in figure.rows if row.ci95],
        1e-9 if any([*margin, *values]) else 1.0,
    )


def _prepare(
    panel: Axes, figure: DifferencesFigure, view: tuple[float, float], height: float
) -> None:
    """Axis, margin and the line at 0. The panel's height is in inches, downward, like its rows'."""
    panel.set_xlim(*view)
    panel.set_ylim(height, 0)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator(4 if is_small() else 6, steps=TICK_STEPS))
    panel.xaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: f"{value:+g}".replace("-", MINUS) if abs(value) > 1e-12 else "0"
        )
    )
    panel.tick_params(labelsize=TICK_SIZE, color=GREY)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_xlabel(
        "\n".join(
            wrapped(
                f"treatment minus control, {figure.unit}",
                (SMALL if is_small() else USUAL).rows,
                AXIS_SIZE,
                2,
            )
        ),
        fontsize=AXIS_SIZE,
    )
    if not figure.rows:
        say_in_middle(panel, "no contrasts", ROW_SIZE)
        return
    if figure.margin is not None:
        panel.axvspan(-figure.margin, figure.margin, **SHADE, zorder=0.4)
    panel.axvline(0, color=INK, linewidth=1, zorder=1)


def _draw_row(panel: Axes, row: DifferenceRow, at: float) -> None:
    panel.axhline(at, color=GRID, linewidth=0.6, zorder=0.5)
    panel.plot(_finite(row), [at - 0.1] * len(_finite(row)), **seed_look(_color(row)))
    if row.ci95:
        draw_interval(
            panel, row.ci95, at, upright=False, color=_color(row), linewidth=1.6, zorder=3
        )
    if row.mean is not None and row.is_measured:
        panel.plot([row.mean], [at], **_mean_look(_color(row)), zorder=3.5)


def _write(
    sheet: Sheet, left: float, middle: float, lines: Sequence[str], color: str = INK
) -> None:
    sheet.write(left, middle - line_height(ROW_SIZE) * len(lines) / 2, lines, ROW_SIZE, color=color)


def _write_heads(sheet: Sheet, columns: Columns, top: float) -> None:
    heads = [
        (columns.numbers_left, columns.numbers, "Mean [95 % interval], p"),
        (columns.verdicts_left, columns.verdicts, "Verdict"),
    ]
    if not columns.is_stacked:
        heads.append((MARGIN, columns.titles, "Contrast"))
    for left, inches, text in heads:
        sheet.write(left, top, [shortened(text, inches, TICK_SIZE)], TICK_SIZE, color=GREY)


def _numbers(row: DifferenceRow, inches: float) -> list[str]:
    """The mean with its interval, how many pairs it is of, and p."""
    if row.mean is None or not row.is_measured:
        return ["not measured"]
    count = len(_finite(row))
    interval = f" [{_signed(row.ci95[0])}, {_signed(row.ci95[1])}]" if row.ci95 else ""
    pairs = f"n = {count} paired seed{'s' if count != 1 else ''}"
    p = [f"{row.p} (Holm)"] if row.p else []
    lines = [_signed(row.mean) + interval, pairs, *p]
    return [shortened(line, inches, ROW_SIZE) for line in lines]


def _signed(value: float) -> str:
    """Two decimals, as many significant digits below 0.1, so that no sign is lost to rounding."""
    if value == 0:
        return "0.00"
    digits = (
        2 if not math.isfinite(value) else max(2, min(8, 1 - math.floor(math.log10(abs(value)))))
    )
    return f"{value:+.{digits}f}".replace("-", MINUS)


def _finite(row: DifferenceRow) -> list[float]:
    return [difference for difference in row.differences if math.isfinite(difference)]


def _signs(figure: DifferencesFigure, view: tuple[float, float], inches: float) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    shown = {_color(row) for row in figure.rows if row.ci95}
    bar = {"linewidth": 1.6, "marker": "o", "markersize": 6}
    texts = {BLUE: "above 0", VERMILION: "below 0", GREY: "0 within it"}
    signs = [
        (
            Sign("one seed's difference", seed_look(GREY)),
            any(row.differences for row in figure.rows),
        ),
        *(
            (
                Sign(f"mean and 95 % interval of the mean, {text}", {"color": color, **bar}),
                color in shown,
            )
            for color, text in texts.items()
        ),
    ]
    if figure.margin is not None:
        is_seen = 2 * figure.margin / (view[1] - view[0]) * inches >= LEAST_SEEN
        text = f"margin of equivalence, ±{figure.margin:g} {figure.unit}"
        signs.append((Sign(text, shade=SHADE), bool(figure.rows) and is_seen))
    return [sign for sign, is_there in signs if is_there]


def _mean_look(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "linestyle": "none",
        "marker": "o",
        "markersize": 7,
        "markeredgecolor": PAPER,
    }


def _color(row: DifferenceRow) -> str:
    """By where the interval lies: all above 0, all below, or neither known nor either."""
    if row.ci95 is None or row.ci95[0] <= 0 <= row.ci95[1]:
        return GREY
    return BLUE if row.ci95[0] > 0 else VERMILION
