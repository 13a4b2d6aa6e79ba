"""Which classes are taken for which: the confusion matrix as a heat-map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.colors import (
    BLUE,
    DEEP,
    DEEP_CONFUSED,
    GREY,
    GRID,
    PAPER,
    TINT,
    TINT_CONFUSED,
    VERMILION,
    color_scale,
    is_small,
    most_inches,
)
from app.plots.canvas.contrast import ink_on
from app.plots.canvas.fonts import line_height, shortened, width_of, wrapped
from app.plots.canvas.labels import cut_apart, side_by_side
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    NOTE_SIZE,
    PERCENT,
    TEXT_SIZE,
    TITLE_SIZE,
    Heading,
    Sheet,
    rendered,
)
from app.plots.figures.experiments import ConfusionFigure

MOST_TICK_LABELS = 34
NAME_INCHES = 1.3
ARROW = "\N{RIGHTWARDS ARROW}"

# Two hues that color-blind readers tell apart, each with a scale of its own, so that 2 % confused is seen beside 98 %
# correct.
CORRECT = (TINT, BLUE, DEEP)
CONFUSED = (PAPER, TINT_CONFUSED, VERMILION, DEEP_CONFUSED)

CELL_INCHES, USUAL_INCHES, LARGEST_CELL = 0.54, 5.4, 1.8
"""Of a cell with numbers the usual side, of the matrix, and of a cell of few classes."""
MATRIX_INCHES, SIDE_INCHES, SIDE_GAP, LIST_ROW = 6.2, 2.5, 0.25, 0.345
AXIS_INCHES, LEAST_INCHES = 0.3, 5.3


@dataclass(frozen=True)
class MatrixLayout:
    """In inches: the matrix with its upper left corner, the names' size in points and how much room they take below it,
    and where the list stands beside or below; the names as they are cut.
    """

    labels: Sequence[str]
    left: float
    inches: float
    size: float
    names: float
    side: float

    @property
    def below(self) -> float:
        """Of the names and the axis' own below the matrix."""
        return self.names + AXIS_INCHES + 0.08


def draw_confusion(figure: ConfusionFigure, extension: str) -> bytes:
    """The matrix, up to 12 classes with numbers in its cells, else with color scales and the most frequent confusions.
    `extension`: png, svg or pdf.
    """
    layout = _layout(figure)
    width = max(layout.left + layout.inches + layout.side + MARGIN, LEAST_INCHES)
    lines = [*figure.subtitle, *_legend(figure)]
    inches = width - 2 * MARGIN
    head = Heading(
        wrapped(figure.title, inches, TITLE_SIZE, 2, bold=True),
        [part for line in lines for part in wrapped(line, inches, TEXT_SIZE, 2)],
    )
    list_below = not figure.has_numbers and is_small()
    end = head.height + layout.inches + layout.below
    sheet = Sheet(width, end + (_list_inches(figure) if list_below else 0) + MARGIN / 2)
    head.draw(sheet)
    panel = sheet.panel(layout.left, head.height, layout.inches, layout.inches)
    scales = _draw_matrix(panel, figure, layout)
    if figure.has_numbers:
        _write_numbers(panel, figure, scales, layout)
    elif list_below:
        _draw_side(sheet, figure, scales, (MARGIN, end + 0.1, inches))
    else:
        left = layout.left + layout.inches + SIDE_GAP
        _draw_side(sheet, figure, scales, (left, head.height, SIDE_INCHES))
    return rendered(sheet.canvas, extension)


def _layout(figure: ConfusionFigure) -> MatrixLayout:
    count = len(figure.class_names)
    size = 9.5 if figure.has_numbers else 7.5
    names = cut_apart(figure.class_names, NAME_INCHES, size)
    widest = max(width_of(name, size) for name in names)
    left = MARGIN + AXIS_INCHES + widest + 0.08
    side = 0.0 if figure.has_numbers or is_small() else SIDE_GAP + SIDE_INCHES
    wanted = (
        count * min(max(USUAL_INCHES / count, CELL_INCHES), LARGEST_CELL)
        if figure.has_numbers
        else MATRIX_INCHES
    )
    inches = min(wanted, most_inches() - left - side - MARGIN - 0.05)
    turned = _turned(names, figure.has_numbers).get("rotation", 0)
    below = (
        widest
        if turned == 90
        else widest * math.sin(math.radians(turned)) + 0.4 * line_height(size)
        if turned
        else line_height(size)
    )
    return MatrixLayout(names, left, inches, size, below + 0.06, side)


def _list_inches(figure: ConfusionFigure) -> float:
    return 0.5 + LIST_ROW * len(figure.most_confused) + 1.3


def _legend(figure: ConfusionFigure) -> list[str]:
    if not figure.has_numbers:
        return []
    return [
        "in each cell the percentage of the true class, below it the images"
        if figure.by_share
        else "in each cell the images"
    ]


