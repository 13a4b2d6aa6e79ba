"""LaTeX source of a picture: tables of numbers, panels that read them, and what stands around. It is for pgfplots,
whose manual is at https://ctan.org/pkg/pgfplots.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, Final

from app.plots.appearance import Theme
from app.plots.canvas.colors import THEMES, current
from app.plots.pgfplots.options import color_of, inches, ink, number
from app.tabulation import BEYOND_PDFLATEX, NEEDS_UNICODE, latex_text

WHOLE, BARE = "tex", "tikz"
"""Extensions: a document that compiles by itself, and the picture alone, for `\\input`."""

NEEDED: Final = r"""\usepackage{pgfplots}
\pgfplotsset{compat=1.17}
\usepgfplotslibrary{groupplots,fillbetween}"""
"""What a document needs, from TeX Live 2020 on."""

HEAD: Final = rf"""\documentclass{{article}}
\usepackage{{iftex}}
\ifpdftex\usepackage[T1]{{fontenc}}\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}\else\usepackage{{fontspec}}\fi
\renewcommand\familydefault\sfdefault
{NEEDED}
\newsavebox\labpicture
\begin{{document}}
\begin{{lrbox}}{{\labpicture}}"""
TAIL: Final = r"""\end{lrbox}
% one page, as large as the picture
\ifluatex\let\pdfpagewidth\pagewidth\let\pdfpageheight\pageheight\fi
\pdfpagewidth=\dimexpr\wd\labpicture+12pt\relax
\pdfpageheight=\dimexpr\ht\labpicture+\dp\labpicture+12pt\relax
\hoffset=\dimexpr6pt-1in\relax \voffset=\hoffset
\shipout\box\labpicture
\end{document}
"""
"""Around the picture of a document that compiles by itself. Class `standalone` would do as much and is in fewer
installations.
"""

STYLE: Final = r"""/pgfplots/.cd,
  scale only axis, clip mode=individual, axis x line*=bottom, axis y line*=left,
  axis line style={labframe, line width=0.8pt}, tick align=outside, major tick length=2.5pt,
  tick style={labgrey, line width=0.8pt}, grid style={labgrid, line width=0.8pt}, scaled ticks=false,
  title style={at={(0,1)}, anchor=south west, font=\small, text=labink, inner xsep=0pt, yshift=2pt},
  label style={font=\small, text=labink}, tick label style={font=\footnotesize, text=labink},
  legend columns=1, legend cell align=left, legend style={draw=none, fill=none, font=\footnotesize, text=labgrey,
    at={(0,0)}, anchor=north west, yshift=-0.5in, inner sep=0pt}"""
"""The pictures' own look; fonts are the document's."""


@dataclass(frozen=True)
class LatexPanel:
    """A panel: its options, and the commands that draw in it."""

    options: Sequence[str]
    body: Sequence[str]


@dataclass
class LatexPicture:
    """A picture that is being written: tables first, then panels in rows of `columns`, `width` and `height` inches
    each, apart by `gap` (across, down). `legend` are commands that go into the first panel of the last row.
    """

    title: str
    subtitle: str
    width: float
    height: float
    columns: int
    gap: tuple[float, float]
    left: float = 0.6
    """Room for what stands left of the first panel, in inches."""
    tables: list[str] = field(default_factory=list)
    panels: list[LatexPanel] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)

    def table(self, columns: Mapping[str, Sequence[Any]]) -> str:
        """Store numbers, each column by its name and with all digits; returns the command that stands for the table."""
        name = r"\lab" + _letters(len(self.tables))
        rows = zip(*columns.values(), strict=True)
        lines = [" ".join(columns), *(" ".join(map(number, row)) for row in rows)]
        rows_of_text = "\n".join(rf"  {line} \\" for line in lines)
        begin, end = r"\pgfplotstableread[row sep=\\]{", f"}}{name}"
        self.tables += [begin, rows_of_text, end]
        return name

    def written(self, extension: str) -> bytes:
        """The source's bytes. `extension`: `WHOLE` or `BARE`."""
        picture = self._picture()
        beyond = [NEEDS_UNICODE] if BEYOND_PDFLATEX.search(picture) else []
        if extension == BARE:
            needed = [f"% needs {line}" for line in NEEDED.split("\n")]
            return "\n".join([*beyond, *needed, picture, ""]).encode()
        paper = rf"\pagecolor[HTML]{{{color_of('lab:paper')}}}"
        dark = [paper] if current().theme is Theme.DARK else []
        return "\n".join([*beyond, HEAD, picture, *dark, TAIL]).encode()

    def _picture(self) -> str:
        rows = math.ceil(len(self.panels) / self.columns)
        last_row = self.columns * (rows - 1)
        across, down = self.gap
        panels = []
        for place, panel in enumerate(self.panels):
            options = ",\n  ".join(panel.options)
            panels += [rf"\nextgroupplot[{options}]", *panel.body]
            panels += self.legend if place == last_row else []
        lines = [
            r"\begin{tikzpicture}",
            *self.tables,
            rf"\pgfplotsset{{{STYLE}, legend style={{xshift=-{inches(self.left)}}}}}",
            rf"\begin{{groupplot}}[group style={{group size={self.columns} by {rows},"
            f" horizontal sep={inches(across)}, vertical sep={inches(down)}}},",
            f"  width={inches(self.width)}, height={inches(self.height)}]",
            *panels,
            r"\end{groupplot}",
            *self._heading(),
            r"\end{tikzpicture}",
        ]
        lines[1:1] = _definitions("\n".join(lines))
        return "\n".join(lines)

    def _heading(self) -> list[str]:
        title, subtitle = latex_text(self.title), latex_text(self.subtitle)
        said = [rf"{{\bfseries\boldmath {title}}}"] if title else []
        said += [rf"{{\small {subtitle}}}"] if subtitle else []
        if not said:
            return []
        width = self.columns * self.width + (self.columns - 1) * self.gap[0] + self.left
        place = f"([xshift=-{inches(self.left)}, yshift=0.4in] group c1r1.north west)"
        look = (
            f"anchor=south west, align=left, inner sep=0pt, text width={inches(width)}, text=labink"
        )
        lines = r" \\[2pt] ".join(said)
        return [rf"\node[{look}] at {place} {{{lines}}};"]


def _definitions(picture: str) -> list[str]:
    """Of the colors that occur in it."""
    found = set(re.findall(r"lab[a-z]+", picture))
    return [
        rf"\definecolor{{{ink(name)}}}{{HTML}}{{{color_of(name)}}}"
        for name in THEMES
        if ink(name) in found
    ]


def _letters(place: int) -> str:
    """`A` to `Z`, then `AA`: commands have no digits in their names."""
    more, last = divmod(place, len(ascii_uppercase))
    return (_letters(more - 1) if more else "") + ascii_uppercase[last]
