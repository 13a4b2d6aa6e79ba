"""`lab ls`: experiments, a row each."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.output import NUMBER, TEXT
from training_lab.errors import Unusable
from training_lab.experiment import Experiment
from training_lab.lab import Lab

ROWS = 20
COLUMNS = (
    ("id", TEXT),
    ("name", TEXT),
    ("network", TEXT),
    ("data", TEXT),
    ("status", TEXT),
    ("progress", TEXT),
    ("test accuracy", TEXT),
    ("age", NUMBER),
)
SPARE = ("data", "network", "age", "progress", "name")
"""What a narrow terminal does without."""


def add_parser(commands: Any) -> None:
    """Add `lab ls`."""
    parser = add_service_command(
        commands,
        "ls",
        "list experiments: status, progress, test accuracy with its interval, age",
        "lab ls --status running --label week:3 --sort -test.accuracy -n 50",
        _list,
    )
    parser.add_argument("-a", "--all", action="store_true", help="also what is archived")
    parser.add_argument(
        "--status", action="append", metavar="STATUS", help="only these; may be given several times"
    )
    parser.add_argument(
        "--label", action="append", metavar="KEY:VALUE", help="only with these; all must match"
    )
    parser.add_argument("-q", metavar="TEXT", help="only with this text in name, id or a label")
    parser.add_argument(
        "--sort",
        metavar="BY",
        help="created_at, finished_at, duration, test.accuracy, val.loss, …; with - before it the highest first"
        " (default: -created_at)",
    )
    parser.add_argument("-n", type=int, default=ROWS, help=f"most rows (default: {ROWS})")
    parser.add_argument("--json", action="store_true", help="the rows in JSON, with all they have")


def _list(lab: Lab, options: argparse.Namespace) -> int:
    if options.n < 1:
        raise Unusable("-n is a number of rows from 1 on")
    found = lab.experiments(
        status=options.status,
        label=options.label,
        q=options.q,
        sort=options.sort,
        archived="any" if options.all else None,
        limit=options.n + 1,  # one more says whether there are more
    )
    rows = list(found)
    shown = rows[: options.n]
    if options.json:
        output.show_json([row.raw for row in shown])
    elif shown:
        now = output.now()
        output.show(output.table(COLUMNS, [_row(row, now) for row in shown], SPARE))
    if not options.quiet and not options.json:
        if not shown:
            output.say(
                "There is no such experiment." if _narrows(options) else "No experiment yet."
            )
        elif len(rows) > len(shown):
            output.say(f"There are more: -n {2 * options.n} shows further ones.")
    return EXIT_DONE


def _narrows(options: argparse.Namespace) -> bool:
    return bool(options.status or options.label or options.q)


def _row(row: Experiment, now: datetime) -> tuple[str, ...]:
    score = row.results.get("test", {}).get("accuracy")
    archived = " (archived)" if row.raw.get("archived") else ""
    return (
        row.id,
        (row.name or "") + archived,
        row.as_text("network"),
        row.as_text("dataset"),
        row.status,
        progress_text(row.raw, now),
        "" if score is None else str(score),
        output.age(row.as_text_or_none("created_at"), now),
    )


def progress_text(row: Mapping[str, Any], now: datetime) -> str:
    """How far an unfinished one is, and about how long it still takes: `40 %, 3 min left`; empty once it has ended."""
    if row.get("is_terminal"):
        return ""
    share = f"{100 * float((row.get('progress') or {}).get('fraction') or 0):.0f} %"
    finish = row.get("estimated_finish_at")
    if finish is None:
        return share
    left = (datetime.fromisoformat(finish) - now).total_seconds()
    return f"{share}, {output.span(left)} left"
