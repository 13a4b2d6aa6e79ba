"""What tells lines apart in pictures: looks, legends, keys of signs; and how intervals are shown that
reach beyond a panel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from app.plots.canvas.colors import (
    BLACK_LINE,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILION,
)
from app.plots.canvas.fonts import line_height, shortened, width_of, wrapped
from app.plots.canvas.labels import told_apart
from app.plots.canvas.style import NOTE_SIZE, Sheet

Dashes = str | tuple[float, tuple[float, ...]]

COLORS = (BLUE, VERMILION, GREEN, BLACK_LINE, PURPLE, ORANGE, SKY)
DASHES: tuple[Dashes, ...] = (
    "-",
    (0, (5, 1.8)),
    (0, (7, 1.6, 1.4, 1.6)),
    (0, (1.6, 1.3)),
    (0, (10, 2.2)),
)
MARKERS = "os^DvPX"
TICK_STEPS = (1, 2, 5, 10)
"""Ticks stand at round numbers: never in threes or eights."""

ENTRY_SIZE, ENTRY_LINES = 9.0, 3
SWATCH_INCHES, ENTRY_GAP, COLUMN_GAP, SIGN_GAP = 0.56, 0.1, 0.3, 0.32


@dataclass(frozen=True)
class LineStyle:
    """How one of many lines is drawn; no two of the first 35 are alike, and each differs from its neighbors in color
    and dashes.
    """

    color: str
    dashes: Dashes
    marker: str


def look(number: int) -> LineStyle:
    """That of the line at this place in its figure, from 0."""
    return LineStyle(
        COLORS[number % len(COLORS)],
        DASHES[number % len(DASHES)],
        MARKERS[number % len(MARKERS)],
    )


@dataclass(frozen=True)
class Entry:
    """A line of a legend: a sample drawn like `swatch`, a number in its color if there is one, the title, a note in
    grey.
    """

    title: str
    note: str
    swatch: dict[str, Any]
    number: str = ""
    faded: bool = False


class Legend:
    """Entries in equal columns, row by row, wrapped to the width given in inches; `height` is known before it is
    drawn.
    """

    def __init__(self, entries: Sequence[Entry], width: float, columns: int = 1) -> None:
        self.entries, self.columns = entries, columns
        self.column = (width - COLUMN_GAP * (columns - 1)) / columns
        self.numbered = 0.24 if any(entry.number for entry in entries) else 0.0
        room = self.column - SWATCH_INCHES - self.numbered
        self._titles = told_apart(
            [entry.title for entry in entries],
            lambda title: wrapped(title, room, ENTRY_SIZE, ENTRY_LINES),
        )
        self._notes = [wrapped(entry.note, room, NOTE_SIZE, 3) for entry in entries]
        heights = [
            line_height(ENTRY_SIZE) * len(title) + line_height(NOTE_SIZE) * len(note)
            for title, note in zip(self._titles, self._notes, strict=True)
        ]
        self._rows = [
            max(heights[first : first + columns]) for first in range(0, len(entries), columns)
        ]
        self.height = sum(self._rows) + ENTRY_GAP * max(0, len(self._rows) - 1)

    def draw(self, sheet: Sheet, left: float, top: float) -> None:
        """Draw it with its upper left corner there."""
        for place, entry in enumerate(self.entries):
            row, column = divmod(place, self.columns)
            across = left + (self.column + COLUMN_GAP) * column
            down = top + sum(self._rows[:row]) + ENTRY_GAP * row
            middle = down + 0.62 * ENTRY_SIZE / 72
            color = entry.swatch.get("color", INK)
            sheet.write(
                across,
                down,
                [entry.number] if entry.number else [],
                ENTRY_SIZE,
                color=GREY if entry.faded else color,
                fontweight="bold",
            )
            across += self.numbered
            if not entry.faded:
                sheet.draw(
                    [across, across + 0.22, across + 0.44],
                    [middle] * 3,
                    markevery=[1],
                    solid_capstyle="butt",
                    **entry.swatch,
                )
            text = across + SWATCH_INCHES
            sheet.write(
                text, down, self._titles[place], ENTRY_SIZE, color=GREY if entry.faded else INK
            )
            sheet.write(
                text,
                down + line_height(ENTRY_SIZE) * len(self._titles[place]),
                self._notes[place],
                NOTE_SIZE,
                color=GREY,
            )


@dataclass(frozen=True)
class Sign:
    """What a marker, a bar or a shade means: `marker` as of matplotlib's lines, `shade` as of its patches; either may
    be empty.
    """

    text: str
    marker: dict[str, Any] = field(default_factory=dict)
    shade: dict[str, Any] = field(default_factory=dict)


def signs_height(signs: Sequence[Sign], width: float) -> float:
    """Of the key of these signs, wrapped to that width, in inches."""
    return 0.2 * (1 + max((row for row, _ in _sign_places(signs, width)), default=-1))


def draw_signs(sheet: Sheet, left: float, top: float, width: float, signs: Sequence[Sign]) -> None:
    """A key of signs in rows, its upper left corner there."""
    for sign, (row, across) in zip(signs, _sign_places(signs, width), strict=True):
        start, middle = left + across, top + 0.2 * row + 0.08
        text = start + _swatch(sign)
        if sign.shade:
            sheet.box(start, middle - 0.055, 0.26, 0.11, **sign.shade)
        if sign.marker:
            sheet.draw(
                [start, start + 0.13, start + 0.26], [middle] * 3, markevery=[1], **sign.marker
            )
        sheet.write(
            text, middle - 0.6 * NOTE_SIZE / 72, [_sign_text(sign, width)], NOTE_SIZE, color=GREY
        )


CHANCE: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": (0, (5, 2, 1, 2))}
"""Of the line at what guessing would score."""


def dot_look(color: str, size: float = 6.2, marker: str = "o") -> dict[str, Any]:
    """Of a mean without a line."""
    return {
        "color": color,
        "linestyle": "none",
        "marker": marker,
        "markersize": size,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.6,
    }


def seed_look(color: str) -> dict[str, Any]:
    """Of one run."""
    return {
        "color": color,
        "alpha": 0.6,
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.2,
        "markeredgewidth": 0,
        "zorder": 2.5,
    }


def view_of(
    values: Sequence[float], intervals: Sequence[tuple[float, float]], least: float
) -> tuple[float, float]:
    """Limits of an axis that show all values, at least that far apart, and intervals as far as they reach no further
    than the values' own range to each side.

    An interval of two runs is 18 times as wide as their standard deviation; shown whole, it would press all else into a
    point.
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    missing = max(0.0, least - (high - low))
    low, high = low - missing / 2, high + missing / 2
    reach = high - low
    ends = [end for interval in intervals for end in interval if math.isfinite(end)]
    low, high = max(low - reach, min([low, *ends])), min(high + reach, max([high, *ends]))
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def draw_interval(
    panel: Axes, interval: tuple[float, float], at: float, *, upright: bool, **look: Any
) -> None:
    """A bar from end to end; an end outside the panel becomes an arrow at its edge. Call it once the panel has its
    limits.
    """
    view = panel.get_ylim() if upright else panel.get_xlim()
    if not all(map(math.isfinite, interval)) or interval[1] < view[0] or interval[0] > view[1]:
        return
    shown = np.clip(interval, *view).tolist()
    places = ([at, at], shown) if upright else (shown, [at, at])
    panel.plot(*places, solid_capstyle="butt", **look)
    inset = 0.012 * (view[1] - view[0])
    for end, edge, inward, marker in zip(
        interval, view, (inset, -inset), "v^" if upright else "<>", strict=True
    ):
        is_cut = end < view[0] if inward > 0 else end > view[1]
        place = edge + inward if is_cut else end
        beyond = {
            **look,
            "linestyle": "none",
            "marker": marker if is_cut else ("_" if upright else "|"),
            "markersize": 5 if is_cut else 6,
        }
        panel.plot([at] if upright else [place], [place] if upright else [at], **beyond)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as can be, in the sense of least squares, to those wanted, in their order, at least `gap` apart,
    between low and high.

    Pool adjacent violators: where neighbors are too near, they share the mean of what they want.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    pools: list[list[float]] = []
    for rank, place in enumerate(order):
        pools.append([wanted[place] - gap * rank])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    settled = [float(np.mean(pool)) for pool in pools for _ in pool]
    top = high - gap * (len(wanted) - 1)
    places = [0.0] * len(wanted)
    for rank, place in enumerate(order):
        places[place] = min(max(settled[rank], low), top) + gap * rank
    return places


def _sign_places(signs: Sequence[Sign], width: float) -> list[tuple[int, float]]:
    """Row of each sign and inches from the left."""
    places, row, across = [], 0, 0.0
    for sign in signs:
        needed = _swatch(sign) + width_of(_sign_text(sign, width), NOTE_SIZE)
        if across and across + needed > width:
            row, across = row + 1, 0.0
        places.append((row, across))
        across += needed + SIGN_GAP
    return places


def _swatch(sign: Sign) -> float:
    return 0.34 if sign.marker or sign.shade else 0.0


def _sign_text(sign: Sign, width: float) -> str:
    return shortened(sign.text, width - 0.34, NOTE_SIZE)
