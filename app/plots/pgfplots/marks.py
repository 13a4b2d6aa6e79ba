"""Commands that draw in a panel, and the legend's."""

from collections.abc import Mapping
from typing import Any

from app.plots.pgfplots.options import ink, line_of, number
from app.plots.pgfplots.source import LatexPicture
from app.plots.series import Series
from app.tabulation import latex_text


def plot(options: str, table: str, x: str, y: str) -> str:
    """Two columns of a table as a line or as marks."""
    return rf"\addplot[{options}, forget plot] table[x={x}, y={y}] {{{table}}};"


def band(table: str, name: str, color: str, opacity: float, domain: str = "") -> list[str]:
    """A shade between the columns `low` and `high` over `epoch`. `name` is that of its two edges, `domain` an option
    that leaves rows out.
    """
    edges = [
        rf"\addplot[name path={name} {end}, draw=none, mark=none{domain}, forget plot]"
        rf" table[x=epoch, y={end}] {{{table}}};"
        for end in ("low", "high")
    ]
    shade = f"{ink(color)}, fill opacity={opacity:g}, draw=none, forget plot"
    return [*edges, rf"\addplot[{shade}] fill between[of={name} low and {name} high];"]


def series_table(source: LatexPicture, series: Series) -> str:
    """Mean and range over runs, and of how many runs they are, in those epochs in which any has a finite number."""
    return source.table(
        {
            "epoch": series.epochs.tolist(),
            "mean": series.mean.tolist(),
            "low": series.low.tolist(),
            "high": series.high.tolist(),
            "runs": [series.num_runs] * len(series)
            if series.counts is None
            else series.counts.tolist(),
        }
    )


def series_parts(
    table: str, series: Series, look: Mapping[str, Any], thin: Mapping[str, Any], opacity: float
) -> list[str]:
    """The mean over epochs with its range; `thin` and paler where later epochs are of fewer runs. `series` has no
    gaps.
    """
    drawn, of_all = [], series.num_of_all
    for place, (part, more, shade) in enumerate(
        (
            (series.part(of_all - 1, len(series)), thin, opacity / 2),
            (series.part(0, of_all), {}, opacity),
        )
    ):
        if not len(part) or (place == 0 and not series.has_fewer):
            continue
        first, last = int(part.epochs[0]), int(part.epochs[-1])
        domain = (
            f", restrict x to domain={first - 0.5:g}:{last + 0.5:g}" if series.has_fewer else ""
        )
        if series.num_runs > 1 and len(part) > 1:
            drawn += band(
                table, f"{table[1:]} {'all' if place else 'fewer'}", look["color"], shade, domain
            )
        drawn.append(plot(line_of({**look, **more}) + domain, table, "epoch", "mean"))
    return drawn


def upright(at: float, view: tuple[float, float], look: Mapping[str, Any]) -> str:
    """A line from the lower to the upper edge of a panel that shows `view` of the second axis."""
    low, high = map(number, view)
    return (
        rf"\draw[{_only_line(look)}] (axis cs:{number(at)},{low}) -- (axis cs:{number(at)},{high});"
    )


def level(at: float, view: tuple[float, float], look: Mapping[str, Any]) -> str:
    """A line from the left to the right edge of a panel that shows `view` of the first axis."""
    low, high = map(number, view)
    return (
        rf"\draw[{_only_line(look)}] (axis cs:{low},{number(at)}) -- (axis cs:{high},{number(at)});"
    )


def entry(look: Mapping[str, Any], text: str, note: str = "") -> list[str]:
    """A line of the legend."""
    said = latex_text(text) + (rf"; \textcolor{{labgrey}}{{{latex_text(note)}}}" if note else "")
    return [rf"\addlegendimage{{{line_of(look)}}}", rf"\addlegendentry{{{said}}}"]


def _only_line(look: Mapping[str, Any]) -> str:
    return line_of(look).removesuffix(", mark=none")
