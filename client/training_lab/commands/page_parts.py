"""What pages of `lab show` are made of: a head, facts, sections, what went wrong."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from training_lab.commands import output

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {"succeeded": "green", "failed": "bold red", "running": "cyan", "cancelled": "yellow"}


def head(record: Mapping[str, Any]) -> "Iterator[RenderableType]":
    """Id, status and name; how it stands; how far it is, unless it has ended."""
    from rich.text import Text

    status = str(record["status"])
    title = Text(f"{record['id']}  ", style="bold")
    title.append(status, style=STYLES.get(status, ""))
    if record.get("name"):
        title.append(f"  {output.plain(str(record['name']))}", style="not bold")
    yield title
    said = str(record.get("status_message") or record.get("status_reason") or "")
    if not record.get("is_terminal", record.get("finished_at") is not None):
        said = " ".join(filter(None, (said, _how_far(record))))
    yield Text(output.plain(said))
    yield Text("")


def _how_far(record: Mapping[str, Any]) -> str:
    progress, queue = record.get("progress") or {}, record.get("queue") or {}
    parts = [f"{100 * float(progress.get('fraction') or 0):.0f} % done"]
    if queue.get("position"):
        parts.append(f"place {queue['position']} in the queue")
    finish = record.get("estimated_finish_at")
    if finish is not None:
        left = (datetime.fromisoformat(finish) - output.now()).total_seconds()
        parts.append(f"about {output.span(left)} left")
    return f"({', '.join(parts)})"


def beside(record: Mapping[str, Any]) -> dict[str, str]:
    """What both experiments and studies have beside what they are."""
    labels = record.get("labels") or {}
    study = record.get("study_id")
    cell = record.get("cell")
    return {
        "labels": " ".join(f"{key}:{value}" for key, value in labels.items()),
        "notes": str(record.get("notes") or "") if isinstance(record.get("notes"), str) else "",
        "study": f"{study}, cell {cell}" if study and cell else str(study or ""),
        "owner": str(record.get("owner") or ""),
        **times(record),
        "disk": output.size(int(record["disk_bytes"])) if record.get("disk_bytes") else "",
    }


def times(record: Mapping[str, Any]) -> dict[str, str]:
    """When it was sent, began and ended."""
    began, ended = record.get("started_at"), record.get("finished_at")
    took = ""
    if began is not None and ended is not None:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
        took = output.span(seconds)
    return {
        "sent": moment_text(record.get("created_at")),
        "began": moment_text(began),
        "ended": moment_text(ended) + (f", took {took}" if took else ""),
    }


def moment_text(moment: str | None) -> str:
    """By this machine's clock, and how long ago."""
    if moment is None:
        return ""
    here = datetime.fromisoformat(moment).astimezone()
    return f"{here:%Y-%m-%d %H:%M} ({output.age(moment, output.now())} ago)"


def fact_table(facts: Mapping[str, str]) -> "RenderableType":
    """A line each; what is empty is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, said in facts.items():
        if said:
            grid.add_row(name, Text(output.plain(said)))
    return grid


def section(title: str, part: "RenderableType") -> "Iterator[RenderableType]":
    """A part below a heading."""
    from training_lab.commands.terminal import heading

    yield ""
    yield heading(title)
    yield part


def errors(found: Iterable[tuple[str, Mapping[str, Any]]]) -> "Iterator[RenderableType]":
    """Whose each is, what went wrong and what to do; nothing where there is none."""
    from rich.text import Text

    from training_lab.commands.terminal import heading

    listed = list(found)
    if listed:
        yield ""
        yield heading("Errors")
    for whose, error in listed:
        hint = f" ({error['hint']})" if error.get("hint") else ""
        before = f"{whose}: " if whose else ""
        yield Text(output.plain(f"{before}{error.get('message') or error.get('code')}{hint}"))


def warnings(record: Mapping[str, Any]) -> "Iterator[RenderableType]":
    """What is to be kept in mind of it; nothing where there is nothing."""
    from rich.text import Text

    from training_lab.commands.terminal import heading

    lines = [str(line) for line in record.get("warnings") or ()]
    differs = record.get("environment_differs") or {}
    lines += [
        f"{name} differs between its runs: {output.value_text(values)}"
        for name, values in differs.items()
    ]
    if lines:
        yield ""
        yield heading("Warnings")
        yield from (Text(output.plain(line)) for line in lines)
