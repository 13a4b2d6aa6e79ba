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
    "±": r"$\pm$",
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
}

MARKUP: Final = re.compile(r"[\\`*\[\]<>|~$]|&(?=#?\w)|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown may take for markup; an underscore within a word is none, nor is an ampersand that begins no entity."""

FORMULA: Final = re.compile(r"[=+\-@\t\n]")
"""How a text begins that a spreadsheet may compute rather than show."""

NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A heading and each row's text under it; numbers stand to the right."""

    heading: str
    text: Callable[[Item], str]
    is_number: bool = False


def to_markdown(columns: Sequence[Column[Item]], rows: Iterable[Item]) -> str:
    """A pipe table; what people wrote is text in it and no markup."""
    lines = [
        [markdown_text(column.heading) for column in columns],
        ["---:" if column.is_number else "---" for column in columns],
    ]
    lines += [[markdown_text(column.text(row)) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """One header line, by default from the first row's keys; None and what a row lacks are empty, truth is `true` or
    `false`.
    """
    listed = list(rows)
    names = list(columns if columns is not None else listed[0] if listed else ())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, names))
    writer.writerows([csv_cell(row.get(name)) for name in names] for row in listed)
    return text.getvalue()


def csv_cell(value: Any) -> Any:
    """A value as it is written; a text that a spreadsheet would take for a formula gets an apostrophe before it. A
    carriage return would end the row.
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


def to_latex(columns: Sequence[Column[Item]], rows: Iterable[Item], caption: str) -> str:
    """A `table` with booktabs' rules; every character that LaTeX would take for a command is escaped."""
    alignment = "".join("r" if column.is_number else "l" for column in columns)
    body = [[_escaped(column.text(row)) for column in columns] for row in rows]
    head = " & ".join(_escaped(column.heading) for column in columns)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escaped(caption)}}}",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        f"{head} \\\\",
        "\\midrule",
        *(f"{' & '.join(cells)} \\\\" for cells in body),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in " ".join(text.split()))
