"""Gradient norms of all cells of a study: a small heat map per cell, layers by epochs, with one scale of colors for
all.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from app.plots.canvas.colors import (
    GREY,
    INK,
    PAPER,
    UNMEASURED,
    VERMILION,
    is_small,
    most_inches,
)
from app.plots.canvas.fonts import line_height, width_of, wrapped
from app.plots.canvas.labels import cut_apart
from app.plots.canvas.norms import Norms, decades_of, edges_of, thinned
from app.plots.canvas.palette import TICK_STEPS, Sign, draw_signs, signs_height
from app.plots.canvas.style import (
    DPI,
    MARGIN,
    Sheet,
    heading,
    power_of_ten,
    rendered,
    say_in_middle,
)
from app.plots.figures.studies import GradientPanel, StudyGradientsFigure

# perceptually uniform, and made to be so for color-blind readers too: https://bids.github.io/colormap/
COLORS = "viridis"
PANEL_INCHES = {1: (5.6, 3.4), 2: (4.0, 2.7), 3: (2.28, 2.1)}
"""A panel's heat map by the number of columns."""

NAMES_INCHES, COLUMN_GAP, EPOCHS_INCHES, ROW_GAP = 1.0, 0.22, 0.4, 0.24
TITLE_SIZE, CAPTION_SIZE, LABEL_SIZE = 9.5, 8.5, 7.5
TITLE_LINES, CAPTION_LINES = 2, 5
BAR_INCHES, KEY_INCHES = (3.4, 0.13), 0.72
MOST_COLUMNS = 400
"""More epochs than that are thinned out: a panel has no more pixels."""


def draw_study_gradients(figure: StudyGradientsFigure, extension: str) -> bytes:
    """The input at the bottom of each panel, epochs to the right, color the L2 norm, logarithmic. `extension`: png, svg
    or pdf.
    """
    count = max(1, len(figure.panels))
    columns = 1 if is_small() else count if count <= 3 else 2 if count == 4 else 3
    width, height = _panel_inches(columns)
    across = NAMES_INCHES + width + COLUMN_GAP
    titles = [
        wrapped(panel.title, across - COLUMN_GAP, TITLE_SIZE, TITLE_LINES, bold=True)
        for panel in figure.panels
    ]
    captions = [
        wrapped(panel.caption, across - COLUMN_GAP, CAPTION_SIZE, CAPTION_LINES)
        for panel in figure.panels
    ]
    rows = [
        range(first, min(first + columns, len(figure.panels)))
        for first in range(0, len(figure.panels), columns)
    ]
    overs = [
        line_height(TITLE_SIZE) * max(len(titles[place]) for place in row) + 0.08 for row in rows
    ]
    unders = [
        EPOCHS_INCHES
        + line_height(CAPTION_SIZE) * max(len(captions[place]) for place in row)
        + ROW_GAP
        for row in rows
    ]
    paper = 2 * MARGIN + across * columns - COLUMN_GAP
    head, signs, limits = (
        heading(figure.title, figure.subtitle, paper),
        _signs(figure),
        decades_of(_all(figure)),
    )
    top = head.height + KEY_INCHES
    below = top + (0 if rows else 0.25) + sum(overs) + sum(unders) + height * len(rows)
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    _draw_bar(sheet, head.height, limits)
    sheet.write(MARGIN, top - 0.1, [] if figure.panels else ["nothing measured yet"], color=GREY)
    for row, over, under in zip(rows, overs, unders, strict=True):
        for column, place in enumerate(row):
            left = MARGIN + across * column
            sheet.write(
                left,
                top + over - 0.08 - line_height(TITLE_SIZE) * len(titles[place]),
                titles[place],
                TITLE_SIZE,
                fontweight="bold",
            )
            _draw_panel(
                sheet.panel(left + NAMES_INCHES, top + over, width, height),
                figure.panels[place],
                limits,
            )
            sheet.write(
                left, top + over + height + EPOCHS_INCHES, captions[place], CAPTION_SIZE, color=GREY
            )
        top += over + height + under
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _panel_inches(columns: int) -> tuple[float, float]:
    room = most_inches() - 2 * MARGIN - NAMES_INCHES
    return (room, 0.6 * room) if is_small() else PANEL_INCHES[columns]


