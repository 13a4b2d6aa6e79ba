"""`lab me` and `lab owners`: what owners have and may have, asked of a service."""

import argparse
import json
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from app.commands.client import Service
from app.commands.terminal import NUMBER, TEXT, show, table
from app.quantities import in_words

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


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add both to the command line; returns those that speak to a service."""
    me = commands.add_parser("me", help="whose key this is, and what its owner has and may have")
    me.add_argument("--json", action="store_true", help="answer in JSON")
    me.set_defaults(run=_me)
    owners = commands.add_parser("owners", help="a table of what each owner has and may have")
    owners.add_argument("--json", action="store_true", help="answer in JSON")
    owners.set_defaults(run=_owners)
    return [me, owners]


def _me(options: argparse.Namespace) -> int:
    with Service(options.url) as service:
        answer = service.get("/me")
    if options.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return 0
    key = "no keys are asked for" if answer["key_id"] is None else answer["key_id"]
    print(f"{answer['owner']['name']}, role '{answer['role']}' ({key})")
    show(owner_table([answer["owner"]]))
    return 0


def _owners(options: argparse.Namespace) -> int:
    with Service(options.url) as service:
        answer = service.get("/owners")
    if options.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show(owner_table(answer["data"]))
    return 0


def owner_table(owners: Iterable[dict[str, Any]]) -> Table:
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
        in_words(disk) + ("" if most is None else f" of {in_words(int(most))}"),
        ""
        if owner["last_submitted_at"] is None
        else owner["last_submitted_at"][:16].replace("T", " "),
    )


def _of(has: str, limit: float | None) -> str:
    return has if limit is None else f"{has} of {limit:,.10g}"
