"""Tables as text: Markdown, CSV and LaTeX from the same columns."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",
    "*": "{*}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"{\ttfamily\char34}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{DIVISION SIGN}": r"$\div$",
    "\u2212": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$",
}
"""Right in every encoding of fonts, OT1 included. A bracket or a star that begins a row would belong to the line break
before it.
"""

LIGATURE: Final = re.compile(r"(?<=([-',]))(?=\1)|(?<=[?!])(?=\\textasciigrave)")
"""Between characters that LaTeX would make one of: a dash of two hyphens, a quotation mark of two apostrophes."""

BEYOND_PDFLATEX: Final = re.compile(
    "[^\x00-\u017f\u2013\u2014\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2122]|[ÐðÞþ«»]"
)
"""What pdflatex has no glyph for, as Chinese and emoji, with its default fonts."""

MARKUP: Final = re.compile(r"[\\`*\[\]<>|~$]|&(?=#?\w)|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown may take for markup; an underscore within a word is none, nor is an ampersand that begins no entity."""

FORMULA: Final = re.compile(r"'*[=+\-@\t\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet may compute rather than show, with the wide forms of East Asia, or that looks as
if it had been kept from that.
"""

NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


PAGE_POINTS: Final = 345.0
"""Width of the text of LaTeX's `article`."""
_POINTS_A_CHARACTER, _POINTS_WIDE, _LINE = 4.25, 114.0, 9
"""A digit at 8 points; a column of 4 cm; the characters of a line of a heading."""

NEEDS_UNICODE: Final = (
    "% has characters that pdflatex lacks: use lualatex or xelatex, with \\usepackage{fontspec} and a \\setmainfont"
    " that has them"
)

HYPHEN: Final = re.compile(r"(?<![\w.])-(?=\.?\d)")
"""What stands for a minus sign before a number."""


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A heading and each row's text under it; numbers stand to the right."""

    heading: str
    text: Callable[[Item], str]
    is_number: bool = False
    latex_width: str = ""
    """In LaTeX, for texts that may be long: what their lines are broken at, `4cm`."""

    def shown(self, item: Item) -> str:
        """A row's text for people: a number has a real minus sign."""
        return real_minus(self.text(item)) if self.is_number else self.text(item)


def to_markdown(columns: Sequence[Column[Item]], rows: Iterable[Item]) -> str:
    """A pipe table; what people wrote is text in it and no markup."""
    lines = [
        [markdown_text(column.heading) for column in columns],
        ["---:" if column.is_number else "---" for column in columns],
    ]
    lines += [[markdown_text(column.shown(row)) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """One header line, by default from the first row's keys; None and what a row lacks are empty, truth is `true` or
    `false`.
    """
    listed = list(rows)
    names = list(columns if columns is not None else listed[0] if listed else ())
    return csv_text([names, *([row.get(name) for name in names] for row in listed)])


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows of cells, each as `csv_cell` writes it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return text.getvalue()


def csv_cell(value: Any) -> Any:
    """A value as it is written; a text that a spreadsheet would take for a formula gets an apostrophe before it, and
    one that looks so already another: whoever takes one away has the text. A carriage return would end the row.
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            text = value.replace("\r\n", "\n").replace("\r", "\n")
            return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text
        case _:
            return value


def markdown_text(text: str) -> str:
    """On one line, and every character that Markdown or the HTML within it would take for markup escaped."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def real_minus(text: str) -> str:
    """The text with a minus sign, not a hyphen, before each negative number."""
    return HYPHEN.sub("\u2212", text)


def to_latex(columns: Sequence[Column[Item]], rows: Iterable[Item], caption: str) -> str:
    """A `table` in small print with booktabs' rules; every character that LaTeX would take for a command is escaped. A
    line break in a number's text is one in the table. It is for any engine, unless its first lines say which.
    """
    alignment = "".join(map(_alignment, columns))
    body = [[_stacked(column.shown(row), column.is_number) for column in columns] for row in rows]
    head = " & ".join(_stacked(_broken(column), column.is_number, "b") for column in columns)
    space = "\\addlinespace" if any("{tabular}" in cell for cells in body for cell in cells) else ""
    cells_and_caption = [caption, head, *(cell for cells in body for cell in cells)]
    is_beyond = any(BEYOND_PDFLATEX.search(text) for text in cells_and_caption)
    lines = [
        "% needs \\usepackage{booktabs}",
        *([NEEDS_UNICODE] if is_beyond else []),
        "\\begin{table}",
        "\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{latex_text(caption)}}}\\smallskip",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        f"{head} \\\\",
        "\\midrule",
        *(f"{' & '.join(cells)} \\\\{space}" for cells in body),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def fits_a_page(columns: Sequence[Column[Item]], rows: Sequence[Item]) -> bool:
    """Whether the table of `to_latex` is no wider than the text of a page, which it is taken to be by its characters:
    most are narrower than a digit, which is half an em wide.
    """
    points = sum(
        _POINTS_WIDE
        if column.latex_width
        else max(_width(text) for text in (_broken(column), *map(column.shown, rows)))
        for column in columns
    )
    return points + 8.0 * len(columns) <= PAGE_POINTS


def _width(text: str) -> float:
    return _POINTS_A_CHARACTER * max(map(len, text.split("\n")))


def _broken(column: Column[Any]) -> str:
    """A number's heading on lines of a few words."""
    if not column.is_number:
        return column.heading
    lines: list[str] = []
    for word in column.heading.split():
        if lines and (word == "%" or len(lines[-1]) + len(word) < _LINE):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _alignment(column: Column[Any]) -> str:
    if column.latex_width:
        return f"p{{{column.latex_width}}}"
    return "r" if column.is_number else "l"


def _stacked(text: str, is_number: bool, anchor: str = "t") -> str:
    """The lines of a number's text one above the other, for which LaTeX needs no package. They begin in the row's line,
    or with `b` end in it.
    """
    lines = [latex_text(line) for line in (text.split("\n") if is_number else [text])]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[{anchor}]{{@{{}}r@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def latex_text(text: str) -> str:
    """On one line, and every character that LaTeX would take for a command escaped. What is not shown, as control
    characters, is left out, but for joiners of scripts and emoji.
    """
    words = " ".join(text.split())
    plain = (one for one in words if one.isprintable() or one in "\u200c\u200d")
    return LIGATURE.sub("{}", "".join(LATEX_SPECIAL.get(one, one) for one in plain))