def _draw_panel(axes: Axes, panel: GradientPanel, limits: tuple[float, float]) -> None:
    axes.set_facecolor(UNMEASURED)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2, labelsize=LABEL_SIZE, color=GREY, pad=2)
    if not panel.epochs or not panel.layers:
        axes.set_xticks([])
        axes.set_yticks([])
        say_in_middle(axes, "nothing measured yet", CAPTION_SIZE)
        return
    axes.set_xlabel("Epoch", fontsize=LABEL_SIZE + 0.5, labelpad=2)
    columns = thinned(len(panel.epochs), MOST_COLUMNS)
    # (epochs, layers) -> (layers, epochs)
    epochs, norms = ([panel.epochs[column] for column in columns], panel.norms[columns].T)
    edges = edges_of(epochs)
    shown = np.ma.masked_invalid(np.where(norms == 0, limits[0] / 10, norms.clip(*limits)))
    axes.pcolormesh(
        edges,
        np.arange(len(panel.layers) + 1) - 0.5,
        shown,
        cmap=_colors(),
        norm=LogNorm(*limits),
        rasterized=True,
    )
    if epochs[0] == 0 and len(epochs) > 1:
        axes.axvline(edges[1], color=PAPER, linewidth=1.5)
    _label_epochs(axes, epochs, edges)
    _label_layers(axes, panel.layers)


def _label_epochs(axes: Axes, epochs: Sequence[int], edges: Norms) -> None:
    """A few round epochs, and `init`."""
    centers = (edges[1:] + edges[:-1]) / 2
    start = [(float(centers[0]), "init")] if epochs[0] == 0 else []
    trained = [epoch for epoch in epochs if epoch > 0]
    wanted = (
        MaxNLocator(nbins=4, integer=True, min_n_ticks=1, steps=TICK_STEPS).tick_values(
            trained[0], trained[-1]
        )
        if len(trained) > 1
        else trained
    )
    chosen = sorted({round(tick) for tick in wanted if trained[0] <= tick <= trained[-1]})
    least = 0.16 * float(edges[-1])  # two labels nearer than that would touch
    ticks = start
    for epoch in chosen:
        place = float(np.interp(epoch, epochs, centers))
        ticks = ticks if ticks and place - ticks[-1][0] < least else [*ticks, (place, str(epoch))]
    axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks])


def _label_layers(axes: Axes, layers: Sequence[str]) -> None:
    """As many names as fit, evenly chosen, always with the first and the last."""
    last = len(layers) - 1
    most = max(2, int(axes.bbox.height / DPI / (1.5 * line_height(LABEL_SIZE))))
    step = math.ceil(len(layers) / most)
    ticks = [*(place for place in range(0, last, step) if last - place >= step or place == 0), last]
    axes.set_ylim(-0.5, last + 0.5)
    names = [layer.removesuffix(".weight") for layer in layers]
    labels = cut_apart(names, NAMES_INCHES - 0.08, LABEL_SIZE)
    axes.set_yticks(ticks, [labels[place] for place in ticks])


def _draw_bar(sheet: Sheet, top: float, limits: tuple[float, float]) -> None:
    """What the colors mean, for all panels."""
    sheet.write(
        MARGIN, top, ["L2 norm of each weight's gradient (log scale)"], CAPTION_SIZE, color=INK
    )
    bar = sheet.panel(MARGIN + 0.12, top + 0.24, *BAR_INCHES)
    sheet.canvas.colorbar(
        ScalarMappable(LogNorm(*limits), _colors()),
        cax=bar,
        orientation="horizontal",
        format=FuncFormatter(power_of_ten),
    )
    bar.minorticks_off()
    bar.set_xticks(_powers(limits))
    bar.spines[:].set_visible(False)
    bar.tick_params(length=2, labelsize=LABEL_SIZE, color=GREY)


def _colors() -> Colormap:
    """Below the scale, where zeros are put, has a color of its own."""
    return colormaps[COLORS].with_extremes(under=VERMILION)


def _powers(limits: tuple[float, float]) -> list[float]:
    low, high = round(math.log10(limits[0])), round(math.log10(limits[1]))
    most = int(BAR_INCHES[0] / (width_of("10⁻¹⁰", LABEL_SIZE) + 0.1))
    return [10.0**exponent for exponent in range(low, high + 1, math.ceil((high - low + 1) / most))]


def _signs(figure: StudyGradientsFigure) -> list[Sign]:
    norms = _all(figure)
    signs = [Sign("layers from the input at the bottom to the output at the top")]
    signs += [Sign("exactly 0", shade={"facecolor": VERMILION})] if (norms == 0).any() else []
    return signs + (
        [Sign("not measured", shade={"facecolor": UNMEASURED})]
        if not np.isfinite(norms).all()
        else []
    )


def _all(figure: StudyGradientsFigure) -> Norms:
    return np.concatenate([np.empty(0), *(panel.norms.ravel() for panel in figure.panels)])
