"""Gradient norms by layer and epoch: a heat map beside profiles of chosen epochs, the input at the bottom."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from app.plots.canvas.colors import (
    BLUE,
    GREY,
    GRID,
    PAPER,
    UNMEASURED,
    VERMILION,
    is_small,
    most_inches,
)
from app.plots.canvas.fonts import line_height
from app.plots.canvas.labels import cut_apart
from app.plots.canvas.norms import decades_of, edges_of, thinned
from app.plots.canvas.palette import TICK_STEPS, Sign, draw_signs, signs_height
from app.plots.canvas.style import (
    AXIS_SIZE,
    DPI,
    MARGIN,
    NOTE_SIZE,
    PANEL_SIZE,
    TICK_SIZE,
    Sheet,
    heading,
    power_of_ten,
    rendered,
    say_in_middle,
)
from app.plots.figures.experiments import GradientFlowFigure

# perceptually uniform, and made to be so for color-blind readers too: https://bids.github.io/colormap/
COLORS = "viridis"
NAMES_INCHES, BAR_INCHES, BAR_GAP, BAR_NAMES, GAP = 1.35, 0.15, 0.12, 0.5, 0.3
PROFILE_SHARE = 0.4
"""Of the width that both panels have."""
TITLE_INCHES, EPOCHS_INCHES = 0.3, 0.5
LAYER_INCHES, LEAST_INCHES, MOST_INCHES = 0.165, 2.4, 8.4
MOST_EPOCH_LABELS = 12
MOST_COLUMNS = 1000
MOST_MARKED = 45
LINES: tuple[dict[str, Any], ...] = (
    {"color": GREY, "linestyle": (0, (5, 1.8)), "linewidth": 1.5},
    {"color": VERMILION, "linestyle": (0, (1.6, 1.3)), "linewidth": 1.5},
    {"color": BLUE, "linestyle": "-", "linewidth": 1.9},
)
"""Of the profiles, in their order."""


def draw_gradient_flow(figure: GradientFlowFigure, extension: str) -> bytes:
    """Layers upward from the input, epochs to the right, color the L2 norm; beside it, or of a small picture below it,
    the norms of first and last epochs. `extension`: png, svg or pdf.
    """
    paper = most_inches()
    notes = [note[:1].upper() + note[1:] for note in figure.verdicts]
    head = heading(figure.title, figure.subtitle, paper, notes)
    height = min(max(LAYER_INCHES * len(figure.layers), LEAST_INCHES), MOST_INCHES)
    has_any = bool(figure.epochs) and len(figure.layers) > 0
    rows = 2 if is_small() and has_any else 1
    signs = _signs(figure) if has_any else []
    below = head.height + rows * (TITLE_INCHES + height + EPOCHS_INCHES) + 0.04
    sheet = Sheet(paper, below + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    (heat, profile), bar = _panels(sheet, head.height + TITLE_INCHES, height)
    if has_any:
        limits = decades_of(figure.norms)
        _draw_heat_map(heat, figure, limits)
        _draw_bar(sheet, bar, limits)
        _draw_profiles(profile, figure, limits)
        for panel in (heat, profile) if is_small() else (heat,):
            _label_layers(panel, figure, height)
    else:
        _draw_nothing(heat)
        profile.set_axis_off()
        bar.set_axis_off()
    draw_signs(sheet, MARGIN, below, paper - 2 * MARGIN, signs)
    return rendered(sheet.canvas, extension)


def _panels(sheet: Sheet, top: float, height: float) -> tuple[tuple[Axes, Axes], Axes]:
    """Heat map and profiles, and the bar of colors."""
    left = MARGIN + NAMES_INCHES
    beside_bar = BAR_GAP + BAR_INCHES + BAR_NAMES
    room = sheet.width - left - MARGIN
    if is_small():
        width = room - beside_bar
        second = top + height + EPOCHS_INCHES + TITLE_INCHES
        places = (left, top, width, height), (left, second, width, height)
    else:
        room -= beside_bar + GAP
        width = (1 - PROFILE_SHARE) * room
        places = (
            (left, top, width, height),
            (left + width + beside_bar + GAP, top, PROFILE_SHARE * room, height),
        )
    heat, profile = (sheet.panel(*place) for place in places)
    profile.set_ylim(heat.get_ylim())
    return (heat, profile), sheet.panel(left + width + BAR_GAP, top, BAR_INCHES, height)


def _draw_nothing(panel: Axes) -> None:
    panel.set_xlabel("Epoch", fontsize=AXIS_SIZE)
    panel.set_ylabel("Layer", fontsize=AXIS_SIZE)
    panel.set_xticks([])
    panel.set_yticks([])
    say_in_middle(panel, "nothing measured yet")


def _draw_heat_map(panel: Axes, figure: GradientFlowFigure, limits: tuple[float, float]) -> None:
    """One column per epoch; 0 and what was not measured have colors of their own, named below."""
    columns = thinned(len(figure.epochs), MOST_COLUMNS)
    norms = figure.norms[columns].T
    edges = edges_of([figure.epochs[column] for column in columns])
    rows = np.arange(len(figure.layers) + 1) - 0.5
    panel.set_facecolor(UNMEASURED)
    panel.set_title("L2 norm of each weight's gradient", loc="left", fontsize=PANEL_SIZE, pad=7)
    shown = np.ma.masked_invalid(np.where(norms == 0, limits[0] / 10, norms))
    colors = colormaps[COLORS].with_extremes(under=VERMILION)
    panel.pcolormesh(edges, rows, shown, cmap=colors, norm=LogNorm(*limits), rasterized=True)
    if figure.epochs[0] == 0 and len(figure.epochs) > 1:
        panel.axvline(edges[1], color=PAPER, linewidth=2)
    panel.spines[:].set_visible(False)
    _label_epochs(panel, [figure.epochs[column] for column in columns], edges)


def _runs_said(figure: GradientFlowFigure) -> str:
    """Of how many runs the means are, and from which epoch on of fewer."""
    fewer = [
        epoch
        for epoch, count in zip(figure.epochs, figure.num_runs, strict=True)
        if count < figure.runs
    ]
    less = f", fewer from epoch {fewer[0]}" if fewer else ""
    return f"geometric mean of {figure.runs} runs{less}"


def _draw_bar(sheet: Sheet, bar: Axes, limits: tuple[float, float]) -> None:
    sheet.canvas.colorbar(
        ScalarMappable(LogNorm(*limits), colormaps[COLORS]),
        cax=bar,
        format=FuncFormatter(power_of_ten),
    )
    bar.spines[:].set_visible(False)
    bar.tick_params(labelsize=NOTE_SIZE, length=2, color=GREY)
    bar.minorticks_off()


def _draw_profiles(panel: Axes, figure: GradientFlowFigure, limits: tuple[float, float]) -> None:
    """The norms along the layers at initialization, in the first epoch and in the last; layers outside the fit as
    rings.
    """
    places, fitted = np.arange(len(figure.layers)), np.array(figure.is_fitted, dtype=bool)
    marker = "o" if len(places) <= MOST_MARKED else ""
    panel.set_ylim(-0.5, len(places) - 0.5)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(power_of_ten))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(limits[0] / 1.35, limits[1] * 1.35)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for (row, _), look in zip(_profiles(figure), LINES, strict=False):
        norms = figure.norms[row]
        path, beside = np.where(norms > 0, norms, np.nan)[fitted], ~fitted & (norms > 0)
        panel.plot(path, places[fitted], marker=marker, markersize=3.5, **look)
        panel.plot(norms[beside], places[beside], **_ring(look["color"]))
        zero = places[norms == 0]
        panel.plot(
            np.full(len(zero), 0.012),
            zero,
            transform=panel.get_yaxis_transform(),
            **_arrow(look["color"]),
        )
    panel.set_title("Along the layers", loc="left", fontsize=PANEL_SIZE, pad=7)
    panel.set_xlabel("L2 norm of the weight's gradient", fontsize=AXIS_SIZE)
    panel.set_yticks([])
    panel.tick_params(axis="x", labelsize=TICK_SIZE, color=GREY)


def _ring(color: str) -> dict[str, Any]:
    return {
        "color": color,
        "linestyle": "none",
        "marker": "o",
        "markersize": 4.5,
        "markerfacecolor": PAPER,
        "markeredgewidth": 1.1,
    }


def _arrow(color: str) -> dict[str, Any]:
    return {"color": color, "linestyle": "none", "marker": "<", "markersize": 4}


def _signs(figure: GradientFlowFigure) -> list[Sign]:
    """What the picture needs to be read, and no more."""
    names = [name for _, name in _profiles(figure)]
    signs = [
        (Sign(name, {**look, "marker": "o", "markersize": 3.5}), True)
        for name, look in zip(names, LINES, strict=False)
    ]
    has_zeros = bool((figure.norms == 0).any())
    signs += [
        (Sign("not in slope", _ring(GREY)), not all(figure.is_fitted)),
        (Sign("exactly 0", _arrow(GREY), {"facecolor": VERMILION}), has_zeros),
        (
            Sign("not measured", shade={"facecolor": UNMEASURED}),
            bool(np.isnan(figure.norms).any()),
        ),
        (Sign(_runs_said(figure)), figure.runs > 1),
    ]
    return [sign for sign, is_there in signs if is_there]


def _profiles(figure: GradientFlowFigure) -> list[tuple[int, str]]:
    """Rows to be drawn as lines with their names: initialization, the first epoch, the last."""
    after = [row for row, epoch in enumerate(figure.epochs) if epoch > 0]
    rows = [0] if figure.epochs[0] == 0 else []
    return [
        (row, _epoch_name(figure, row)) for row in dict.fromkeys([*rows, *after[:1], *after[-1:]])
    ]


def _epoch_name(figure: GradientFlowFigure, row: int) -> str:
    name = "init" if figure.epochs[row] == 0 else f"epoch {figure.epochs[row]}"
    return (
        name
        if figure.num_runs[row] == figure.runs
        else f"{name} ({figure.num_runs[row]} of {figure.runs} runs)"
    )


def _label_layers(panel: Axes, figure: GradientFlowFigure, height: float) -> None:
    """Names of all layers where they fit, else of every second, third and so on, always with the first and the last."""
    last = len(figure.layers) - 1
    size = TICK_SIZE if len(figure.layers) <= 24 else NOTE_SIZE - 0.5
    step = math.ceil(len(figure.layers) / max(2, int(height / line_height(size))))
    ticks = [
        *(place for place in range(0, last, step) if last - place >= step / 2 or place == 0),
        last,
    ]
    panel.set_ylim(-0.5, last + 0.5)
    labels = cut_apart(figure.layers, NAMES_INCHES - 0.3, size)
    names = [labels[place] for place in ticks]
    panel.set_yticks(ticks, names, fontsize=size)
    panel.tick_params(axis="y", length=0, pad=3)
    panel.text(
        -NAMES_INCHES * 0.96 / (panel.bbox.width / DPI),
        0.5,
        "Layer, the input at the bottom",
        transform=panel.transAxes,
        rotation=90,
        rotation_mode="anchor",
        ha="center",
        va="top",
        fontsize=AXIS_SIZE,
    )


def _label_epochs(panel: Axes, epochs: Sequence[int], edges: npt.NDArray[np.float64]) -> None:
    panel.set_xlabel("Epoch", fontsize=AXIS_SIZE)
    centers = (edges[1:] + edges[:-1]) / 2
    trained = [epoch for epoch in epochs if epoch > 0]
    chosen, most = trained, MOST_EPOCH_LABELS // (2 if is_small() else 1)
    if len(trained) > most:
        wanted = MaxNLocator(nbins=most, integer=True, steps=TICK_STEPS).tick_values(
            trained[0], trained[-1]
        )
        chosen = [int(epoch) for epoch in wanted if 1 < epoch <= trained[-1]]
    positions = [float(np.interp(epoch, epochs, centers)) for epoch in chosen]
    start = [float(centers[0])] if epochs[0] == 0 else []
    panel.set_xticks(
        [*start, *positions], [*(["init"] * len(start)), *map(str, chosen)], fontsize=TICK_SIZE
    )
    panel.tick_params(axis="x", length=2, color=GREY)
