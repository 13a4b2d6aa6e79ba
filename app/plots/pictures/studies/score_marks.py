"""How scores of a study's cells are marked in a picture: seeds, means with intervals, what the source published, and
their axis.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from app.plots.canvas.colors import GREY
from app.plots.canvas.palette import CHANCE, TICK_STEPS, Sign, dot_look, look, seed_look, view_of
from app.plots.canvas.percents import PercentFormatter
from app.plots.canvas.scales import View, least_span
from app.plots.canvas.style import (
    AXIS_SIZE,
    NOTE_SIZE,
    TICK_SIZE,
    say_in_middle,
)
from app.plots.figures.scores import FactorFigure, ScorePanel

BELOW_INCHES = 0.55
"""Of the axis' numbers and name."""


def scores_of(shown: ScorePanel) -> list[float]:
    """The finite ones of the runs, and what the source published."""
    return [
        score
        for point in shown.points
        for score in [*point.scores, *([point.published] if point.published is not None else [])]
    ]


def score_view(shown: ScorePanel) -> View:
    """From where to where the axis of the scores reaches."""
    scores = scores_of(shown)
    least = least_span(max(map(abs, scores), default=0.0), as_percent=shown.as_percent)
    low, high = view_of(scores, [point.ci95 for point in shown.points if point.ci95], least)
    if shown.as_percent:
        room = 0.03 * (high - low)
        low, high = max(low, min([0.0, *scores]) - room), min(high, max([1.0, *scores]) + room)
    return low, high


def score_axis(panel: Axes, shown: ScorePanel, *, upright: bool) -> None:
    """Scale and label the axis of the scores, which is the vertical one if `upright`."""
    low, high = score_view(shown)
    scores = scores_of(shown)
    axis = panel.yaxis if upright else panel.xaxis
    if not scores:
        say_in_middle(panel, "nothing measured yet", AXIS_SIZE)
        axis.set_ticks([])
        return
    (panel.set_ylim if upright else panel.set_xlim)(low, high)
    axis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    if shown.as_percent:
        axis.set_major_formatter(PercentFormatter())
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=TICK_SIZE, color=GREY)
    draw_chance(panel, shown.chance, upright=upright)


def draw_chance(panel: Axes, chance: float | None, *, upright: bool) -> None:
    """A line at what guessing would score, where the axis of the scores, the vertical one if `upright`, has it."""
    low, high = panel.get_ylim() if upright else panel.get_xlim()
    if chance is None or not low < chance < high:
        return
    (panel.axhline if upright else panel.axvline)(chance, zorder=1, **CHANCE)
    panel.annotate(
        "chance",
        (1.0, chance) if upright else (chance, 1.0),
        (-2, 3) if upright else (3, -9),
        xycoords=panel.get_yaxis_transform() if upright else panel.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if upright else "left",
        color=GREY,
        fontsize=NOTE_SIZE,
    )


def runs_said(counts: Sequence[int]) -> str:
    """Such as `n = 3 runs`; needs a count."""
    if min(counts) != max(counts):
        return f"n = {min(counts)} to {max(counts)} runs"
    return f"n = {counts[0]} run{'s' if counts[0] > 1 else ''}"


def signs_of(figure: FactorFigure, *, has_pairs: bool = False) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    bar = {"color": GREY, "marker": "o", "markersize": 5.5, "linewidth": 1.3}
    signs = [
        (Sign("one run (seed)", seed_look(GREY)), any(point.scores for point in figure.points)),
        (Sign("runs with the same seed", pair_look(GREY)), has_pairs),
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
    joined = {"linestyle": drawn.dashes, "linewidth": 1.6} if is_joined else {}
    return {**dot_look(drawn.color, marker=drawn.marker), **joined}


def pair_look(color: str) -> dict[str, Any]:
    """Of what joins the runs with one seed."""
    return {"color": color, "linewidth": 0.7, "alpha": 0.45, "zorder": 2}


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
