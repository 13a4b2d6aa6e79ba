"""A chart of lines made of few artists.

Matplotlib's own axes make five for each tick and lay each text out several times, which takes most of a small picture's
time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Polygon
from matplotlib.ticker import Formatter, Locator, MaxNLocator, PercentFormatter, ScalarFormatter

from app.plots.canvas.style import GRID, Sheet, width_of
from app.plots.canvas.words import CAPITALS, TextLine

Floats = npt.NDArray[np.float64]
View = tuple[float, float]

TICK_SIZE, LEGEND_SIZE = 10.0, 9.0
TICK, PAD, LABEL_PAD = 3.5 / 72, 7 / 72, 4 / 72
"""A tick's length, from the axis to its numbers, and from these to the axis' label, in inches."""
NUMBERS_BASELINE: Final = PAD + CAPITALS * TICK_SIZE / 72
LABEL_BASELINE: Final = PAD + 1.9 * TICK_SIZE / 72 + LABEL_PAD
AXIS: Final[dict[str, Any]] = {"color": "black", "linewidth": 0.8}
MARGIN_OF_VIEW: Final = 0.05
STEPS: Final = [1, 2, 2.5, 5, 10]

ROW_INCHES, INSET_INCHES, HANDLE_INCHES, HANDLE_GAP = 0.19, 0.1, 0.25, 0.1
CROSSINGS: Final = 200
"""Points along each line at which it is looked whether a legend would hide it."""


@dataclass(frozen=True)
class Ticks:
    """Where an axis has ticks, what is written beside them, and a factor or offset of all of them, mostly empty."""

    places: Floats
    texts: Sequence[str]
    offset: str


NO_TICKS: Final = Ticks(np.array([]), (), "")


def whole_ticks(view: View) -> Ticks:
    """At whole numbers."""
    return _ticks(view, MaxNLocator(10, integer=True, min_n_ticks=1), ScalarFormatter())


def percent_ticks(view: View) -> Ticks:
    """Of fractions."""
    return _ticks(view, MaxNLocator(9, steps=STEPS), PercentFormatter(xmax=1.0, decimals=None))


def scalar_ticks(view: View) -> Ticks:
    """Of any numbers, none of them wider than `1.2345`: very small and large ones have a common factor."""
    formatter = ScalarFormatter()
    formatter.set_powerlimits((-2, 5))
    return _ticks(view, MaxNLocator(9, steps=STEPS), formatter)


def view_of(values: Sequence[Floats]) -> View:
    """Limits of an axis with room around all finite values; 0 to 1 without any."""
    finite = np.concatenate([one[np.isfinite(one)] for one in values]) if values else np.array([])
    low, high = MaxNLocator().nonsingular(finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    margin = MARGIN_OF_VIEW * (high - low)
    return float(low - margin), float(high + margin)


class Chart:
    """A plotting area on a sheet, its place and size in inches, that shows `across` and `up` of the data."""

    def __init__(
        self,
        sheet: Sheet,
        left: float,
        top: float,
        width: float,
        height: float,
        across: View,
        up: View,
    ) -> None:
        self.sheet, self.left, self.top, self.width, self.height = sheet, left, top, width, height
        self._across, self._up = across, up
        self._drawn: list[Floats] = []

    def line(self, x: Any, y: Any, **look: Any) -> None:
        """A line through these points of the data. `look`: as of matplotlib's lines."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        places = self._places(x, y)
        self.sheet.draw(*places.tolist(), **look)
        if len(x) > 1:
            along = np.linspace(0, len(x) - 1, CROSSINGS)
            places = np.array([np.interp(along, np.arange(len(x)), row) for row in places])
        self._drawn.append(places)

    def band(self, x: Any, low: Any, high: Any, color: str) -> None:
        """A shade between two lines."""
        x = np.asarray(x, float)
        corners = self._places(
            np.concatenate([x, x[::-1]]),
            np.concatenate([np.asarray(low, float), np.asarray(high, float)[::-1]]),
        )
        on_sheet = np.stack(
            [corners[0] / self.sheet.width, 1 - corners[1] / self.sheet.height], axis=1
        )
        self.sheet.canvas.add_artist(
            Polygon(
                on_sheet,
                transform=self.sheet.canvas.transFigure,
                facecolor=color,
                alpha=0.18,
                linewidth=0,
            )
        )

    def axes(self, x: Ticks, y: Ticks, x_label: str, y_label: str) -> None:
        """Both axes with ticks, numbers and labels, and a grid across."""
        right, bottom = self.left + self.width, self.top + self.height
        x_places = self._places(x.places, np.full_like(x.places, self._up[0]))
        y_places = self._places(np.full_like(y.places, self._across[0]), y.places)
        for down in y_places[1].tolist():
            self.sheet.draw([self.left, right], [down, down], color=GRID, linewidth=0.8, zorder=0.5)
        self.sheet.draw(
            [self.left, self.left, right],
            [self.top, bottom, bottom],
            solid_joinstyle="miter",
            zorder=2.5,
            **AXIS,
        )
        mark: dict[str, Any] = {
            "linestyle": "none",
            "markersize": 3.5,
            "markeredgewidth": 0.8,
            "color": "black",
        }
        self.sheet.draw(*x_places.tolist(), marker=3, **mark)  # downwards
        self.sheet.draw(*y_places.tolist(), marker=0, **mark)  # to the left
        for place, text in zip(x_places[0].tolist(), x.texts, strict=True):
            self._write(place, bottom + NUMBERS_BASELINE, text, align="center")
        for place, text in zip(y_places[1].tolist(), y.texts, strict=True):
            self._write(self.left - PAD, place + _half(TICK_SIZE), text, align="right")
        widest = max((width_of(text, TICK_SIZE) for text in y.texts), default=0.0)
        self._write(self.left + self.width / 2, bottom + LABEL_BASELINE, x_label, align="center")
        self._write(
            self.left - PAD - widest - LABEL_PAD - 0.24 * TICK_SIZE / 72,
            self.top + self.height / 2,
            y_label,
            align="center",
            turned=True,
        )
        if y.offset:
            self._write(self.left, self.top - 3 / 72, y.offset)

    def legend(self, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """A sample and a text for each entry, in the corner where they hide the least of the lines."""
        width = HANDLE_INCHES + HANDLE_GAP + max(width_of(text, LEGEND_SIZE) for text, _ in entries)
        left, top = self._freest_corner(width, ROW_INCHES * len(entries))
        for number, (text, look) in enumerate(entries):
            middle = top + ROW_INCHES * (number + 0.5)
            self.sheet.draw(
                [left, left + HANDLE_INCHES / 2, left + HANDLE_INCHES],
                [middle] * 3,
                markevery=[1],
                **look,
            )
            self._write(
                left + HANDLE_INCHES + HANDLE_GAP, middle + _half(LEGEND_SIZE), text, LEGEND_SIZE
            )

    def note(self, text: str, color: str) -> None:
        """In the middle, where there is nothing to draw."""
        self._write(
            self.left + self.width / 2,
            self.top + self.height / 2 + _half(TICK_SIZE),
            text,
            align="center",
            color=color,
        )

    def _places(self, x: Floats, y: Floats) -> Floats:
        """(2, points): inches from the sheet's left and upper edge."""
        across = self.left + self.width * (x - self._across[0]) / (
            self._across[1] - self._across[0]
        )
        down = self.top + self.height * (self._up[1] - y) / (self._up[1] - self._up[0])
        return np.stack([across, down])

    def _write(
        self, across: float, down: float, text: str, size: float = TICK_SIZE, **look: Any
    ) -> None:
        self.sheet.canvas.add_artist(TextLine(self.sheet, across, down, text, size, **look))

    def _freest_corner(self, width: float, height: float) -> tuple[float, float]:
        """Left and upper edge of a box of that size."""
        right, bottom = (
            self.left + self.width - INSET_INCHES - width,
            self.top + self.height - INSET_INCHES - height,
        )
        left, top = self.left + INSET_INCHES, self.top + INSET_INCHES
        corners = [(right, top), (left, top), (right, bottom), (left, bottom)]
        across, down = np.concatenate(self._drawn, axis=1)

        def hidden(corner: tuple[float, float]) -> int:
            inside = (
                (across > corner[0])
                & (across < corner[0] + width)
                & (down > corner[1])
                & (down < corner[1] + height)
            )
            return int(inside.sum())

        return min(corners, key=hidden)


def _half(size: float) -> float:
    """From the middle of capitals and digits to their baseline, in inches."""
    return CAPITALS * size / 72 / 2


def _ticks(view: View, locator: Locator, formatter: Formatter) -> Ticks:
    places = np.asarray(locator.tick_values(*view))
    places = places[(places >= view[0]) & (places <= view[1])]
    formatter.create_dummy_axis()
    assert formatter.axis is not None
    formatter.axis.set_view_interval(*view)
    return Ticks(places, formatter.format_ticks(places.tolist()), formatter.get_offset())
