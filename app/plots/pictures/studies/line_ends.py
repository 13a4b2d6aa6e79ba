"""Lines over epochs in a panel, and the numbers at their ends, which say whose they are where a legend alone would not
do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from app.plots.canvas.colors import PAPER
from app.plots.canvas.palette import LineStyle, look, spread
from app.plots.canvas.style import DPI
from app.plots.series import Series

LABEL_SIZE, LABEL_GAP, AT_EDGE = 8.0, 9.5, 14.0
"""Of the numbers at the lines' ends: their size, the least distance from one to the next, and how far from the panel's
right edge a line may end for its number to stand beside the panel; all in points.
"""


ALPHAS = ((3, 0.2), (6, 0.13), (math.inf, 0.08))
"""Opacity of the bands by the most cells it is for: many bands on each other must not hide the lines."""
LINE_WIDTH, THIN_WIDTH = 1.7, 0.8


@dataclass(frozen=True)
class CellLine:
    """A cell's line in one panel, with its place in the legend, and where it ends."""

    place: int
    series: Series
    last: tuple[float, float]


def draw_series(axes: Axes, line: CellLine, num_cells: int) -> None:
    """The mean with its range as a band; thin where later epochs are of fewer runs."""
    drawn, series = look(line.place), line.series
    alpha = next(opacity for most, opacity in ALPHAS if num_cells <= most)
    of_all = series.num_of_all
    if series.has_fewer:
        _draw_part(axes, drawn, series.part(of_all - 1, len(series)), THIN_WIDTH, alpha / 2)
    _draw_part(axes, drawn, series.part(0, of_all), LINE_WIDTH, alpha)


def _draw_part(axes: Axes, drawn: LineStyle, series: Series, width: float, alpha: float) -> None:
    """Numbers that are not finite leave gaps; what has gaps on both sides is a dot."""
    mean = series.mean
    if not len(series):
        return
    if series.num_runs > 1:
        axes.fill_between(
            series.epochs,
            series.low,
            series.high,
            where=series.is_finite.tolist(),
            color=drawn.color,
            alpha=alpha,
            linewidth=0,
            zorder=2,
        )
    axes.plot(
        series.epochs, mean, color=drawn.color, linestyle=drawn.dashes, linewidth=width, zorder=3
    )
    beside = np.pad(np.isnan(mean), 1, constant_values=True)
    alone = ~np.isnan(mean) & beside[:-2] & beside[2:]
    axes.plot(
        series.epochs[alone],
        mean[alone],
        color=drawn.color,
        marker=drawn.marker,
        markersize=4.5,
        linestyle="none",
        zorder=3,
    )


def number_ends(axes: Axes, lines: Sequence[CellLine]) -> None:
    """The cells' numbers of the legend where their lines end, beside the panel or, of a cell still in training, in it;
    moved apart where they are close.
    """
    box, scale = axes.bbox, 72 / DPI
    by_end: dict[float, list[CellLine]] = {}
    for line in lines:
        by_end.setdefault(line.last[0], []).append(line)
    for ending in by_end.values():
        ends = [axes.transData.transform(line.last) for line in ending]
        wanted = [float(end[1] - box.y0) * scale for end in ends]
        edge = float(ends[0][0]) if (box.x1 - ends[0][0]) * scale > AT_EDGE else box.x1
        for line, height in zip(
            ending, spread(wanted, LABEL_GAP, 0, box.height * scale), strict=True
        ):
            _write_number(
                axes,
                line,
                (
                    (edge - box.x0) / box.width + 11 / (box.width * scale),
                    height / (box.height * scale),
                ),
            )


def _write_number(axes: Axes, line: CellLine, place: tuple[float, float]) -> None:
    """`place`: in fractions of the panel; a thin line leads there from the line's end."""
    color = look(line.place).color
    leader: dict[str, Any] = {
        "arrowstyle": "-",
        "color": color,
        "linewidth": 0.6,
        "alpha": 0.7,
        "shrinkA": 1,
        "shrinkB": 1,
        "relpos": (0, 0.5),
    }
    label = axes.annotate(
        str(line.place + 1),
        line.last,
        place,
        textcoords="axes fraction",
        annotation_clip=False,
        arrowprops=leader,
    )
    label.set(
        ha="left",
        va="center_baseline",
        fontsize=LABEL_SIZE,
        fontweight="bold",
        color=color,
        zorder=4,
    )
    label.set_path_effects([withStroke(linewidth=2, foreground=PAPER)])
