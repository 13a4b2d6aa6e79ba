"""Curves as text: a grid of signs with numbers at its axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

HEIGHT: Final = 13
FEWEST_COLUMNS: Final = 12
"""Of the grid, however narrow the terminal is."""


@dataclass(frozen=True)
class Curve:
    """A line: its name, the sign that draws it, and its points (x, y) by rising x."""

    name: str
    sign: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """The signs of the axes."""

    vertical: str
    tick: str
    corner: str
    horizontal: str


UNICODE: Final = Frame("│", "┤", "└", "─")
ASCII: Final = Frame("|", "+", "+", "-")


def plot(
    title: str, curves: Sequence[Curve], width: int, frame: Frame = UNICODE, height: int = HEIGHT
) -> list[str]:
    """The lines of a picture at most `width` columns wide, and `height` rows high without title and x axis. Of curves
    on the same place the last is seen. Empty where no curve has a point.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        return []
    low, high = _range([y for _, y in points])
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    rows = {0: high, (height - 1) // 2: 0.0, height - 1: low}
    rows[(height - 1) // 2] = high - (high - low) * ((height - 1) // 2) / (height - 1)
    numbers = {row: number(value, high - low) for row, value in rows.items()}
    margin = max(map(len, numbers.values()))
    columns = max(FEWEST_COLUMNS, width - margin - 2)
    grid = [[" "] * columns for _ in range(height)]
    for curve in curves:
        for column, y in _cells(curve.points, left, right, columns):
            grid[round((high - y) / (high - low) * (height - 1))][column] = curve.sign
    legend = "  ".join(f"{curve.sign} {curve.name}" for curve in curves if curve.points)
    lines = [f"{title}   {legend}"]
    for row, signs in enumerate(grid):
        edge = frame.tick if row in numbers else frame.vertical
        lines.append(f"{numbers.get(row, ''):>{margin}} {edge}{''.join(signs)}".rstrip())
    lines.append(f"{'':{margin}} {frame.corner}{frame.horizontal * columns}")
    first, last = f"{left:g}", f"{right:g}"
    between = max(1, columns - len(first) - len(last))
    lines.append(f"{'':{margin}}  {first}" + (f"{'':{between}}{last}" if right > left else ""))
    return lines


def number(value: float, spread: float) -> str:
    """With as many digits as tell the numbers of an axis of that spread apart."""
    digits = max(0, 2 - math.floor(math.log10(spread)))
    if digits > 6 or abs(value) >= 1e6:
        return f"{value:.3e}"
    return f"{value:.{digits}f}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest; where that is one, a little around it."""
    low, high = min(values), max(values)
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    around = abs(low) / 10 or 1.0
    return low - around, high + around


def _cells(
    points: Sequence[tuple[float, float]], left: float, right: float, columns: int
) -> list[tuple[int, float]]:
    """A curve as (column, y): straight from point to point."""

    def column_of(x: float) -> int:
        return round((x - left) / (right - left) * (columns - 1)) if right > left else 0

    found = [(column_of(points[0][0]), points[0][1])] if points else []
    for (a, y), (b, z) in pairwise(points):
        first, last = column_of(a), column_of(b)
        steps = max(1, last - first)
        found += [
            (first + step if last > first else last, y + (z - y) * step / steps)
            for step in range(1, steps + 1)
        ]
    return found
