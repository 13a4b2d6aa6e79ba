"""How scores of a study's cells are marked in a picture: seeds, means with intervals, what the source published, and
their axis.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from app.plots.canvas.palette import TICK_STEPS, Sign, look, view_of
from app.plots.canvas.style import GREY, PAPER
from app.plots.figures.studies import FactorFigure

LABEL_SIZE = 8.5
BELOW_INCHES = 0.55
"""Of the axis' numbers and name."""

LEAST_SHARE, LEAST_RELATIVE = 0.01, 0.02
"""What an axis spans at least: one percentage point where scores are fractions, else that part of the largest score."""


def score_axis(panel: Axes, figure: FactorFigure, *, upright: bool) -> None:
    """Scale and label the axis of the scores, which is the vertical one if `upright`."""
    scores = [
        score
        for point in figure.points
        for score in [*point.scores, *([point.published] if point.published is not None else [])]
    ]
    least = (
        LEAST_SHARE
        if figure.as_percent
        else LEAST_RELATIVE * max(map(abs, scores), default=0.0) or 1.0
    )
    low, high = view_of(scores, [point.ci95 for point in figure.points if point.ci95], least)
    if figure.as_percent:
        room = 0.03 * (high - low)
        low, high = max(low, min([0.0, *scores]) - room), min(high, max([1.0, *scores]) + room)
    axis = panel.yaxis if upright else panel.xaxis
    if not scores:
        panel.text(
            0.5,
            0.5,
            "nothing measured yet",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color=GREY,
            fontsize=9,
        )
        axis.set_ticks([])
        return
    (panel.set_ylim if upright else panel.set_xlim)(low, high)
    axis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    if figure.as_percent:
        axis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None, symbol=" %"))
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=LABEL_SIZE, color=GREY)


def runs_said(counts: Sequence[int]) -> str:
    """Such as `n = 3 runs`; needs a count."""
    if min(counts) != max(counts):
        return f"n = {min(counts)} to {max(counts)} runs"
    return f"n = {counts[0]} run{'s' if counts[0] > 1 else ''}"


def signs_of(figure: FactorFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    bar = {"color": GREY, "marker": "o", "markersize": 5.5, "linewidth": 1.3}
    signs = [
        (Sign("one run (seed)", seed_look(GREY)), any(point.scores for point in figure.points)),
        (
            Sign("mean of the runs and 95 % interval of the mean", bar),
            any(point.ci95 for point in figure.points),
        ),
        (
            Sign("mean of the runs", {**bar, "linestyle": "none"}),
            figure.is_scatter and any(len(point.scores) > 1 for point in figure.points),
        ),
        (
            Sign("published by the source", published_look(GREY)),
            any(point.published is not None for point in figure.points),
        ),
    ]
    return [sign for sign, is_there in signs if is_there]


def line_look(number: int, *, is_joined: bool = True) -> dict[str, Any]:
    """Of the means of a group, and of the line that joins them if one does."""
    drawn = look(number)
    return {
        "color": drawn.color,
        "linestyle": drawn.dashes if is_joined else "none",
        "linewidth": 1.6,
        "marker": drawn.marker,
        "markersize": 6.2,
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


def published_look(color: str) -> dict[str, Any]:
    """Of what the source published."""
    return {
        "color": color,
        "linestyle": "none",
        "marker": "D",
        "markersize": 7.5,
        "markerfacecolor": "none",
        "markeredgewidth": 1.3,
        "zorder": 4,
    }
