"""What stands in brackets: looks, limits, ticks and numbers as pgfplots reads them."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from app.plots.appearance import Theme
from app.plots.canvas.chart import Ticks
from app.plots.canvas.colors import THEMES, current
from app.tabulation import latex_text

MARKS: Final = {
    "o": "mark=*",
    "s": "mark=square*",
    "^": "mark=triangle*",
    "D": "mark=diamond*",
    "v": "mark=triangle*, every mark/.append style={rotate=180}",
    "P": "mark=+",
    "X": "mark=x",
}
"""Of matplotlib's markers those that pictures use."""
DASHES: Final[dict[str, tuple[float, ...]]] = {"--": (3.7, 1.6), ":": (1.0, 1.65)}
"""Matplotlib's, in widths of the line."""


def number(value: Any) -> str:
    """With all digits; what is missing or not finite is `nan`, of which pgfplots draws nothing."""
    if value is None or not math.isfinite(value):
        return "nan"
    return (
        str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    )


def inches(value: float) -> str:
    """A length."""
    return f"{value:.3f}in".replace(".000", "")


def ink(name: str) -> str:
    """The color of a name of `canvas.colors`, as it is called in LaTeX."""
    return re.sub(r"[^a-z]", "", name)


def color_of(name: str) -> str:
    """Its hexadecimal digits in the theme that pictures have just now."""
    return THEMES[name][current().theme is Theme.DARK].removeprefix("#").upper()


def line_of(look: Mapping[str, Any]) -> str:
    """Options of a line or of marks that matplotlib would draw with this look."""
    said = [ink(look["color"])]
    style, width = look.get("linestyle", "-"), float(look.get("linewidth", 1.5))
    if style == "none":
        said.append("only marks")
    else:
        said.append(f"line width={width:g}pt")
        said += _dashes(style, width)
    if "alpha" in look:
        said.append(f"opacity={look['alpha']:g}")
    return ", ".join([*said, mark_of(look)])


def mark_of(look: Mapping[str, Any]) -> str:
    """Options of its marks."""
    marker = look.get("marker")
    if marker is None:
        return "mark=none"
    mark, options = MARKS[marker], f"solid, fill={ink(look['color'])}"
    if look.get("markerfacecolor") == "none":
        mark, options = mark.removesuffix("*"), f"solid, line width={look['markeredgewidth']:g}pt"
    return f"{mark}, mark size={look['markersize'] / 2:g}pt, mark options={{{options}}}"


def ticks(axis: str, found: Ticks) -> list[str]:
    """Options of an axis, `x` or `y`, that has exactly these ticks."""
    texts = ",".join(f"{{{latex_text(text)}}}" for text in found.texts)
    return [
        f"{axis}tick={{{','.join(number(place) for place in found.places)}}}",
        f"{axis}ticklabels={{{texts}}}",
    ]


def limits(axis: str, view: tuple[float, float]) -> str:
    """Options that let an axis, `x` or `y`, reach from where to where."""
    return f"{axis}min={number(view[0])}, {axis}max={number(view[1])}"


def _dashes(style: Any, width: float) -> Iterable[str]:
    lengths = DASHES.get(style) if isinstance(style, str) else style[1]
    if lengths is None:
        return []
    names = ("on", "off")
    pattern = " ".join(f"{names[i % 2]} {length * width:.3g}pt" for i, length in enumerate(lengths))
    return [f"dash pattern={pattern}"]
