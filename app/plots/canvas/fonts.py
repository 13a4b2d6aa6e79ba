"""Texts as they will be drawn: with which fonts, how wide, in how many lines.

DejaVu Sans comes with matplotlib and has Latin, Greek, Cyrillic, Hebrew and Arabic; Droid Sans Fallback lies in
`app/plots/fonts` and has Chinese, Japanese and Korean. Letters that they lack are taken from whichever of the known
fonts are installed, which go before the latter; what none of them has is written as its Unicode numbers, but in an SVG
as it is, since its viewer has fonts too.
"""

import logging
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Final

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.ft2font import FT2Font

ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
LONGEST: Final = 2000
WORDS: Final = re.compile(r"\S+(?: %\S*)?")
"""Letters of a text that are looked at; more never fit into a picture."""
SAFETY: Final = 1.03
"""Letters snapped to pixels come out up to so much wider than their outlines."""

FALLBACKS: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Droid Sans Fallback",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Thai",
    "Noto Emoji",
    "Symbola",
    "FreeSans",
    "Unifont",
)
"""Fonts with letters that DejaVu Sans lacks, the best first; Debian has them as fonts-noto-cjk, fonts-droid-fallback,
fonts-wqy-microhei, fonts-noto-core and unifont. `Droid Sans Fallback` is always there.
"""
OWN: Final = Path(__file__).parents[1] / "fonts" / "DroidSansFallback.ttf"
fontManager.addfont(OWN)
_installed = {font.name for font in fontManager.ttflist}
FAMILIES: Final = ("DejaVu Sans", *(name for name in FALLBACKS if name in _installed))
FOREIGN_WIDE, FOREIGN_NARROW = 1.0, 0.6
"""About how wide a letter is that only the viewer of an SVG has a font for, as a part of its size."""

log = logging.getLogger("lab.drawing")
logging.getLogger("matplotlib.font_manager").setLevel(
    logging.ERROR
)  # not each font is there in bold
_keeps_all = [False]


@contextmanager
def all_letters_kept(are_kept: bool) -> Iterator[None]:
    """Whether, within the block, letters that no font here has are kept, for a viewer who may have one."""
    before, _keeps_all[0] = _keeps_all[0], are_kept
    try:
        yield
    finally:
        _keeps_all[0] = before


def width_of(text: str, size: float, bold: bool = False) -> float:
    """How wide a `printable` text is in inches at that size in points."""
    return SAFETY * size / 72 * sum(_advance(letter, bold) for letter in text)


def line_height(size: float) -> float:
    """From one line to the next in inches: 1.3 times the size in points."""
    return 1.3 * size / 72


def printable(text: str) -> str:
    """The text in one line; letters that no font has as their numbers, such as `[U+4E2D U+6587]`."""
    line = "".join(letter for letter in " ".join(text[:LONGEST].split()) if _is_text(letter))
    if _keeps_all[0] or all(_has(letter) for letter in line):
        return line
    parts = []
    for is_known, letters in groupby(line, _has):
        run = "".join(letters)
        parts.append(run if is_known else f"[{' '.join(f'U+{ord(letter):04X}' for letter in run)}]")
        if not is_known:
            _warn_once(unicodedata.name(run[0], "unknown").split()[0].lower())
    return "".join(parts)


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
    broken; no text, no line. A number and its percent sign are one word.
    """
    lines: list[str] = []
    line = ""
    for word in WORDS.findall(printable(text)):
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
    font = _font_of(letter, bold)
    if font is None:
        return (
            FOREIGN_WIDE if unicodedata.east_asian_width(letter) in ("W", "F") else FOREIGN_NARROW
        )
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance) / 65536 / 100


def _is_text(letter: str) -> bool:
    """Whether XML may hold it: no control character, half of a pair or noncharacter."""
    return unicodedata.category(letter) not in ("Cc", "Cs") and ord(letter) & 0xFFFE != 0xFFFE


def _has(letter: str) -> bool:
    return _font_of(letter, bold=False) is not None


@lru_cache(maxsize=4096)
def _font_of(letter: str, bold: bool) -> FT2Font | None:
    """The first font that has it."""
    fonts = (_font(family, bold) for family in FAMILIES)
    return next((font for font in fonts if font.get_char_index(ord(letter))), None)


def _font(family: str, bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(family=[family], weight="bold" if bold else "normal")))


@cache
def _warn_once(script: str) -> None:
    """Of each script once, by the first word of the letter's name, such as `cjk`."""
    log.warning(
        "no font here has %s letters, which pictures show as their Unicode numbers; SVG shows them",
        script,
    )
