"""Text and tables on standard output: wrapped to a terminal, one line each in a pipe or a file, where no control
character is written.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

UNBOUNDED = 10_000
"""Columns of what is no terminal: nothing that people write is wider."""

NUMBER, TEXT = "right", "left"
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def show(*parts: "RenderableType") -> None:
    """Print the parts, one below the other."""
    from rich.console import Console

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


def show_json(document: object) -> None:
    """Print a document as JSON for people and scripts."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> "Table":
    """A table without lines; a column is its heading and NUMBER or TEXT. Columns that are empty in every row are left
    out.
    """
    from rich.table import Table

    kept = list(rows)
    places = [place for place in range(len(columns)) if not kept or any(row[place] for row in kept)]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in places:
        name, side = columns[place]
        shown.add_column(name, justify="right" if side == NUMBER else "left", overflow="fold")
    for row in kept:
        shown.add_row(*(plain(row[place]) for place in places))
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
