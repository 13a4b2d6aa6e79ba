"""`lab doctor`: what is as it should be, and what to do about the rest."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from training_lab.commands import output
from training_lab.commands.command_line import (
    EXIT_DONE,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    add_service_command,
)
from training_lab.commands.findings import (
    CHECKS,
    Finding,
    State,
    check_version,
    nobody_there,
)
from training_lab.commands.output import TEXT
from training_lab.commands.requesting import Service
from training_lab.errors import Unreachable
from training_lab.lab import Lab

SIGNS: Final[dict[State, str]] = {"ok": "✓", "bad": "✗", "unknown": "–"}  # noqa: RUF001 - the field's sign
STYLES: Final[dict[State, str]] = {"ok": "green", "bad": "bold red", "unknown": "dim"}
COLUMNS = (("", TEXT), ("what", TEXT), ("how it is", TEXT), ("what to do", TEXT))

LocalChecks = Callable[[], Iterable[Finding]]
"""What else is installed here finds of this machine: `set_defaults(local_checks=…)` on this command's parser."""


def add_parser(commands: Any) -> None:
    """Add `lab doctor`."""
    parser = add_service_command(
        commands,
        "doctor",
        "look whether all is as it should be, and say what to do about the rest",
        "lab doctor --json",
        _examine,
    )
    parser.add_argument("--json", action="store_true", help="the findings in JSON")
    parser.set_defaults(local_checks=None)


def _examine(lab: Lab, options: argparse.Namespace) -> int:
    status = EXIT_DONE
    found: list[Finding] = []
    try:
        found += _of_the_service(Service(lab))
    except Unreachable as error:
        found.append(nobody_there(lab.url, error))
        status = EXIT_UNREACHABLE
    if options.local_checks is not None:
        if sys.stderr.isatty():
            output.say("trying what trains on this machine, which takes some ten seconds …")
        found += options.local_checks()
    if status == EXIT_DONE and any(one.state == "bad" for one in found):
        status = EXIT_REFUSED
    if options.json:
        output.show_json({"ok": status == EXIT_DONE, "checks": [asdict(one) for one in found]})
        return status
    shown = [one for one in found if one.state == "bad"] if options.quiet else found
    if shown:
        output.show(_table(shown))
    return status


def _of_the_service(service: Service) -> Iterator[Finding]:
    first = list(check_version(service))
    yield from first
    if first[0].state == "ok":
        for check in CHECKS:
            yield from check(service)


def _table(found: list[Finding]) -> Any:
    rows = [(SIGNS[one.state], one.name, one.said, one.remedy) for one in found]
    shown = output.table(COLUMNS, rows)
    for number, one in enumerate(found):
        shown.rows[number].style = STYLES[one.state] if one.state != "ok" else None
    return shown
