"""Short texts where they are said to stand. Matplotlib's own are laid out in lines and boxes, each several times, which
takes as long as drawing them.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.colors import to_rgba
from matplotlib.font_manager import FontProperties
from matplotlib.transforms import IdentityTransform

from app.plots.canvas.colors import INK
from app.plots.canvas.fonts import FAMILIES, SAFETY, width_of
from app.plots.canvas.style import Sheet

CAPITALS: Final = 0.73
"""Height of capitals and digits as a part of the size."""
ALIGNED: Final = {"left": 0.0, "center": 0.5, "right": 1.0}


class TextLine(Artist):
    """One line of text. `across` is where its left end, its center or its right end stands, by `align`, and `down` its
    baseline, both in inches on the sheet.

    A `turned` one reads upwards: `across` is then its baseline, and `down` where it ends, its center or its beginning.
    """

    def __init__(
        self,
        sheet: Sheet,
        across: float,
        down: float,
        text: str,
        size: float,
        *,
        align: str = "left",
        color: str = INK,
        turned: bool = False,
    ) -> None:
        super().__init__()
        self._sheet, self._text, self._size, self._color, self._angle = (
            sheet,
            text,
            size,
            color,
            90.0 if turned else 0.0,
        )
        before = ALIGNED[align] * width_of(text, size) / SAFETY
        self._place = (
            (across, sheet.height - down - before)
            if turned
            else (across - before, sheet.height - down)
        )
        self._anchor = Anchor(align, (72 * across, 72 * (sheet.height - down)))
        self.set_zorder(3)

    def draw(self, renderer: Any) -> None:
        """As matplotlib asks of all that it draws."""
        x, y = (inches * self._sheet.canvas.dpi for inches in self._place)
        if renderer.flipy():
            y = self._sheet.height * self._sheet.canvas.dpi - y
        context = renderer.new_gc()
        context.set_foreground(to_rgba(self._color), isRGBA=True)
        renderer.draw_text(
            context, x, y, self._text, _font(self._size), self._angle, mtext=self._anchor
        )
        context.restore()


@dataclass(frozen=True)
class Anchor:
    """What a renderer asks of a text beside its letters. A viewer of an SVG may have other fonts with other widths: it
    is told where the text's beginning, center or end stands, in points.
    """

    align: str
    place: tuple[float, float]

    def get_transform(self) -> IdentityTransform:
        """None is needed."""
        return IdentityTransform()

    def get_unitless_position(self) -> tuple[float, float]:
        """From the lower left corner."""
        return self.place

    def get_rotation_mode(self) -> str:
        """Turned about that place."""
        return "anchor"

    def get_ha(self) -> str:
        """`left`, `center` or `right`."""
        return self.align

    def get_fontfeatures(self) -> None:
        """None are asked for."""

    def get_language(self) -> None:
        """None is known."""


@cache
def _font(size: float) -> FontProperties:
    return FontProperties(family=[*FAMILIES, "sans-serif"], size=size)