def _draw_matrix(
    panel: Axes, figure: ConfusionFigure, layout: MatrixLayout
) -> tuple[ScalarMappable, ScalarMappable]:
    """Cells, ticks and names; returns the scales of the diagonal and of the rest."""
    shown, num_classes = figure.shown, len(figure.class_names)
    diagonal = np.eye(num_classes, dtype=bool)
    top = 1.0 if figure.by_share else float(shown.sum(axis=1).max())
    right, wrong = color_scale("correct", CORRECT), color_scale("confused", CONFUSED)
    correct = _cells(panel, np.ma.masked_where(~diagonal, shown), right, top)
    confused = _cells(
        panel,
        np.ma.masked_where(diagonal, shown),
        wrong,
        float(shown[~diagonal].max(initial=0.0)) or top,
    )
    step = math.ceil(num_classes / MOST_TICK_LABELS)
    places, names = range(0, num_classes, step), layout.labels[::step]
    panel.set_xticks(places, names, fontsize=layout.size, **_turned(names, figure.has_numbers))
    panel.set_yticks(places, names, fontsize=layout.size)
    panel.tick_params(length=0 if step == 1 else 2.5, pad=4, color=GREY)
    middle = (num_classes - 1) / 2
    for text, place, turned in (
        ("Predicted class", (0.5, -(layout.names + 0.06) / layout.inches), 0),
        ("True class", (-(layout.left - MARGIN - 0.02) / layout.inches, 0.5), 90),
    ):
        panel.text(
            *place,
            text,
            transform=panel.transAxes,
            rotation=turned,
            rotation_mode="anchor",
            ha="center",
            va="top",
            fontsize=AXIS_SIZE,
        )
    panel.set_xlim(middle - num_classes / 2, middle + num_classes / 2)
    panel.spines[:].set(visible=True, color=GRID)
    if step == 1:
        edges = np.arange(1, num_classes) - 0.5
        panel.hlines(edges, -0.5, num_classes - 0.5, color=GRID, linewidth=0.8)
        panel.vlines(edges, -0.5, num_classes - 0.5, color=GRID, linewidth=0.8)
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
    panel: Axes,
    figure: ConfusionFigure,
    scales: tuple[ScalarMappable, ScalarMappable],
    layout: MatrixLayout,
) -> None:
    """Percent and, small below it, the count; or the count alone. Cells off the diagonal without images stay empty."""
    shown, fractions = figure.shown.tolist(), figure.fractions.tolist()
    smaller = min(1.0, layout.inches / len(figure.class_names) / 0.45)
    for (row, column), count in np.ndenumerate(figure.counts):
        if not count and row != column:
            continue
        color = ink_on(scales[row != column], shown[row][column])
        texts = (
            [(_percent(fractions[row][column]), 9.0, 4.0), (f"{count:,}", 6.5, -7.5)]
            if figure.by_share
            else [(f"{count:,}", 9.0, 0.0)]
        )
        for text, size, up in texts:
            panel.annotate(
                text,
                (column, row),
                (0, smaller * up),
                textcoords="offset points",
                ha="center",
                va="center",
                color=color,
                fontsize=smaller * size,
            )


def _draw_side(
    sheet: Sheet,
    figure: ConfusionFigure,
    scales: tuple[ScalarMappable, ScalarMappable],
    place: tuple[float, float, float],
) -> None:
    """The most frequent confusions by name, and what the colors mean. `place`: left, top and width."""
    left, top, width = place
    sheet.write(left, top, ["Most often confused"], 10, fontweight="bold")
    said = f"true {ARROW} predicted: share of the true class, images"
    sheet.write(left, top + 0.2, [shortened(said, width, NOTE_SIZE - 1)], NOTE_SIZE - 1, color=GREY)
    top += 0.43
    labels = cut_apart(figure.class_names, (width - 0.25) / 2, TEXT_SIZE - 1)
    for true, predicted in figure.most_confused:
        names = side_by_side([labels[true], labels[predicted]], f" {ARROW} ")
        share = f"{_percent(float(figure.fractions[true, predicted]))}{PERCENT}, {figure.counts[true, predicted]:,}"
        sheet.write(left, top, [names], TEXT_SIZE - 1)
        sheet.write(left, top + 0.15, [share], NOTE_SIZE - 0.5, color=GREY)
        top += LIST_ROW
    what = "share of the true class" if figure.by_share else "images"
    as_text = FuncFormatter(
        lambda value, _: f"{100 * value:.3g}{PERCENT}" if figure.by_share else f"{value:,.0f}"
    )
    for scale, label in zip(scales, (f"Right: {what}", f"Wrong: {what}"), strict=True):
        sheet.write(left, top + 0.08, [label], TEXT_SIZE - 1)
        bar = sheet.panel(left + 0.05, top + 0.27, min(0.8 * width, 2.0), 0.12)
        sheet.canvas.colorbar(
            scale, cax=bar, orientation="horizontal", ticks=MaxNLocator(4), format=as_text
        )
        bar.spines[:].set_visible(False)
        bar.tick_params(length=2, labelsize=NOTE_SIZE - 0.5, color=GREY)
        top += 0.62


def _percent(fraction: float) -> str:
    """One decimal; what is above 0 never shows as 0, nor what is below 1 as 100."""
    if 0 < fraction < 0.0005:
        return "<0.1"
    return "100" if fraction == 1 else f"{min(100 * fraction, 99.9):.1f}"
