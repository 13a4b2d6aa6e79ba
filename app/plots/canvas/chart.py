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
from matplotlib.ticker import Formatter, Locator, MaxNLocator, ScalarFormatter

from app.plots.canvas.colors import FRAME, GREY, GRID, INK
from app.plots.canvas.fonts import shortened
from app.plots.canvas.palette import TICK_STEPS, spread
from app.plots.canvas.percents import PercentFormatter
from app.plots.canvas.scales import View
from app.plots.canvas.style import AXIS_SIZE, NOTE_SIZE, PANEL_SIZE, TICK_SIZE, Sheet
from app.plots.canvas.words import CAPITALS, TextLine

Floats = npt.NDArray[np.float64]

PAD = 7 / 72
"""From the axis to its numbers, in inches."""
NUMBERS_BASELINE: Final = PAD + CAPITALS * TICK_SIZE / 72
LABEL_BASELINE: Final = PAD + 1.9 * TICK_SIZE / 72 + 4 / 72
TITLE_RISE, LABEL_GAP = 8 / 72, 7 / 72
"""From a panel's upper edge to its title's baseline, and from a line's end to its name, in inches."""
AXIS: Final[dict[str, Any]] = {"color": FRAME, "linewidth": 0.8}


@dataclass(frozen=True)
class Ticks:
    """Where an axis has ticks, what is written beside them, and a factor or offset of all of them, mostly empty."""

    places: Floats
    texts: Sequence[str]
    offset: str = ""


NO_TICKS: Final = Ticks(np.array([]), ())


def whole_ticks(view: View) -> Ticks:
    """At whole numbers."""
    return _ticks(
        view,
        MaxNLocator(8, integer=True, min_n_ticks=1, steps=TICK_STEPS),
        ScalarFormatter(),
    )


def percent_ticks(view: View) -> Ticks:
    """Of fractions."""
    percent = PercentFormatter()
    return _ticks(view, MaxNLocator(7, steps=TICK_STEPS), percent)


def scalar_ticks(view: View) -> Ticks:
    """Of any numbers, none of them wider than `1.2345`: very small and large ones have a common factor."""
    formatter = ScalarFormatter()
    formatter.set_powerlimits((-2, 5))
    return _ticks(view, MaxNLocator(7, steps=TICK_STEPS), formatter)


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

    def line(self, x: Any, y: Any, **look: Any) -> None:
        """A line through these points of the data. `look`: as of matplotlib's lines."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        self.sheet.draw(*self._places(x, y).tolist(), **look)

    def band(self, x: Any, low: Any, high: Any, color: str, alpha: float = 0.18) -> None:
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
                alpha=alpha,
                linewidth=0,
            )
        )

    def axes(self, x: Ticks, y: Ticks, title: str, x_label: str) -> None:
        """Both axes with ticks and numbers, a grid across, the panel's title above and the name of the x axis below."""
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
            "color": GREY,
        }
        self.sheet.draw(*x_places.tolist(), marker=3, **mark)  # downwards
        self.sheet.draw(*y_places.tolist(), marker=0, **mark)  # to the left
        for place, text in zip(x_places[0].tolist(), x.texts, strict=True):
            self._write(place, bottom + NUMBERS_BASELINE, text, align="center")
        for place, text in zip(y_places[1].tolist(), y.texts, strict=True):
            self._write(self.left - PAD, place + _half(TICK_SIZE), text, align="right")
        self._write(
            self.left + self.width / 2, bottom + LABEL_BASELINE, x_label, AXIS_SIZE, align="center"
        )
        factor = f" ({y.offset})" if y.offset else ""
        title = shortened(title + factor, self.width, PANEL_SIZE)
        self._write(self.left, self.top - TITLE_RISE, title, PANEL_SIZE)

    def name_ends(self, lines: Sequence[tuple[str, str, tuple[float, float]]]) -> None:
        """Right of the panel each line's name (name, color, where it ends), apart where they are close."""
        ends = self._places(
            np.array([end[0] for _, _, end in lines]), np.array([end[1] for _, _, end in lines])
        )[1]
        places = spread(ends.tolist(), NOTE_SIZE * 1.25 / 72, self.top, self.top + self.height)
        for (name, color, _), down in zip(lines, places, strict=True):
            self._write(
                self.left + self.width + LABEL_GAP,
                down + _half(NOTE_SIZE),
                name,
                NOTE_SIZE,
                color=color,
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
        look = {"color": INK, **look}
        self.sheet.canvas.add_artist(TextLine(self.sheet, across, down, text, size, **look))


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
