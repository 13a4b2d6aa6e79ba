"""What all pictures share: colors, resolution, formats."""

import io
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from app.plots.canvas.png import png

# Okabe and Ito's palette, told apart by colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"
DPI = 130
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
INK, PAPER, GRID = "#1f2937", "#ffffff", "#e5e7eb"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
LONGEST = 2000
"""Letters of a text that are looked at; more never fit into a picture."""

MARGIN = 0.2
"""Around everything on a sheet, in inches."""

TITLE_SIZE, TEXT_SIZE = 12.5, 9.5
SAFETY = 1.03
"""Letters snapped to pixels come out up to so much wider than their outlines."""

# For the whole process and once, since pictures are drawn in several threads at a time and matplotlib's settings are
# the process's.
mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "training-lab",
        "savefig.facecolor": "white",
        "text.parse_math": False,  # a name with dollar signs is a name
    }
)


def power_of_ten(value: float, _position: object = None) -> str:
    """A tick of a logarithmic axis in plain text, such as `10⁻⁴`: formulas are off. Between the powers nothing is
    written.
    """
    exponent = math.log10(value) if value > 0 else math.nan
    if not math.isfinite(exponent) or abs(exponent - round(exponent)) > 1e-6:
        return ""
    return "10" + str(round(exponent)).translate(SUPERSCRIPTS)


def rendered(canvas: Figure, extension: str) -> bytes:
    """The figure's bytes, the same for the same figure. `extension`: png, svg or pdf."""
    # as savefig does, which draws everything twice in order to find the layout
    if extension == "png":
        agg = FigureCanvasAgg(canvas)
        agg.draw()  # type: ignore[no-untyped-call]
        opaque = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
        return png(np.asarray(opaque), canvas.dpi, "training-lab")
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(extension, {})
    canvas.savefig(buffer, format=extension, metadata={"Creator": "training-lab", **undated})
    return buffer.getvalue()


class Sheet:
    """A canvas whose places are inches from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.canvas = Figure(figsize=(width, height), dpi=DPI)

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes whose plotting area is that box; labels lie outside it."""
        return self.canvas.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def write(
        self, left: float, top: float, lines: Sequence[str], size: float = TEXT_SIZE, **look: Any
    ) -> None:
        """Lines one below the other, the first one's upper edge at `top`. `look`: as of matplotlib's text."""
        for number, line in enumerate(lines):
            down = top + line_height(size) * number + size / 72
            self.canvas.text(
                left / self.width,
                1 - down / self.height,
                line,
                fontsize=size,
                va="baseline",
                **{"color": INK, **look},
            )

    def draw(self, across: Sequence[float], down: Sequence[float], **look: Any) -> None:
        """A line or markers. `look`: as of matplotlib's lines."""
        places = (
            [place / self.width for place in across],
            [1 - place / self.height for place in down],
        )
        self.canvas.add_artist(Line2D(*places, transform=self.canvas.transFigure, **look))

    def box(self, left: float, top: float, width: float, height: float, **look: Any) -> None:
        """A rectangle. `look`: as of matplotlib's patches."""
        corner = (left / self.width, 1 - (top + height) / self.height)
        self.canvas.add_artist(
            Rectangle(
                corner,
                width / self.width,
                height / self.height,
                transform=self.canvas.transFigure,
                **look,
            )
        )


@dataclass(frozen=True)
class Heading:
    """Title and subtitle as wrapped lines for a sheet; see `heading`."""

    title: Sequence[str]
    subtitle: Sequence[str]

    @property
    def height(self) -> float:
        """From the sheet's upper edge to where the rest begins, in inches."""
        return (
            MARGIN
            + line_height(TITLE_SIZE) * len(self.title)
            + 0.04
            + line_height(TEXT_SIZE) * len(self.subtitle)
            + 0.16
        )

    def draw(self, sheet: Sheet) -> None:
        """Write it at the top of the sheet."""
        sheet.write(MARGIN, MARGIN, self.title, TITLE_SIZE, fontweight="bold")
        sheet.write(
            MARGIN,
            MARGIN + line_height(TITLE_SIZE) * len(self.title) + 0.04,
            self.subtitle,
            color=GREY,
        )


def heading(title: str, subtitle: str, width: float) -> Heading:
    """At most two lines of title and four of subtitle, wrapped for a sheet of that width in inches."""
    inches = width - 2 * MARGIN
    return Heading(
        wrapped(title, inches, TITLE_SIZE, 2, bold=True), wrapped(subtitle, inches, TEXT_SIZE, 4)
    )


def width_of(text: str, size: float, bold: bool = False) -> float:
    """How wide a `printable` text is in inches at that size in points."""
    return SAFETY * size / 72 * sum(_advance(letter, bold) for letter in text)


def line_height(size: float) -> float:
    """From one line to the next in inches: 1.3 times the size in points."""
    return 1.3 * size / 72


def printable(text: str) -> str:
    """The text in one line; a letter that the font lacks becomes the replacement sign, where drawing it would warn."""
    font = _font(bold=False)
    return "".join(
        letter if font.get_char_index(ord(letter)) else "\N{REPLACEMENT CHARACTER}"
        for letter in " ".join(text[:LONGEST].split())
    )


def shortened(text: str, inches: float, size: float, bold: bool = False) -> str:
    """The text in one line, cut with an ellipsis where it is wider."""
    text = printable(text)
    if width_of(text, size, bold) <= inches:
        return text
    return (
        text[: _fitting(text, inches - width_of(ELLIPSIS, size, bold), size, bold)].rstrip()
        + ELLIPSIS
    )


def wrapped(text: str, inches: float, size: float, most: int, *, bold: bool = False) -> list[str]:
    """The text in lines of that width, at most so many, the last one cut with an ellipsis. Words wider than a line are
    broken; no text, no line.
    """
    lines: list[str] = []
    line = ""
    for word in printable(text).split():
        longer = f"{line} {word}" if line else word
        if width_of(longer, size, bold) <= inches:
            line = longer
            continue
        lines += [line] if line else []
        line = word
        while width_of(line, size, bold) > inches and len(line) > 1:
            letters = max(1, _fitting(line, inches, size, bold))
            lines, line = [*lines, line[:letters]], line[letters:]
    lines += [line] if line else []
    return (
        lines
        if len(lines) <= most
        else [*lines[: most - 1], shortened(" ".join(lines[most - 1 :]), inches, size, bold)]
    )


def _fitting(text: str, inches: float, size: float, bold: bool) -> int:
    """How many of the first letters are at most that wide."""
    return max(
        0,
        bisect_left(
            range(1, len(text) + 1),
            True,
            key=lambda letters: width_of(text[:letters], size, bold) > inches,
        ),
    )


@lru_cache(maxsize=4096)
def _advance(letter: str, bold: bool) -> float:
    """From a letter to the next as a part of the font's size; kerning, which mostly narrows, is left out."""
    font = _font(bold)
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


def _font(bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(weight="bold" if bold else "normal")))
