"""Tables as text: Markdown, CSV and LaTeX from the same columns."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A heading and each row's text under it; numbers stand to the right."""

    heading: str
    text: Callable[[Item], str]
    is_number: bool = False


def to_markdown(columns: Sequence[Column[Item]], rows: Iterable[Item]) -> str:
    """A pipe table; bars and line breaks within a cell are taken out."""
    lines = [[_in_a_cell(column.heading) for column in columns], ["---:" if column.is_number else "---" for column in columns]]
    lines += [[_in_a_cell(column.text(row)) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def to_csv(rows: Iterable[dict[str, Any]]) -> str:
    """One header line from the first row's keys; None is empty, truth is `true` or `false`."""
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0]) if listed else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in listed)
    return text.getvalue()


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


def _in_a_cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _plain(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return value


def _escaped(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(character, character) for character in " ".join(text.split()))
