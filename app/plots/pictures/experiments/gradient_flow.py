"""Gradient norms by layer and epoch: a heat map beside profiles of chosen epochs, the input at the bottom."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from app.plots.canvas.style import BLUE, DPI, GREY, VERMILION, power_of_ten, rendered
from app.plots.figures.experiments import GradientFlowFigure

# perceptually uniform, and made to be so for color-blind readers too: https://bids.github.io/colormap/
COLORS = "viridis"
INK = "#1f2937"
UNMEASURED = "#e5e7eb"
WIDTH_INCHES = 11.6
LINE_CHARACTERS = 182
LINE_INCHES = 0.175
ROW_CHARACTERS = 36
MOST_LABELS = 46
MOST_EPOCH_LABELS = 12
MOST_COLUMNS = 1000
INITIAL_COLUMN = 0.05
LEAST_DECADES = 2


def draw_gradient_flow(figure: GradientFlowFigure, extension: str) -> bytes:
    """Layers upward from the input, epochs to the right, color the L2 norm; beside it the norms of first and last
    epochs. `extension`: png, svg or pdf.
    """
    lines = [
        line
        for note in figure.verdicts
        for line in textwrap.wrap(
            note[:1].upper() + note[1:], LINE_CHARACTERS, subsequent_indent="    "
        )
    ]
    header = 0.68 + LINE_INCHES * len(lines)
    height = header + 0.8 + min(max(0.165 * len(figure.layers), 2.6), 8.4)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08, rect=(0, 0, 1, 1 - header / height))
    canvas = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, layout=layout)
    canvas.text(0.012, 1 - 0.14 / height, figure.title, va="top", fontsize=12.5, fontweight="bold")
    canvas.text(0.012, 1 - 0.42 / height, figure.subtitle, va="top", fontsize=9, color=GREY)
    canvas.text(
        0.012,
        1 - (0.42 + LINE_INCHES) / height,
        "\n".join(lines),
        va="top",
        fontsize=9,
        color=INK,
        linespacing=1.25,
    )
    if figure.epochs and len(figure.layers):
        _draw_panels(canvas, figure)
    else:
        _draw_nothing(canvas)
    return rendered(canvas, extension)


def _draw_nothing(canvas: Figure) -> None:
    panel = canvas.subplots()
    panel.set_xlabel("Epoch")
    panel.set_ylabel("Layer")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.text(
        0.5,
        0.5,
        "nothing measured yet",
        transform=panel.transAxes,
        ha="center",
        va="center",
        color=GREY,
    )


def _draw_panels(canvas: Figure, figure: GradientFlowFigure) -> None:
    heat, profile = canvas.subplots(1, 2, sharey=True, width_ratios=[1.45, 1])
    limits = _decades(figure.norms)
    _draw_heat_map(canvas, heat, figure, limits)
    _draw_profiles(profile, figure, limits)
    _label_layers(heat, figure)


def _draw_heat_map(
    canvas: Figure, panel: Axes, figure: GradientFlowFigure, limits: tuple[float, float]
) -> None:
    """One column per epoch; 0 and what was not measured have colors of their own, named below."""
    columns = _columns(len(figure.epochs))
    norms = figure.norms[columns].T
    edges = _edges([figure.epochs[column] for column in columns])
    colors = colormaps[COLORS].with_extremes(under=VERMILION)
    rows = np.arange(len(figure.layers) + 1) - 0.5
    panel.set_facecolor(UNMEASURED)
    panel.set_title(
        "L2 norm of each weight's gradient"
        + (f", geometric mean of {figure.runs} runs" if figure.runs > 1 else ""),
        loc="left",
        fontsize=9.5,
    )
    shown = np.ma.masked_invalid(np.where(norms == 0, limits[0] / 10, norms))
    mesh = panel.pcolormesh(edges, rows, shown, cmap=colors, norm=LogNorm(*limits), rasterized=True)
    if figure.epochs[0] == 0 and len(figure.epochs) > 1:
        panel.axvline(edges[1], color="white", linewidth=2)
    for spine in panel.spines.values():
        spine.set_visible(False)
    _label_epochs(panel, [figure.epochs[column] for column in columns], edges)
    bar = canvas.colorbar(
        mesh, ax=panel, pad=0.015, aspect=28, fraction=0.06, format=FuncFormatter(power_of_ten)
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)
    bar.ax.minorticks_off()
    named = [
        (VERMILION, "exactly 0", (norms == 0).any()),
        (UNMEASURED, "not measured", np.isnan(norms).any()),
    ]
    patches = [Patch(facecolor=color, label=label) for color, label, is_there in named if is_there]
    if patches:
        panel.legend(
            handles=patches,
            loc="upper right",
            bbox_to_anchor=(1.0, -0.02),
            ncols=2,
            frameon=False,
            fontsize=8,
            handlelength=1.2,
        )


def _draw_profiles(panel: Axes, figure: GradientFlowFigure, limits: tuple[float, float]) -> None:
    """The norms along the layers at initialization, in the first epoch and in the last; layers outside the fit as
    rings.
    """
    places, fitted = np.arange(len(figure.layers)), np.array(figure.is_fitted, dtype=bool)
    marker = "o" if len(places) <= 45 else ""
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(power_of_ten))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(limits[0] / 1.35, limits[1] * 1.35)
    panel.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    panel.set_axisbelow(True)
    for (row, label), (color, line, width) in zip(
        _profiles(figure),
        ((GREY, "--", 1.5), (VERMILION, "-", 1.3), (BLUE, "-", 1.9)),
        strict=False,
    ):
        norms = figure.norms[row]
        path, beside = np.where(norms > 0, norms, np.nan)[fitted], ~fitted & (norms > 0)
        panel.plot(
            path,
            places[fitted],
            color=color,
            linestyle=line,
            linewidth=width,
            marker=marker,
            markersize=3.5,
            label=label,
        )
        panel.plot(
            norms[beside],
            places[beside],
            color=color,
            linestyle="none",
            marker="o",
            markersize=4.5,
            markerfacecolor="white",
            markeredgewidth=1.1,
        )
        zero = places[norms == 0]
        panel.plot(
            np.full(len(zero), 0.012),
            zero,
            color=color,
            linestyle="none",
            marker="<",
            markersize=4,
            transform=panel.get_yaxis_transform(),
        )
    panel.set_xlabel("L2 norm of the weight's gradient")
    panel.tick_params(axis="y", labelleft=False, length=0)
    panel.tick_params(axis="x", labelsize=8.5)
    if (~fitted).any():
        panel.plot(
            [],
            [],
            color=GREY,
            linestyle="none",
            marker="o",
            markersize=4.5,
            markerfacecolor="white",
            label="not in slope",
        )
    if (figure.norms == 0).any():
        panel.plot(
            [], [], color=GREY, linestyle="none", marker="<", markersize=4, label="exactly 0"
        )
    labels = panel.get_legend_handles_labels()[1]
    panel.legend(
        frameon=False,
        fontsize=8.5,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=len(labels) if sum(map(len, labels)) <= ROW_CHARACTERS else 2,
        handlelength=1.6,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


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


def _label_layers(panel: Axes, figure: GradientFlowFigure) -> None:
    """Names of all layers where they fit, else of every second, third and so on, always with the first and the last."""
    last = len(figure.layers) - 1
    step = math.ceil(len(figure.layers) / MOST_LABELS)
    ticks = [
        *(place for place in range(0, last, step) if last - place >= step / 2 or place == 0),
        last,
    ]
    panel.set_ylim(-0.5, last + 0.5)
    panel.set_yticks(
        ticks,
        [figure.layers[place] for place in ticks],
        fontsize=8.5 if len(figure.layers) <= 24 else 7.5,
    )
    panel.tick_params(axis="y", length=0, pad=3)
    panel.set_ylabel("Layer, the input at the bottom", fontsize=9.5)


def _label_epochs(panel: Axes, epochs: Sequence[int], edges: npt.NDArray[np.float64]) -> None:
    panel.set_xlabel("Epoch")
    centers = (edges[1:] + edges[:-1]) / 2
    trained = [epoch for epoch in epochs if epoch > 0]
    chosen = trained
    if len(trained) > MOST_EPOCH_LABELS:
        wanted = MaxNLocator(nbins=MOST_EPOCH_LABELS, integer=True).tick_values(
            trained[0], trained[-1]
        )
        chosen = [int(epoch) for epoch in wanted if 1 < epoch <= trained[-1]]
    positions = [float(np.interp(epoch, epochs, centers)) for epoch in chosen]
    start = [float(centers[0])] if epochs[0] == 0 else []
    panel.set_xticks(
        [*start, *positions], [*(["init"] * len(start)), *map(str, chosen)], fontsize=8.5
    )
    panel.tick_params(axis="x", length=2)


def _columns(num_epochs: int) -> list[int]:
    """Rows of the norms that become columns: all, or evenly chosen ones where there are more than pixels."""
    if num_epochs <= MOST_COLUMNS:
        return list(range(num_epochs))
    return sorted(
        {0, *np.linspace(1, num_epochs - 1, MOST_COLUMNS - 1).round().astype(int).tolist()}
    )


def _edges(epochs: Sequence[int]) -> npt.NDArray[np.float64]:
    """Left and right edges of the columns: one unit each, initialization never narrower than a twentieth of the
    whole.
    """
    widths = np.ones(len(epochs))
    if epochs[0] == 0:
        widths[0] = max(1.0, INITIAL_COLUMN * len(epochs))
    return np.concatenate([[0.0], np.cumsum(widths)])


def _decades(norms: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Whole decades around all norms above 0, at least two, so that small differences do not look large."""
    positive = norms[norms > 0]
    if not len(positive):
        return 0.1, 10.0
    low, high = math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max()))
    missing = max(0, LEAST_DECADES - (high - low))
    low, high = low - missing // 2, high + missing - missing // 2
    return 10.0**low, 10.0**high
