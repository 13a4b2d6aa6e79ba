"""Fonts within a PDF: the outlines of the letters that it has, as they are in the font's file, and nothing else."""

import io
import re
import string
import zlib
from dataclasses import replace
from typing import Any

from fontTools import subset
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont

from app.plots.canvas.embedding import NEEDED, outlines_alone
from app.plots.pictures.experiments.curves import draw_curves
from tests.app.test_plots import figure

STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
LETTERS = string.ascii_letters + string.digits + string.punctuation + " éï\u2212\ufb01\ufb03\ufb04"
TRUETYPE = b"\x00\x01\x00\x00"


def fonts_of(pdf: bytes) -> list[TTFont]:
    contents = []
    for found in STREAM.finditer(pdf):
        try:
            contents.append(zlib.decompress(found[1]))
        except zlib.error:
            contents.append(found[1])
    return [TTFont(io.BytesIO(one)) for one in contents if one.startswith(TRUETYPE)]


def outlines(font: Any, names: list[str]) -> set[str]:
    glyphs = font.getGlyphSet()
    drawn = set()
    for name in names:
        pen = DecomposingRecordingPen(glyphs)
        glyphs[name].draw(pen)
        drawn.add(str((glyphs[name].width, pen.value)))
    return drawn


def outlines_in_file(weight: str) -> set[str]:
    font = TTFont(findfont(FontProperties(weight=weight)))
    names = [font.getBestCmap()[ord(letter)] for letter in LETTERS]
    parts = [part for name in names for part in font["glyf"][name].getComponentNames(font["glyf"])]
    return outlines(font, [*font.getGlyphOrder()[1:4], *names, *parts])  # with those of no letter


def test_a_pdf_has_of_its_fonts_the_outlines_of_its_letters_alone() -> None:
    fonts = fonts_of(draw_curves(replace(figure(3), title="fi ffl AVATAR é ï"), "pdf"))
    originals = [outlines_in_file(weight) for weight in ("normal", "bold")]
    assert len(fonts) >= len(originals)
    for font in fonts:
        assert set(font.keys()) - {"GlyphOrder", "post"} <= NEEDED
        found = outlines(font, font.getGlyphOrder()[1:])  # the first stands for what is not there
        assert 0 < len(found) < 80
        assert any(found <= original for original in originals)


def test_fonts_are_cut_as_ever_outside_of_a_picture() -> None:
    before = subset.load_font
    with outlines_alone():
        assert subset.load_font is not before
    assert subset.load_font is before
