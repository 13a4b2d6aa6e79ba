"""How far something is while it is waited for: a bar on a terminal, one output in a notebook, else nothing."""

import sys
from typing import Any, Literal, Protocol

from training_lab.documents import package
from training_lab.html import bar_html

Shown = Literal["auto", "bar", "notebook", "none"]
WIDEST = 200
"""Columns of a line that is not written to a terminal."""


class Display(Protocol):
    """Where progress is shown."""

    is_seen: bool
    """Whether anybody sees it, and wants to see it move."""

    def show(self, title: str, fraction: float, message: str) -> None:
        """How it stands now."""

    def close(self) -> None:
        """Nothing more comes."""


class Nothing:
    """Nobody looks."""

    is_seen = False

    def show(self, title: str, fraction: float, message: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is open."""


class Bar:
    """A bar on standard error."""

    is_seen = True
    num_open = 0
    """A terminal has room for one: who waits for several at once sees the first."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        if not console.is_terminal:
            console.width = WIDEST
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=console,
        )
        self._task = self._bar.add_task("", total=1.0, message="")
        self._bar.start()
        Bar.num_open += 1

    def show(self, title: str, fraction: float, message: str) -> None:
        """Move it."""
        self._bar.update(self._task, description=title, completed=fraction, message=message)

    def close(self) -> None:
        """Leave it as it is."""
        self._bar.stop()
        Bar.num_open -= 1


class Cell:
    """One output of a notebook's cell, which changes."""

    is_seen = True

    def __init__(self) -> None:
        self._display = package("IPython.display", "progress in a notebook")
        self._shown: Any = None

    def show(self, title: str, fraction: float, message: str) -> None:
        """Show it, in place of what was shown."""
        html = self._display.HTML(bar_html(title, fraction, message))
        if self._shown is None:
            self._shown = self._display.display(html, display_id=True)
        else:
            self._shown.update(html)

    def close(self) -> None:
        """Leave it as it is."""


def display_for(wanted: Shown) -> Display:
    """What suits where this runs."""
    if wanted == "notebook" or (wanted == "auto" and is_notebook()):
        return Cell()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if (wanted == "bar" or (wanted == "auto" and is_terminal)) and not Bar.num_open:
        return Bar()
    return Nothing()


def is_notebook() -> bool:
    """Whether a kernel runs this; IPython is not loaded to find out."""
    loaded = sys.modules.get("IPython")
    shell = loaded.get_ipython() if loaded is not None and hasattr(loaded, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None
