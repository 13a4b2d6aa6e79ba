"""Teacher, baseline and distilled student over epochs, in three panels."""

import textwrap
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from app.plots.canvas.style import BLUE, DPI, GREY, VERMILION, rendered
from app.plots.figures.experiments import ComparisonFigure, Line

# Okabe and Ito's, like the others; each line differs from the others in dashes and marker too, so it is told apart in
# grey.
SKY, PURPLE, GREEN = "#56B4E9", "#CC79A7", "#009E73"
INK = "#111827"
GRID = "#e5e7eb"


@dataclass(frozen=True)
class ArmStyle:
    """How a line is drawn. The arms have markers, the parts of a loss have none."""

    color: str
    dashes: str | tuple[float, tuple[float, ...]]
    marker: str = ""


LINES = {
    "teacher": ArmStyle(INK, (0, (7, 2, 1.2, 2)), "s"),
    "baseline": ArmStyle(VERMILION, (0, (4, 1.8)), "^"),
    "distilled": ArmStyle(BLUE, "-", "o"),
    "soft": ArmStyle(SKY, (0, (1.2, 1.2))),
    "features": ArmStyle(GREEN, (0, (8, 3))),
    "total": ArmStyle(PURPLE, (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5))),
}
"""In the order of the legend."""

PANELS = {
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
}
SIZE_INCHES = (13.2, 4.5)
MARGIN, TITLE_INCHES, LINE_INCHES = 0.15, 0.3, 0.19
LETTERS = {"title": 105, "subtitle": 190}
"""Letters that fit into the width, in the title's bold type and in the subtitle's."""

MARKED_EPOCHS = 12
"""Most markers on a line; beyond, only some epochs have one."""


def draw_comparison(figure: ComparisonFigure, extension: str) -> bytes:
    """Training loss, val loss and val accuracy; the mean over runs as a line, their range as a band. `extension`: png,
    svg or pdf.
    """
    subtitle = textwrap.wrap(
        figure.subtitle, LETTERS["subtitle"], max_lines=4, placeholder="…"
    ) or [""]
    width, height = SIZE_INCHES
    head = MARGIN + TITLE_INCHES + LINE_INCHES * len(subtitle)
    height += head
    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1, rect=(0, 0, 1, 1 - head / height))
    canvas = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    title = (
        textwrap.shorten(figure.title, LETTERS["title"], placeholder="…")
        or figure.title[: LETTERS["title"]]
    )
    canvas.text(
        MARGIN / width,
        1 - MARGIN / height,
        title,
        va="top",
        fontsize=12.5,
        fontweight="bold",
        color=INK,
    )
    for number, text in enumerate(subtitle):
        canvas.text(
            MARGIN / width,
            1 - (MARGIN + TITLE_INCHES + LINE_INCHES * number) / height,
            text,
            va="top",
            fontsize=9.5,
            color=GREY,
        )
    for panel, name in zip(canvas.subplots(1, len(PANELS)), PANELS, strict=True):
        _draw_panel(panel, name, figure)
    _draw_legend(canvas, figure)
    return rendered(canvas, extension)


def _draw_panel(panel: Axes, name: str, figure: ComparisonFigure) -> None:
    panel.set_title(PANELS[name], loc="left", fontsize=10.5, color=INK, pad=8)
    panel.set_xlabel("Epoch")
    panel.set_ylabel("Accuracy" if name == "val_accuracy" else "Loss (nats)")
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.set_xlim(*_epoch_limits(figure))
    if name == "val_accuracy":
        panel.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=None))
    drawn = [_draw_line(panel, line) for line in _of_panel(figure, name)]
    if not any(drawn):
        panel.text(
            0.5,
            0.5,
            "no epoch finished yet",
            transform=panel.transAxes,
            ha="center",
            va="center",
            color=GREY,
        )
        panel.set_yticks([])
    elif name != "val_accuracy":
        panel.set_ylim(bottom=0.0)


def _draw_line(panel: Axes, line: Line) -> bool:
    """Whether there was anything to draw."""
    shown = line.series.without_gaps()
    if not len(shown):
        return False
    drawn_as = _drawn_as(line.part)
    is_arm = bool(drawn_as["marker"])
    if len(shown) == 1:
        drawn_as["marker"] = drawn_as["marker"] or "d"  # a line of one point would not be seen
    if shown.num_runs > 1:
        panel.fill_between(
            shown.epochs, shown.low, shown.high, color=drawn_as["color"], alpha=0.18, linewidth=0
        )
    step = max(1, -(-len(shown) // MARKED_EPOCHS))
    panel.plot(shown.epochs, shown.mean, **drawn_as, markevery=step, zorder=3 if is_arm else 2.5)
    return True


def _draw_legend(canvas: Figure, figure: ComparisonFigure) -> None:
    """One for all panels: the arms in its first row, the parts of the student's loss below."""
    parts = [
        part
        for part in LINES
        if any(line.part == part and line.series.last for line in figure.lines)
    ]
    if not parts:
        return
    num_columns = min(len(parts), max(2, sum(bool(LINES[part].marker) for part in parts)))
    # a legend fills its columns first
    by_column = [part for column in range(num_columns) for part in parts[column::num_columns]]
    handles = [Line2D([], [], **_drawn_as(part), label=figure.labels[part]) for part in by_column]
    canvas.legend(
        handles=handles,
        loc="outside lower center",
        ncols=num_columns,
        frameon=False,
        fontsize=9,
        handlelength=3.8,
        columnspacing=3,
    )


def _drawn_as(part: str) -> dict[str, Any]:
    look = LINES[part]
    return {
        "color": look.color,
        "linestyle": look.dashes,
        "linewidth": 1.9 if look.marker else 1.5,
        "marker": look.marker,
        "markersize": 4,
    }


def _of_panel(figure: ComparisonFigure, name: str) -> list[Line]:
    return [line for line in figure.lines if line.panel == name]


def _epoch_limits(figure: ComparisonFigure) -> tuple[float, float]:
    last = max(
        [
            min(figure.epochs, 2),
            1,
            *(int(line.series.epochs[-1]) for line in figure.lines if len(line.series)),
        ]
    )
    margin = max(0.02 * last, 0.1)
    return 1 - margin, last + margin
