"""What all pictures share: resolution, formats, the sheet they are laid out on and its heading."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from app.plots.appearance import PictureSize
from app.plots.canvas.colors import (
    FRAME,
    GREY,
    INK,
    LARGER,
    PAPER,
    current,
    most_inches,
    with_both_themes,
)
from app.plots.canvas.embedding import outlines_alone
from app.plots.canvas.fonts import FAMILIES, line_height, wrapped
from app.plots.canvas.png import png

DPI = 130
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\N{MINUS SIGN}"
PERCENT = " %"
"""How percent are written after a number, everywhere."""

MARGIN = 0.2
"""Around everything on a sheet, in inches."""

TITLE_SIZE, TEXT_SIZE = 12.5, 9.5
PANEL_SIZE, AXIS_SIZE, TICK_SIZE, NOTE_SIZE = 10.0, 9.0, 8.5, 8.0
"""Of a panel's title, the names of axes, the numbers at them, and of keys and notes, in points."""

SVG_SIZE = re.compile(r' (width|height)="([\d.]+)pt"')

# For the whole process and once; the colors are names, see `colors`.
mpl.rcParams.update(
    {
        "font.size": 10,
        "font.family": [*FAMILIES, "sans-serif"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": FRAME,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.facecolor": PAPER,
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "text.color": INK,
        "xtick.color": FRAME,
        "ytick.color": FRAME,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "svg.hashsalt": "training-lab",
        "svg.fonttype": "none",  # texts that are searched, copied and shown in any script
        "pdf.fonttype": 42,
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
    """The figure's bytes, the same for the same figure and appearance. `extension`: png, svg or pdf."""
    is_large = current().size is PictureSize.LARGE
    # as savefig does, which draws everything twice in order to find the layout
    if extension == "png":
        canvas.set_dpi(DPI * (LARGER if is_large else 1))
        agg = FigureCanvasAgg(canvas)
        agg.draw()  # type: ignore[no-untyped-call]
        opaque = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
        return png(np.asarray(opaque), canvas.dpi, "training-lab")
    buffer = io.BytesIO()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(extension, {})
    with warnings.catch_warnings(), outlines_alone():
        # of letters that only the viewer of an SVG has; they are laid out by a guess (see `fonts`)
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        canvas.savefig(buffer, format=extension, metadata={"Creator": "training-lab", **undated})
    if extension != "svg":
        return buffer.getvalue()
    svg = buffer.getvalue().decode()
    if is_large:
        svg = SVG_SIZE.sub(lambda side: f' {side[1]}="{LARGER * float(side[2]):g}pt"', svg, count=2)
    return (with_both_themes(svg) if current().follows_viewer else svg).encode()


def say_in_middle(panel: Axes, text: str, size: float | None = None) -> None:
    """In place of what is not there to be drawn."""
    panel.text(
        0.5,
        0.5,
        text,
        transform=panel.transAxes,
        ha="center",
        va="center",
        color=GREY,
        fontsize=size,
    )


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
    """Title and subtitle as wrapped lines for a sheet, and notes in ink below them; see `heading`."""

    title: Sequence[str]
    subtitle: Sequence[str]
    notes: Sequence[str] = ()

    @property
    def height(self) -> float:
        """From the sheet's upper edge to where the rest begins, in inches."""
        if not (self.title or self.subtitle or self.notes):
            return MARGIN
        return self._notes_top + line_height(AXIS_SIZE) * len(self.notes) + 0.16

    @property
    def _subtitle_top(self) -> float:
        return MARGIN + line_height(TITLE_SIZE) * len(self.title) + (0.04 if self.title else 0)

    @property
    def _notes_top(self) -> float:
        return (
            self._subtitle_top
            + line_height(TEXT_SIZE) * len(self.subtitle)
            + (0.05 if self.notes and (self.title or self.subtitle) else 0)
        )

    def draw(self, sheet: Sheet) -> None:
        """Write it at the top of the sheet."""
        sheet.write(MARGIN, MARGIN, self.title, TITLE_SIZE, fontweight="bold")
        sheet.write(MARGIN, self._subtitle_top, self.subtitle, color=GREY)
        sheet.write(MARGIN, self._notes_top, self.notes, AXIS_SIZE)


def heading(title: str, subtitle: str, width: float, notes: Sequence[str] = ()) -> Heading:
    """At most two lines of title, six of subtitle, four of each note, wrapped for a sheet of that width in inches."""
    inches = width - 2 * MARGIN
    return Heading(
        wrapped(title, inches, TITLE_SIZE, 2, bold=True),
        wrapped(subtitle, inches, TEXT_SIZE, 6),
        [line for note in notes for line in wrapped(note, inches, AXIS_SIZE, 4)],
    )


def columns_that_fit(width: float, gap: float, most: int) -> int:
    """How many panels of that width, a gap between them, stand beside each other on a sheet, at least one."""
    return max(1, min(most, int((most_inches() - 2 * MARGIN + gap + 1e-9) / (width + gap))))
