"""Colors by what they are for. Their names are matplotlib's as well, and what a name stands for is set for each picture
by its theme.

Lines and markers are Okabe and Ito's, told apart by color-blind readers (https://jfly.uni-koeln.de/color/), without the
yellow, which is too pale for a line on white. On the dark page they are the same hues, lighter: each has a contrast of
at least 4.5 to its page there, of 3 on white (WCAG 2.2, 1.4.11) but for sky and orange, which come last.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from matplotlib.colors import LinearSegmentedColormap, get_named_colors_mapping, to_hex

from app.plots.appearance import USUAL, Appearance, PictureSize, Theme

INK, PAPER, GREY, GRID, FRAME = "lab:ink", "lab:paper", "lab:grey", "lab:grid", "lab:frame"
BLUE, VERMILION, GREEN, BLACK_LINE = "lab:blue", "lab:vermilion", "lab:green", "lab:line"
PURPLE, ORANGE, SKY = "lab:purple", "lab:orange", "lab:sky"
MARGIN_SHADE, UNMEASURED, HATCH = "lab:margin", "lab:unmeasured", "lab:hatch"
TINT, TINT_CONFUSED, DEEP, DEEP_CONFUSED = (
    "lab:tint",
    "lab:tint-confused",
    "lab:deep",
    "lab:deep-confused",
)
WHITE, BLACK = "#ffffff", "#000000"
"""What is written on colors that are the same in both themes."""

THEMES: Final[dict[str, tuple[str, str]]] = {
    INK: ("#1f2937", "#e6e9ee"),
    PAPER: ("#ffffff", "#14181f"),
    GREY: ("#5f6774", "#a3acb9"),
    GRID: ("#e5e7eb", "#2b323d"),
    FRAME: ("#111111", "#c3cad4"),
    BLUE: ("#0072B2", "#56a9e8"),
    VERMILION: ("#D55E00", "#ff8243"),
    GREEN: ("#009E73", "#35c79a"),
    BLACK_LINE: ("#111827", "#f2f4f7"),
    PURPLE: ("#CC79A7", "#e8a3c8"),
    ORANGE: ("#E69F00", "#f2bd4b"),
    SKY: ("#56B4E9", "#a9dcff"),
    MARGIN_SHADE: ("#dbe4ee", "#2a3b50"),
    UNMEASURED: ("#e5e7ec", "#2f3743"),
    HATCH: ("#9ca3af", "#566070"),
    TINT: ("#dcebf5", "#17293a"),
    TINT_CONFUSED: ("#f6c9a8", "#5b2f14"),
    DEEP: ("#00456c", "#b5defd"),
    DEEP_CONFUSED: ("#8f3f00", "#ffc9a6"),
}
"""On white paper, and on the dark page."""

STAND_IN: Final = 0x0B0C00
"""The first of the colors that stand for the names in an SVG that has both themes; no picture uses them otherwise."""

WIDTHS: Final = {PictureSize.SMALL: 5.3, PictureSize.MEDIUM: 10.7, PictureSize.LARGE: 10.7}
"""How wide a sheet may be, in inches."""
LARGER: Final = 2
"""Pixels of a large picture for one of a medium one."""

_current = [USUAL]


@contextmanager
def appearing(appearance: Appearance) -> Iterator[None]:
    """Within the block pictures are drawn so. Of one thread at a time: the names of colors are the process's."""
    before = _current[0]
    _show(appearance)
    try:
        yield
    finally:
        _show(before)


def current() -> Appearance:
    """How pictures are drawn just now."""
    return _current[0]


def most_inches() -> float:
    """How wide a sheet may be just now."""
    return WIDTHS[current().size]


def is_small() -> bool:
    """Whether panels stand one below the other."""
    return current().size is PictureSize.SMALL


def color_scale(name: str, names: Sequence[str]) -> Any:
    """A scale of colors between these, as they are just now: of pixels, so an SVG has one theme's."""
    follows = current().follows_viewer
    colors = [THEMES[each][0] if follows else to_hex(each) for each in names]
    return LinearSegmentedColormap.from_list(name, colors)


def with_both_themes(svg: str) -> str:
    """An SVG that was drawn with stand-ins, with what they stand for in each theme: its viewer's preference decides."""
    variables = {name: "--" + name.replace(":", "-") for name in THEMES}
    for place, name in enumerate(THEMES):
        svg = svg.replace(_stand_in(place), f"var({variables[name]})")
    light, dark = (
        "".join(f"{variables[name]}:{values[number]};" for name, values in THEMES.items())
        for number in (0, 1)
    )
    style = (
        f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>\n"
    )
    begun, end, rest = svg.partition("<defs>")
    return f"{begun}{style}{end}{rest}"


def _show(appearance: Appearance) -> None:
    _current[0] = appearance
    names: Any = get_named_colors_mapping()
    for place, (name, values) in enumerate(THEMES.items()):
        names[name] = (
            _stand_in(place)
            if appearance.follows_viewer
            else values[appearance.theme is Theme.DARK]
        )


def _stand_in(place: int) -> str:
    return f"#{STAND_IN + place:06x}"


_show(USUAL)
