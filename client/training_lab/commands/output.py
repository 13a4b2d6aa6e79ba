"""Text and tables on standard output: wrapped to a terminal, one line each in a pipe or a file, where no control
character is written.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from training_lab.late import Late
from training_lab.standard_streams import writes_all

if TYPE_CHECKING:
    from rich import cells as rich_cells
    from rich import console
    from rich import table as rich_table
    from rich.console import RenderableType
    from rich.table import Table
else:
    rich_cells, console, rich_table = (
        Late("rich.cells"),
        Late("rich.console"),
        Late("rich.table"),
    )

UNBOUNDED = 10_000
"""Columns of what is no terminal: nothing that people write is wider."""

GAP = 2
"""Spaces between columns."""
SHORT_CELL = 8
"""Characters of a cell up to which it stays in one line, such as `12 min`."""
LONG_WORD = 12
"""Characters of a word beyond which it may be broken in a narrow terminal."""

NUMBER, TEXT = "right", "left"
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def show(*parts: "RenderableType") -> None:
    """Print the parts, one below the other."""
    terminal = _console()
    with terminal.capture() as captured:
        for part in parts:
            terminal.print(part)
    for line in captured.get().splitlines():
        print(line.rstrip())


def say(line: str) -> None:
    """A line beside the results: on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def show_json(document: object) -> None:
    """Print a document as JSON for people and scripts."""
    print(json.dumps(document, indent=2, ensure_ascii=not writes_all(sys.stdout.encoding)))


def table(
    columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], spare: Sequence[str] = ()
) -> "Table":
    """A table without lines; a column is its heading and NUMBER or TEXT. Columns that are empty in every row are left
    out, and on a narrow terminal those that are `spare`, the first of them first. Ids and whatever else has no space in
    it stay in one line, so that they can be copied, unless there is no room for that.
    """
    kept = [[plain(cell) for cell in row] for row in rows]
    places = [place for place in range(len(columns)) if not kept or any(row[place] for row in kept)]
    columns_cells = {place: [row[place] for row in kept] for place in places}
    least = {place: _least(columns[place], cells) for place, cells in columns_cells.items()}
    room = _console().width

    def left() -> int:
        return room + GAP - sum(least[place] + GAP for place in places)

    for name in spare:
        if left() < 0:
            places = [place for place in places if columns[place][0] != name]
    natural = {place: _natural(columns[place], columns_cells[place]) for place in places}
    widths = _handed_out({place: least[place] for place in places}, natural, left())
    shown = rich_table.Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for place in places:
        name, side = columns[place]
        justify: Literal["left", "right"] = "right" if side == NUMBER else "left"
        shown.add_column(name, justify=justify, overflow="fold", width=widths.get(place))
    for row in kept:
        shown.add_row(*(row[place] for place in places))
    return shown


def _natural(column: tuple[str, str], cells: Sequence[str]) -> int:
    """Characters that a column takes where there is room."""
    return max(map(rich_cells.cell_len, [column[0], *cells]))


def _least(column: tuple[str, str], cells: Sequence[str]) -> int:
    """Characters that it takes at least so that no id, no number and no short word is broken."""
    heading = max(map(len, column[0].split()), default=0)
    if all(" " not in cell for cell in cells):
        return max([heading, *map(rich_cells.cell_len, cells)])
    widths = [heading]
    for cell in cells:
        whole = rich_cells.cell_len(cell)
        words = max(map(rich_cells.cell_len, cell.split()), default=0)
        widths.append(whole if whole <= SHORT_CELL else min(LONG_WORD, words))
    return max(widths)


def _handed_out(least: dict[int, int], natural: dict[int, int], left: int) -> dict[int, int]:
    """A width for each column: the least, and what is left where it is needed, by equal shares. None at all where there
    is no room even for the least: rich breaks what it must then.
    """
    if left < 0:
        return {}
    widths = dict(least)
    waiting = sorted(widths, key=lambda place: natural[place] - least[place])
    for number, place in enumerate(waiting):
        more = min(natural[place] - least[place], left // (len(waiting) - number))
        widths[place] += max(0, more)
        left -= max(0, more)
    return widths


def _console() -> "console.Console":
    shown = console.Console(highlight=False, markup=False, emoji=False)
    if not shown.is_terminal:
        shown.width = UNBOUNDED
    return shown


def plain(text: str) -> str:
    """A text of the service's as a terminal may have it: control characters as `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def age(moment: str | None, now: datetime) -> str:
    """How long ago that was, in one unit: `12 s`, `5 min`, `3 h`, `12 d`; empty where it was never."""
    if moment is None:
        return ""
    return span((now - datetime.fromisoformat(moment)).total_seconds())


def span(seconds: float) -> str:
    """A time in one unit, rounded down; of what is past a clock that differs nothing."""
    whole = max(0, int(seconds))
    for unit, size, limit in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if whole < limit * size:
            return f"{whole // size} {unit}"
    return f"{whole // 86_400} d"


def now() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)


def value_text(value: Any) -> str:
    """A field's value as it stands in JSON; a text without quotes, nothing as `-`."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def count(number: int, noun: str) -> str:
    """Such as `3 cells`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(num_bytes: int) -> str:
    """`1.4 MB`."""
    power = next(
        (power for power in range(len(UNITS)) if num_bytes < 1000 ** (power + 1)), len(UNITS) - 1
    )
    return f"{num_bytes / 1000**power:,.{min(power, 1)}f} {UNITS[power]}"
