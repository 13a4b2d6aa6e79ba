"""Metrics over epochs, as LaTeX source."""

from app.plots.canvas.chart import NO_TICKS, whole_ticks
from app.plots.canvas.colors import is_small, most_inches
from app.plots.canvas.palette import CHANCE, spread
from app.plots.canvas.scales import View
from app.plots.canvas.style import MARGIN, NOTE_SIZE
from app.plots.figures.experiments import CurvesFigure
from app.plots.pgfplots.marks import entry, level, series_parts, series_table, upright
from app.plots.pgfplots.options import limits, number, ticks
from app.plots.pgfplots.source import LatexPanel, LatexPicture
from app.plots.pictures.experiments.curves import (
    CHOSEN,
    LEFT_OF_PANEL,
    PANEL_INCHES,
    SPLIT_STYLE,
    THIN,
    epoch_limits,
    is_chance_seen,
    look_of,
    shown_in,
    signs_of_curves,
    value_ticks,
    view_of_metric,
)
from app.plots.series import Series
from app.tabulation import latex_text

OPACITY = 0.18
GAP = (1.2, 0.95)
"""From one panel to the next, across and down, in inches: what stands between them."""


def write_curves(figure: CurvesFigure, extension: str) -> bytes:
    """One panel per metric, two beside each other: a table for each split, the mean as a line, the range as a band.
    `extension`: tex or tikz.
    """
    width, height = PANEL_INCHES
    if is_small():
        width = most_inches() - 2 * MARGIN - LEFT_OF_PANEL - 0.5
    columns = 1 if is_small() else min(len(figure.metrics), 2)
    source = LatexPicture(figure.title, figure.subtitle, width, height, columns, GAP)
    for metric in figure.metrics:
        source.panels.append(_panel(source, metric, figure))
    for sign in signs_of_curves(figure):
        source.legend += entry(sign.marker, sign.text)
    return source.written(extension)


def _panel(source: LatexPicture, metric: str, figure: CurvesFigure) -> LatexPanel:
    shown = shown_in(figure, metric)
    epochs, values = epoch_limits(figure), view_of_metric(metric, list(shown.values()))
    found = value_ticks(metric, values) if shown else NO_TICKS
    factor = f" ({found.offset})" if found.offset else ""
    options = [
        f"title={{{latex_text(figure.label(metric) + factor)}}}",
        "xlabel={Epoch}, ymajorgrids",
        f"{limits('x', epochs)}, {limits('y', values)}",
        *ticks("x", whole_ticks(epochs)),
        *ticks("y", found),
    ]
    if not shown:
        note = r"\node[font=\footnotesize, text=labgrey] at (rel axis cs:0.5,0.5) {no epoch finished yet};"
        return LatexPanel(options, [note])
    body = []
    if is_chance_seen(figure, metric) and figure.chance is not None:
        body.append(level(figure.chance, epochs, CHANCE))
    body += [upright(epoch, values, CHOSEN) for epoch in dict.fromkeys(figure.chosen)]
    for split, series in shown.items():
        table = series_table(source, series)
        body.append(f"% {split} {metric}: {table}")
        body += series_parts(table, series, look_of(split, series), THIN, OPACITY)
    return LatexPanel(options, [*body, *_names(shown, values, source.height)])


def _names(shown: dict[str, Series], values: View, height: float) -> list[str]:
    """Right of the panel each line's name, apart where they are close."""
    ends = {split: last[1] for split, series in shown.items() if (last := series.last) is not None}
    wanted = [height * (end - values[0]) / (values[1] - values[0]) for end in ends.values()]
    places = spread(wanted, NOTE_SIZE * 1.25 / 72, 0, height)
    return [
        rf"\node[anchor=west, font=\footnotesize, text={_color(split)}] at"
        f" (rel axis cs:1,{number(round(place / height, 4))}) {{{split}}};"
        for split, place in zip(ends, places, strict=True)
    ]


def _color(split: str) -> str:
    return SPLIT_STYLE[split][0].replace(":", "")
