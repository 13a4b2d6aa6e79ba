"""Fonts within a PDF: of each the letters that a picture has, and of each letter its outline alone.

Matplotlib cuts them out of the font's file for every picture, with what only a typesetter asks for: ligatures, kerning,
the names of all six thousand letters. To read that takes most of a picture's time, and no viewer looks at it: a PDF
says itself which outline stands where, and these tables are all that its font needs (ISO 32000-1, 9.9).
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from fontTools import subset

NEEDED: Final = frozenset({"glyf", "head", "hhea", "hmtx", "loca", "maxp", "cvt ", "fpgm", "prep"})
"""Tables of a TrueType font."""
WITHOUT_NAMES: Final = 3.0
"""Format of the table `post`."""

_load_font = subset.load_font


@contextmanager
def outlines_alone() -> Iterator[None]:
    """Within the block fonts that are cut have nothing else. Of one thread at a time."""
    subset.load_font = _lean
    try:
        yield
    finally:
        subset.load_font = _load_font


def _lean(file: Any, options: Any) -> Any:
    outlines = _outlines(file, options.font_number)
    if outlines is None:
        return _load_font(file, options)
    return _load_font(io.BytesIO(outlines), subset.Options())


@lru_cache(maxsize=8)
def _outlines(file: str, number: int) -> bytes | None:
    """A font's outlines as a file, of less than a megabyte for most fonts; None where it is no TrueType font."""
    options = subset.Options()
    options.font_number = number
    with _load_font(file, options) as font:
        if "glyf" not in font:
            return None
        for table in set(font.keys()) - NEEDED - {"GlyphOrder", "post"}:
            del font[table]
        font["post"].formatType = WITHOUT_NAMES
        kept = io.BytesIO()
        font.save(kept, reorderTables=False)
    return kept.getvalue()
