"""Parts of a page in the terminal: headings, lists, how long things take."""

from typing import TYPE_CHECKING

from training_lab.late import Late

if TYPE_CHECKING:
    from rich import padding, table, text
    from rich.console import RenderableType
else:
    padding, table, text = Late("rich.padding"), Late("rich.table"), Late("rich.text")


def heading(title: str) -> "text.Text":
    """A line that opens a section."""
    return text.Text(title, style="bold")


def line(said: str) -> "text.Text":
    """A line in which nothing is markup."""
    return text.Text(said)


def bullet(said: str) -> "table.Table":
    """An item of a list; its further lines stand below its first."""
    item = table.Table.grid(padding=(0, 1, 0, 0))
    item.add_row("-", said)
    return item


def indented(part: "RenderableType", columns: int = 2) -> "padding.Padding":
    """The part, moved to the right."""
    return padding.Padding(part, (0, 0, 0, columns), expand=False)


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
