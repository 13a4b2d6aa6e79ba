"""Contrasts of a study as a forest plot: each seed's difference, the mean with its interval, the margin of equivalence,
the verdict.
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.palette import (
    TICK_STEPS,
    Sign,
    draw_interval,
    draw_signs,
    signs_height,
    view_of,
)
from app.plots.canvas.style import (
    BLUE,
    GREY,
    GRID,
    INK,
    MARGIN,
    PAPER,
    VERMILION,
    Sheet,
    heading,
    line_height,
    rendered,
    shortened,
    wrapped,
)
from app.plots.figures.studies import DifferenceRow, DifferencesFigure

TITLES_INCHES, ROWS_INCHES, NUMBERS_INCHES, VERDICTS_INCHES, GAP = 3.2, 4.4, 2.2, 2.1, 0.18
ROW_SIZE, LABEL_SIZE, ROW_GAP, HEAD_INCHES, BELOW_INCHES = 9.0, 8.5, 0.15, 0.26, 0.55
TITLE_LINES, VERDICT_LINES = 2, 3
SHADE: dict[str, Any] = {"facecolor": "#dbe4ee", "edgecolor": "none"}
MINUS = "\N{MINUS SIGN}"


def draw_differences(figure: DifferencesFigure, extension: str) -> bytes:
    """One row per contrast, in their order: title, picture, numbers, verdict. `extension`: png, svg or pdf."""
    titles = [wrapped(row.title, TITLES_INCHES, ROW_SIZE, TITLE_LINES) for row in figure.rows]
    verdicts = [
        wrapped(row.verdict, VERDICTS_INCHES, ROW_SIZE, VERDICT_LINES) for row in figure.rows
    ]
    rooms = [
        line_height(ROW_SIZE) * max(2, len(title), len(verdict)) + ROW_GAP
        for title, verdict in zip(titles, verdicts, strict=True)
    ]
    paper, signs = (
        2 * MARGIN + TITLES_INCHES + ROWS_INCHES + NUMBERS_INCHES + VERDICTS_INCHES + 3 * GAP,
        _signs(figure),
    )
    head = heading(figure.title, figure.subtitle, paper)
    top, height = head.height + HEAD_INCHES, max(0.4, sum(rooms))
    below = top + height + BELOW_INCHES
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    panel = sheet.panel(MARGIN + TITLES_INCHES + GAP, top, ROWS_INCHES, height)
    _prepare(panel, figure, height)
    _write_heads(sheet, head.height)
    down = 0.0
    for row, title, verdict, room in zip(figure.rows, titles, verdicts, rooms, strict=True):
        middle = down + room / 2
        _draw_row(panel, row, middle)
        _write(sheet, MARGIN, top + middle, title)
        _write(
            sheet, _numbers_left(), top + middle, _numbers(row), INK if row.is_measured else GREY
        )
        _write(
            sheet,
            _verdicts_left(),
            top + middle,
            verdict,
            INK if row.is_measured and _color(row) == GREY else _color(row),
        )
        down += room
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _prepare(panel: Axes, figure: DifferencesFigure, height: float) -> None:
    """Axis, margin and the line at 0. The panel's height is in inches, downward, like its rows'."""
    margin = [figure.margin, -figure.margin] if figure.margin is not None else []
    values = [
        value
        for row in figure.rows
        for value in [
            *_finite(row),
            *([row.mean] if row.mean is not None and row.is_measured else []),
        ]
    ]
    panel.set_xlim(
        *view_of(
            [0.0, *margin, *values],
            [row.ci95 for row in figure.rows if row.ci95],
            1e-9 if any([*margin, *values]) else 1.0,
        )
    )
    panel.set_ylim(height, 0)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
    panel.xaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: f"{value:+g}".replace("-", MINUS) if abs(value) > 1e-12 else "0"
        )
    )
    panel.tick_params(labelsize=LABEL_SIZE, color=GREY)
    panel.set_axisbelow(True)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_xlabel(
        shortened(f"treatment minus control, {figure.unit}", ROWS_INCHES, LABEL_SIZE + 0.5),
        fontsize=LABEL_SIZE + 0.5,
    )
    if not figure.rows:
        panel.text(
            0.5,
            0.5,
            "no contrasts",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color=GREY,
            fontsize=ROW_SIZE,
        )
        return
    if figure.margin is not None:
        panel.axvspan(-figure.margin, figure.margin, **SHADE, zorder=0.4)
    panel.axvline(0, color=INK, linewidth=1, zorder=1)


def _draw_row(panel: Axes, row: DifferenceRow, at: float) -> None:
    panel.axhline(at, color=GRID, linewidth=0.6, zorder=0.5)
    panel.plot(_finite(row), [at - 0.1] * len(_finite(row)), **_seed_look(_color(row)))
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


def _write_heads(sheet: Sheet, top: float) -> None:
    for left, text in (
        (MARGIN, "Contrast"),
        (_numbers_left(), "Mean [95 % interval], seeds"),
        (_verdicts_left(), "Verdict"),
    ):
        sheet.write(left, top, [text], LABEL_SIZE, color=GREY)


def _numbers_left() -> float:
    return MARGIN + TITLES_INCHES + ROWS_INCHES + 2 * GAP


def _verdicts_left() -> float:
    return _numbers_left() + NUMBERS_INCHES + GAP


def _numbers(row: DifferenceRow) -> list[str]:
    """Two lines: the mean with its interval, and how many pairs it is of."""
    if row.mean is None or not row.is_measured:
        return ["not measured"]
    count = len(_finite(row))
    interval = f" [{_signed(row.ci95[0])}, {_signed(row.ci95[1])}]" if row.ci95 else ""
    return [
        shortened(_signed(row.mean) + interval, NUMBERS_INCHES, ROW_SIZE),
        f"n = {count} paired seed{'s' if count != 1 else ''}",
    ]


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


def _signs(figure: DifferencesFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    shown = {_color(row) for row in figure.rows if row.ci95}
    bar = {"linewidth": 1.6, "marker": "o", "markersize": 6}
    signs = [
        (
            Sign("one seed's difference", _seed_look(GREY)),
            any(row.differences for row in figure.rows),
        )
    ]
    texts = {BLUE: "above 0", VERMILION: "below 0", GREY: "0 within it"}
    signs += [
        (
            Sign(f"mean and 95 % interval of the mean, {text}", {"color": color, **bar}),
            color in shown,
        )
        for color, text in texts.items()
    ]
    signs += (
        [
            (
                Sign(f"margin of equivalence, ±{figure.margin:g} {figure.unit}", shade=SHADE),
                bool(figure.rows),
            )
        ]
        if figure.margin is not None
        else []
    )
    return [sign for sign, is_there in signs if is_there]


def _mean_look(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "linestyle": "none",
        "marker": "o",
        "markersize": 7,
        "markeredgecolor": PAPER,
    }


def _seed_look(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "alpha": 0.6,
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.4,
        "markeredgewidth": 0,
        "zorder": 2.5,
    }


def _color(row: DifferenceRow) -> str:
    """By where the interval lies: all above 0, all below, or neither known nor either."""
    if row.ci95 is None or row.ci95[0] <= 0 <= row.ci95[1]:
        return GREY
    return BLUE if row.ci95[0] > 0 else VERMILION
