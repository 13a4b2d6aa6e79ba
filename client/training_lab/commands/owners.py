"""`lab me` and `lab owners`: what owners have and may have, asked of a service."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.output import NUMBER, TEXT, plain, show, show_json, size, table
from training_lab.lab import Lab

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    ("owner", TEXT),
    ("role", TEXT),
    ("experiments", NUMBER),
    ("done", NUMBER),
    ("failed", NUMBER),
    ("running", NUMBER),
    ("waiting", NUMBER),
    ("hours this week", NUMBER),
    ("in all", NUMBER),
    ("disk", NUMBER),
    ("last submitted", TEXT),
)
WAITING = ("queued", "paused")


def add_parser(commands: Any) -> None:
    """Add `lab me` and `lab owners`."""
    me = add_service_command(
        commands, "me", "whose key this is, and what its owner has and may have", "lab me", _me
    )
    owners = add_service_command(
        commands, "owners", "a table of what each owner has and may have", "lab owners", _owners
    )
    for parser in (me, owners):
        parser.add_argument("--json", action="store_true", help="answer in JSON")


def _me(lab: Lab, options: argparse.Namespace) -> int:
    answer = lab.get("/me")
    if options.json:
        show_json(answer)
        return EXIT_DONE
    key = "no keys are asked for" if answer["key_id"] is None else answer["key_id"]
    print(plain(f"{answer['owner']['name']}, role '{answer['role']}' ({key})"))
    show(owner_table([answer["owner"]]))
    return EXIT_DONE


def _owners(lab: Lab, options: argparse.Namespace) -> int:
    answer = lab.get("/owners")
    if options.json:
        show_json(answer)
    else:
        show(owner_table(answer["data"]))
    return EXIT_DONE


def owner_table(owners: Iterable[dict[str, Any]]) -> "Table":
    """A row an owner; `2 of 10` is what they have of what they may."""
    return table(COLUMNS, [_row(owner) for owner in owners])


def _row(owner: dict[str, Any]) -> tuple[str, ...]:
    runs, quotas = owner["runs"], owner["quotas"]
    waiting = sum(runs.get(status, 0) for status in WAITING)
    disk = owner["dataset_bytes"] + owner["artifact_bytes"]
    most = quotas["disk_bytes"]["limit"]
    return (
        owner["name"],
        owner["role"] or "",
        f"{owner['experiments']:,}",
        f"{runs.get('succeeded', 0):,}",
        f"{runs.get('failed', 0):,}",
        _of(f"{runs.get('running', 0):,}", quotas["running"]["limit"]),
        _of(f"{waiting:,}", quotas["queued"]["limit"]),
        _of(f"{owner['training_hours_week']:.1f}", quotas["hours"]["limit"]),
        f"{owner['training_hours']:.1f}",
        size(disk) + ("" if most is None else f" of {size(int(most))}"),
        ""
        if owner["last_submitted_at"] is None
        else owner["last_submitted_at"][:16].replace("T", " "),
    )


def _of(has: str, limit: float | None) -> str:
    return has if limit is None else f"{has} of {limit:,.10g}"
