"""Which classes are taken for which: the confusion matrix as a heat-map."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.style import BLUE, DPI, GREY, VERMILION, rendered
from app.plots.figures.experiments import ConfusionFigure

MOST_TICK_LABELS = 34
LONGEST_NAME = 16
INK, PAPER, LINES = "#1f2937", "#ffffff", "#e5e7eb"
ARROW, ELLIPSIS = "\N{RIGHTWARDS ARROW}", "\N{HORIZONTAL ELLIPSIS}"

# Two hues that color-blind readers tell apart (see style.py), each with a scale of its own, so that 2 % confused is
# seen beside 98 % correct.
CORRECT = LinearSegmentedColormap.from_list("correct", ["#dcebf5", BLUE, "#00456c"])
CONFUSED = LinearSegmentedColormap.from_list("confused", [PAPER, "#f6c9a8", VERMILION, "#8f3f00"])

MARGIN, SIDE_INCHES, LEAST_INCHES = 0.14, 2.9, 6.4
TITLE_LETTER, TEXT_LETTER, LINE_INCHES = 0.1, 0.066, 0.175
"""Mean width of a letter of the title and of the lines below it, and the height of such a line, in inches."""


def draw_confusion(figure: ConfusionFigure, extension: str) -> bytes:
    """The matrix, up to 12 classes with numbers in its cells, else with color scales and the most frequent confusions.
    `extension`: png, svg or pdf.
    """
    num_classes = len(figure.class_names)
    inches = num_classes * min(max(5.4 / num_classes, 0.54), 1.8) if figure.has_numbers else 6.8
    canvas = Figure(dpi=DPI)
    panel = canvas.add_axes((0, 0, inches / canvas.get_figwidth(), inches / canvas.get_figheight()))
    scales = _draw_matrix(panel, figure)
    _lay_out(canvas, panel, figure, inches)
    if figure.has_numbers:
        _write_numbers(panel, figure, scales)
    else:
        _draw_side(canvas, panel, figure, scales, SIDE_INCHES / inches)
    return rendered(canvas, extension)


def _lay_out(canvas: Figure, panel: Axes, figure: ConfusionFigure, inches: float) -> None:
    """Make the canvas as large as the matrix of the given side, its names as they turned out, the header, and the side
    if there is one.
    """
    names, matrix = panel.get_tightbbox(), panel.get_window_extent()
    assert names is not None
    left, bottom, right = (
        (distance / canvas.dpi) + MARGIN
        for distance in (matrix.x0 - names.x0, matrix.y0 - names.y0, names.x1 - matrix.x1)
    )
    width = max(left + inches + (right if figure.has_numbers else SIDE_INCHES), LEAST_INCHES)
    lines = [*figure.subtitle, *_legend(figure)]
    header = 2 * MARGIN + 0.27 + LINE_INCHES * len(lines)
    height = bottom + inches + header
    canvas.set_size_inches(width, height)
    panel.set_position((left / width, bottom / height, inches / width, inches / height))
    letters = width - 2 * MARGIN
    canvas.text(
        MARGIN / width,
        1 - MARGIN / height,
        _shortened(figure.title, int(letters / TITLE_LETTER)),
        va="top",
        fontsize=12.5,
        fontweight="bold",
        color=INK,
    )
    for number, line in enumerate(lines):
        down = MARGIN + 0.27 + LINE_INCHES * number
        canvas.text(
            MARGIN / width,
            1 - down / height,
            _shortened(line, int(letters / TEXT_LETTER)),
            va="top",
            fontsize=9,
            color=GREY,
        )


def _legend(figure: ConfusionFigure) -> list[str]:
    if not figure.has_numbers:
        return []
    return [
        "in each cell the percentage of the true class, below it the images"
        if figure.by_share
        else "in each cell the images"
    ]


def _draw_matrix(panel: Axes, figure: ConfusionFigure) -> tuple[ScalarMappable, ScalarMappable]:
    """Cells, ticks and names; returns the scales of the diagonal and of the rest."""
    shown, num_classes = figure.shown, len(figure.class_names)
    diagonal = np.eye(num_classes, dtype=bool)
    top = 1.0 if figure.by_share else float(shown.sum(axis=1).max())
    correct = _cells(panel, np.ma.masked_where(~diagonal, shown), CORRECT, top)
    confused = _cells(
        panel,
        np.ma.masked_where(diagonal, shown),
        CONFUSED,
        float(shown[~diagonal].max(initial=0.0)) or top,
    )
    step = math.ceil(num_classes / MOST_TICK_LABELS)
    places, names = (
        range(0, num_classes, step),
        [_shortened(name, LONGEST_NAME) for name in figure.class_names[::step]],
    )
    size = 10 if figure.has_numbers else 7.5
    panel.set_xticks(places, names, fontsize=size, **_turned(names, figure.has_numbers))
    panel.set_yticks(places, names, fontsize=size)
    panel.tick_params(length=0 if step == 1 else 2.5, pad=4, color=GREY)
    panel.set_xlabel("Predicted class", labelpad=7)
    panel.set_ylabel("True class", labelpad=7)
    panel.spines[:].set(visible=True, color=LINES)
    if step == 1:
        edges = np.arange(1, num_classes) - 0.5
        panel.hlines(edges, -0.5, num_classes - 0.5, color=LINES, linewidth=0.8)
        panel.vlines(edges, -0.5, num_classes - 0.5, color=LINES, linewidth=0.8)
    return correct, confused


def _turned(names: Sequence[str], has_numbers: bool) -> dict[str, Any]:
    """How names stand below their columns: as they are where they fit, else turned."""
    if not has_numbers:
        return {"rotation": 90}
    return (
        {}
        if max(map(len, names)) <= 3
        else {"rotation": 38, "ha": "right", "rotation_mode": "anchor"}
    )


def _cells(
    panel: Axes, values: npt.NDArray[np.float64], colors: Colormap, top: float
) -> ScalarMappable:
    return panel.imshow(values, cmap=colors, norm=Normalize(0, top), interpolation="nearest")


def _write_numbers(
    panel: Axes, figure: ConfusionFigure, scales: tuple[ScalarMappable, ScalarMappable]
) -> None:
    """Percent and, small below it, the count; or the count alone. Cells off the diagonal without images stay empty."""
    shown, fractions = figure.shown.tolist(), figure.fractions.tolist()
    for (row, column), count in np.ndenumerate(figure.counts):
        if not count and row != column:
            continue
        color = _ink_on(scales[row != column], shown[row][column])
        texts = (
            [(_percent(fractions[row][column]), 9.0, 4.0), (f"{count:,}", 6.5, -7.5)]
            if figure.by_share
            else [(f"{count:,}", 9.0, 0.0)]
        )
        for text, size, up in texts:
            panel.annotate(
                text,
                (column, row),
                (0, up),
                textcoords="offset points",
                ha="center",
                va="center",
                color=color,
                fontsize=size,
            )


def _draw_side(
    canvas: Figure,
    panel: Axes,
    figure: ConfusionFigure,
    scales: tuple[ScalarMappable, ScalarMappable],
    width: float,
) -> None:
    """The most frequent confusions by name, and what the colors mean, right of the matrix. `width`: in its sides."""
    left = 1 + 0.1 * width
    place: dict[str, Any] = {"va": "top", "transform": panel.transAxes}
    panel.text(left, 1, "Most often confused", fontsize=10, fontweight="bold", color=INK, **place)
    panel.text(
        left,
        0.966,
        f"true {ARROW} predicted: share of the true class, images",
        fontsize=7,
        color=GREY,
        **place,
    )
    for number, (true, predicted) in enumerate(figure.most_confused):
        names = f" {ARROW} ".join(
            _shortened(figure.class_names[index], LONGEST_NAME) for index in (true, predicted)
        )
        share = f"{_percent(float(figure.fractions[true, predicted]))} %, {figure.counts[true, predicted]:,}"
        panel.text(left, 0.925 - 0.052 * number, names, fontsize=8.5, color=INK, **place)
        panel.text(left, 0.902 - 0.052 * number, share, fontsize=7.5, color=GREY, **place)
    what = "share of the true class" if figure.by_share else "images"
    for bottom, scale, label in zip(
        (0.13, 0.03), scales, (f"Right: {what}", f"Wrong: {what}"), strict=True
    ):
        bar = panel.inset_axes((left, bottom, 0.75 * width, 0.02))
        as_text = FuncFormatter(
            lambda value, _: f"{100 * value:.3g} %" if figure.by_share else f"{value:,.0f}"
        )
        canvas.colorbar(
            scale, cax=bar, orientation="horizontal", ticks=MaxNLocator(4), format=as_text
        )
        bar.spines[:].set_visible(False)
        bar.tick_params(length=2, labelsize=7.5, color=GREY)
        bar.set_title(label, loc="left", fontsize=8.5, color=INK, pad=4)


def _ink_on(scale: ScalarMappable, value: float) -> str:
    """Dark or white, whichever is read better on the value's color; the weights are ITU-R BT.709's for luminance."""
    red, green, blue, _ = scale.to_rgba(np.array([value]))[0]
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.52 else PAPER


def _percent(fraction: float) -> str:
    """One decimal; what is above 0 never shows as 0, nor what is below 1 as 100."""
    if 0 < fraction < 0.0005:
        return "<0.1"
    return "100" if fraction == 1 else f"{min(100 * fraction, 99.9):.1f}"


def _shortened(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + ELLIPSIS
