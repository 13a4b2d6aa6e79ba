"""Teacher, baseline and distilled student over epochs, in three panels or one of them."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from app.plots.canvas.colors import (
    BLACK_LINE,
    BLUE,
    GREEN,
    GREY,
    GRID,
    INK,
    PURPLE,
    SKY,
    VERMILION,
    is_small,
    most_inches,
)
from app.plots.canvas.palette import TICK_STEPS, Dashes, Entry, Legend
from app.plots.canvas.percents import PercentFormatter
from app.plots.canvas.scales import View, accuracy_view, epoch_view, loss_view
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    PANEL_SIZE,
    TICK_SIZE,
    Sheet,
    heading,
    rendered,
    say_in_middle,
)
from app.plots.figures.experiments import ComparisonFigure, Line
from app.plots.series import Series


@dataclass(frozen=True)
class ArmStyle:
    """How a line is drawn. The arms have markers, the parts of a loss have none."""

    color: str
    dashes: Dashes
    marker: str = ""


LINES = {
    "teacher": ArmStyle(BLACK_LINE, (0, (7, 2, 1.2, 2)), "s"),
    "baseline": ArmStyle(VERMILION, (0, (4, 1.8)), "^"),
    "distilled": ArmStyle(BLUE, "-", "o"),
    "soft": ArmStyle(SKY, (0, (1.2, 1.2))),
    "features": ArmStyle(GREEN, (0, (8, 3))),
    "total": ArmStyle(PURPLE, (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5))),
}
"""In the order of the legend."""

PANELS = {
    "train_loss": "Training loss (nats)",
    "val_loss": "Validation loss (nats)",
    "val_accuracy": "Validation accuracy",
}
LEFT_INCHES, TITLE_INCHES, BELOW_INCHES, GAP = 0.6, 0.3, 0.5, 0.16
PANEL_HEIGHT = 2.9
ALONE_INCHES = 7.0
"""The width of a panel without the others."""
MARKED_EPOCHS = 12
"""Most markers on a line; beyond, only some epochs have one."""


def draw_comparison(figure: ComparisonFigure, extension: str) -> bytes:
    """Training loss, val loss and val accuracy; the mean over runs as a line, their range as a band. `extension`: png,
    svg or pdf.
    """
    is_alone = len(figure.panels) == 1
    paper = min(most_inches(), ALONE_INCHES) if is_alone else most_inches()
    columns = 1 if is_small() else len(figure.panels)
    rows = len(figure.panels) // columns
    across = (paper - 2 * MARGIN + GAP) / columns
    down = TITLE_INCHES + PANEL_HEIGHT + BELOW_INCHES
    head = heading(figure.title, figure.subtitle, paper)
    entries = _entries(figure)
    legend = Legend(entries, paper - 2 * MARGIN, max(1, min(len(entries), columns)))
    below = head.height + down * rows
    sheet = Sheet(paper, below + legend.height + MARGIN)
    head.draw(sheet)
    for place, name in enumerate(figure.panels):
        row, column = divmod(place, columns)
        panel = sheet.panel(
            MARGIN + LEFT_INCHES + across * column,
            head.height + TITLE_INCHES + down * row,
            across - GAP - LEFT_INCHES,
            PANEL_HEIGHT,
        )
        _draw_panel(panel, name, figure)
    legend.draw(sheet, MARGIN, below)
    return rendered(sheet.canvas, extension)


def _draw_panel(panel: Axes, name: str, figure: ComparisonFigure) -> None:
    panel.set_title(PANELS[name], loc="left", fontsize=PANEL_SIZE, color=INK, pad=7)
    panel.set_xlabel("Epoch", fontsize=AXIS_SIZE)
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=TICK_SIZE, color=GREY)
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1, steps=TICK_STEPS))
    panel.yaxis.set_major_locator(MaxNLocator(7, steps=TICK_STEPS))
    panel.set_xlim(*_epoch_limits(figure))
    lines = [line for line in figure.lines if line.panel == name and line.series.last]
    for line in lines:
        _draw_line(panel, line)
    if not lines:
        say_in_middle(panel, "no epoch finished yet")
        panel.set_yticks([])
        return
    shown = [line.series.without_gaps() for line in lines]
    low = min(float(series.low.min()) for series in shown)
    high = max(float(series.high.max()) for series in shown)
    if name == "val_accuracy":
        panel.set_ylim(*accuracy_view(low, high))
        panel.yaxis.set_major_formatter(PercentFormatter())
    else:
        panel.set_ylim(*loss_view(low, high))


def _draw_line(panel: Axes, line: Line) -> None:
    """Thin where later epochs are of fewer runs."""
    shown, drawn_as = line.series.without_gaps(), _drawn_as(line.part)
    if len(shown) == 1:
        drawn_as["marker"] = drawn_as["marker"] or "d"  # a line of one point would not be seen
    of_all = shown.num_of_all
    if shown.has_fewer:
        _draw_part(panel, shown.part(of_all - 1, len(shown)), {**drawn_as, "linewidth": 0.8})
    _draw_part(panel, shown.part(0, of_all), drawn_as)


def _draw_part(panel: Axes, shown: Series, drawn_as: dict[str, Any]) -> None:
    if not len(shown):
        return
    if shown.num_runs > 1:
        panel.fill_between(
            shown.epochs, shown.low, shown.high, color=drawn_as["color"], alpha=0.18, linewidth=0
        )
    step = max(1, -(-len(shown) // MARKED_EPOCHS))
    is_arm = bool(drawn_as["marker"])
    panel.plot(shown.epochs, shown.mean, **drawn_as, markevery=step, zorder=3 if is_arm else 2.5)


def _entries(figure: ComparisonFigure) -> list[Entry]:
    """The arms first, then the parts of the student's loss."""
    return [Entry(*figure.labels[part], _drawn_as(part)) for part in _parts(figure)]


def _parts(figure: ComparisonFigure) -> list[str]:
    """What the legend names: what has a line in one of the panels, in its own order."""
    drawn = {line.part for line in figure.lines if line.panel in figure.panels and line.series.last}
    return [part for part in LINES if part in drawn]


def _drawn_as(part: str) -> dict[str, Any]:
    look = LINES[part]
    return {
        "color": look.color,
        "linestyle": look.dashes,
        "linewidth": 1.9 if look.marker else 1.5,
        "marker": look.marker,
        "markersize": 4,
    }


def _epoch_limits(figure: ComparisonFigure) -> View:
    shown = (line.series for line in figure.lines if len(line.series))
    return epoch_view((int(series.epochs[-1]) for series in shown), figure.epochs)
