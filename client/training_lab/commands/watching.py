"""`lab watch`: a table that moves, or a line for each change where nobody sees it move."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import (
    EXIT_DONE,
    EXIT_REFUSED,
    Detached,
    add_service_command,
    elsewhere,
)
from training_lab.commands.ids import EXPERIMENT, STUDY, WRITTEN, whole_id
from training_lab.commands.listing import progress_text
from training_lab.commands.output import TEXT
from training_lab.errors import Unusable
from training_lab.events import Event
from training_lab.lab import Lab
from training_lab.summaries import Summary

MOST = 100
"""Experiments of one stream; a study may have more."""
UNFINISHED = ("queued", "running", "paused")
REDRAWS = 4
"""A second."""
COLUMNS = tuple(
    (name, TEXT)
    for name in ("id", "name", "status", "progress", "epoch", "val", "test accuracy", "why")
)
SPARE = ("epoch", "val", "name", "why", "progress")
"""What a narrow terminal does without."""


def add_parser(commands: Any) -> None:
    """Add `lab watch`."""
    parser = add_service_command(
        commands,
        "watch",
        "watch experiments and studies until they have ended; the exit status says whether all have succeeded",
        "lab watch exp_4k7z @last-study",
        _watch,
    )
    parser.add_argument(
        "id", metavar="ID", nargs="*", help=f"{WRITTEN} (default: yours that have not ended)"
    )


class Watched:
    """What is known of each experiment by the events so far."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self._runs: dict[str, dict[str, dict[str, Any]]] = {}

    def take(self, event: Event) -> str | None:
        """Learn of an event; returns a line for it where an experiment's status has changed."""
        match event.type:
            case "reset":
                self.rows.clear()
                self._runs.clear()
            case "run":
                self._runs.setdefault(event.experiment_id or "", {})[event.id] = event.raw
            case "deleted" if self.rows.pop(event.id, None) is not None:
                self.gone.add(event.id)
                return f"{event.id} deleted"
            case "experiment":
                before = self.rows.get(event.id, {}).get("status")
                self.rows[event.id] = event.raw
                if event.status != before:
                    name = f" ({event.raw['name']})" if event.raw.get("name") else ""
                    return f"{event.id}{name} {event.status}: {event.as_text('status_message')}"
        return None

    @property
    def has_succeeded(self) -> bool:
        """Whether all that was watched has."""
        return not self.gone and all(row["status"] == "succeeded" for row in self.rows.values())

    def table(self) -> Any:
        """How all of it stands; may be asked for by another thread than the one that learns."""
        now = output.now()
        rows = [self._row(row, now) for row in list(self.rows.values())]
        return output.table(COLUMNS, rows, SPARE)

    def _row(self, row: dict[str, Any], now: Any) -> tuple[str, ...]:
        progress, score = row.get("progress") or {}, (row.get("test") or {}).get("accuracy")
        return (
            str(row["id"]),
            str(row.get("name") or ""),
            str(row["status"]),
            progress_text(row, now),
            f"{progress.get('epoch', 0)} of {progress.get('epochs', 0)}",
            self._val(str(row["id"])),
            "" if score is None else str(Summary.of(score)),
            "" if row["status"] == "succeeded" else str(row.get("status_message") or ""),
        )

    def _val(self, experiment_id: str) -> str:
        """Means over the runs' last epochs."""
        found = [
            (run.get("metrics") or {}).get("val") or {}
            for run in list(self._runs.get(experiment_id, {}).values())
        ]
        parts = []
        for name in ("loss", "accuracy"):
            numbers = [val[name] for val in found if val.get(name) is not None]
            if numbers:
                parts.append(f"{name} {sum(numbers) / len(numbers):.3f}")
        return ", ".join(parts)


def _watch(lab: Lab, options: argparse.Namespace) -> int:
    events = _events(lab, [whole_id(lab, one, EXPERIMENT, STUDY) for one in options.id])
    if events is None:
        if not options.quiet:
            output.say("Nothing of yours is under way.")
        return EXIT_DONE
    watched = Watched()
    try:
        _show(events, watched, options.quiet)
    except KeyboardInterrupt as interrupt:
        left = [one for one, row in watched.rows.items() if row["status"] in UNFINISHED]
        again = " ".join(["lab watch", *(options.id or left[:3])]) + elsewhere(options)
        raise Detached(
            f"No longer watching, but {output.count(len(left), 'experiment')} will go on: `{again}` watches again,"
            " `lab cancel ID` ends one."
        ) from interrupt
    return EXIT_DONE if watched.has_succeeded else EXIT_REFUSED


def _events(lab: Lab, wanted: list[str]) -> Iterable[Event] | None:
    """What changes of these, or of one's own that have not ended; None where there is nothing."""
    if len(wanted) == 1 and wanted[0].startswith(STUDY):
        return lab.events(study=wanted[0])
    if wanted:
        found = [one for some in wanted for one in cells_of(lab, some)]
    else:
        me = lab.get("/me")["owner"]["name"]
        rows = lab.experiments(status=UNFINISHED, owner=me, limit=MOST)
        found = [row.id for row in rows]
    if not found:
        return None
    experiments = list(dict.fromkeys(found))
    if len(experiments) > MOST:
        raise Unusable(
            f"these are {len(experiments)} experiments, and {MOST} can be watched at once, or one study"
        )
    return lab.events(experiments)


def cells_of(lab: Lab, identifier: str) -> list[str]:
    """The experiments of a study; of an experiment itself."""
    if not identifier.startswith(STUDY):
        return [identifier]
    return [cell["experiment_id"] for cell in lab.study(identifier).cells if cell["experiment_id"]]


def _show(events: Iterable[Event], watched: Watched, is_quiet: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if is_quiet:
        _follow(events, watched, lambda _: None)
    elif not console.is_terminal:
        _follow(events, watched, lambda line: print(output.plain(line), flush=True))
    else:
        from rich.live import Live

        live = Live(
            console=console,
            refresh_per_second=REDRAWS,
            get_renderable=watched.table,
            transient=True,
        )
        with live:
            _follow(events, watched, lambda _: None)
    if not is_quiet:
        output.show(watched.table())


def _follow(events: Iterable[Event], watched: Watched, tell: Callable[[str], None]) -> None:
    for event in events:
        line = watched.take(event)
        if line is not None:
            tell(line)
