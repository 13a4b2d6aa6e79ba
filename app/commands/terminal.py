"""Text and tables on standard output: wrapped to a terminal, one line each in a pipe or a file, where no control
character is written.
"""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000
"""Columns of what is no terminal: nothing that people write is wider."""

NUMBER, TEXT = "right", "left"


def show(*parts: RenderableType) -> None:
    """Print the parts, one below the other."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip())


def say(line: str) -> None:
    """A line beside the results: on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Table:
    """A table without lines; a column is its heading and NUMBER or TEXT. Columns that are empty in every row are left
    out.
    """
    kept = list(rows)
    places = [place for place in range(len(columns)) if not kept or any(row[place] for row in kept)]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in places:
        name, side = columns[place]
        shown.add_column(name, justify="right" if side == NUMBER else "left", overflow="fold")
    for row in kept:
        shown.add_row(*(row[place] for place in places))
    return shown


def heading(text: str) -> Text:
    """A line that opens a section."""
    return Text(text, style="bold")


def bullet(text: str) -> Table:
    """An item of a list; its further lines stand below its first."""
    item = Table.grid(padding=(0, 1, 0, 0))
    item.add_row("-", text)
    return item


def indented(part: RenderableType, columns: int = 2) -> Padding:
    """The part, moved to the right."""
    return Padding(part, (0, 0, 0, columns), expand=False)


def duration(seconds: float) -> str:
    """About how long something takes, in the unit that people would use: `40 seconds`, `12 minutes`, `3.5 hours`, `2.1
    days`.
    """
    for unit, size, limit in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48)):
        if seconds < limit * size:
            number = (
                f"{seconds / size:.1f}" if unit == "hour" else f"{max(1, round(seconds / size))}"
            )
            return f"{number} {unit}" + ("" if number == "1" else "s")
    return f"{seconds / 86_400:.1f} days"


def count(number: int, noun: str) -> str:
    """Such as `3 cells`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
