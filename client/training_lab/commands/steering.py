"""`lab cancel`, `pause`, `resume`, `retry`, `move` and `delete`: a line for each experiment or study."""

import argparse
import sys
from dataclasses import dataclass
from typing import Any, Final

from training_lab.commands import output
from training_lab.commands.command_line import (
    EXIT_DONE,
    EXIT_REFUSED,
    add_service_command,
    complain,
)
from training_lab.commands.ids import EXPERIMENT, STUDY, WRITTEN, whole_id
from training_lab.commands.requesting import Service, address, is_study
from training_lab.errors import Refused, Unusable
from training_lab.lab import Lab

DEVICES: Final = ("any", "auto", "cpu", "cuda")
MOVED_TO = (
    "cpu, cuda, any, or auto: where its first seed was trained; what runs goes on where it is"
)
UNFINISHED: Final = ("queued", "running", "paused")
MOST_NAMED = 5
"""Ids in the question whether all that fits is meant."""


@dataclass(frozen=True)
class Verb:
    """What is done: its name, what it says in `--help`, and in which status there is something to do."""

    name: str
    does: str
    suits: tuple[str, ...]
    aliases: tuple[str, ...] = ()


VERBS = (
    Verb(
        "cancel",
        "cancel experiments or studies",
        UNFINISHED,
    ),
    Verb(
        "pause",
        "let experiments or studies stand still, their progress kept",
        ("queued", "running"),
    ),
    Verb("resume", "let paused experiments or studies go on", ("paused",)),
    Verb(
        "retry",
        "queue failed and cancelled runs of experiments or studies again",
        ("failed", "cancelled"),
    ),
    Verb(
        "move",
        "let what experiments or studies have still to train be trained on another kind of device",
        UNFINISHED,
    ),
    Verb(
        "delete",
        "delete finished experiments or studies with their files",
        ("succeeded", "failed", "cancelled"),
        ("rm",),
    ),
)


def add_parser(commands: Any) -> None:
    """Add all of them."""
    for verb in VERBS:
        wish = " --device any" if verb.name == "move" else ""
        parser = add_service_command(
            commands,
            verb.name,
            verb.does,
            f"lab {verb.name} --label week:3{wish} --yes",
            _act_of(verb),
            aliases=verb.aliases,
        )
        if verb.name == "move":
            parser.add_argument("--device", choices=DEVICES, required=True, help=MOVED_TO)
        parser.add_argument("id", metavar="ID", nargs="*", help=WRITTEN)
        parser.add_argument(
            "--label",
            action="append",
            metavar="KEY:VALUE",
            help="your experiments with this label, in place of ids; all must match",
        )
        parser.add_argument(
            "--status",
            action="append",
            metavar="STATUS",
            help="your experiments with this status; may be given several times",
        )
        parser.add_argument(
            "-y", "--yes", action="store_true", help="ask no question about what fits"
        )
        parser.add_argument("--json", action="store_true", help="the records in JSON")


def _act_of(verb: Verb) -> Any:
    def act(lab: Lab, options: argparse.Namespace) -> int:
        if options.label or options.status:
            return _steer_fitting(lab, verb, options)
        if not options.id:
            raise Unusable(f"say what to {verb.name}: an ID, or --label or --status")
        return _steer(lab, verb, options.id, options)

    return act


def _steer_fitting(lab: Lab, verb: Verb, options: argparse.Namespace) -> int:
    """One's own that fit: who sees all does not steer others' by it."""
    if options.id:
        raise Unusable("name IDs, or say --label and --status, not both")
    found = lab.experiments(
        status=options.status or list(verb.suits),
        label=options.label,
        owner=lab.get("/me")["owner"]["name"],
    )
    ids = [one.id for one in found]
    if not ids:
        if not options.quiet:
            output.say(f"There is no experiment of yours to {verb.name} that fits.")
        return EXIT_DONE
    return _steer(lab, verb, ids, options) if _is_meant(verb, ids, options.yes) else EXIT_REFUSED


def _is_meant(verb: Verb, ids: list[str], said_yes: bool) -> bool:
    if said_yes:
        return True
    more = f" and {len(ids) - MOST_NAMED:,} more" if len(ids) > MOST_NAMED else ""
    fits = f"{output.count(len(ids), 'experiment')} fit: {', '.join(ids[:MOST_NAMED])}{more}"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Unusable(f"{fits}. Nothing was done: --yes says that they are meant")
    output.say(f"{fits}.")
    print(f"{verb.name.capitalize()} them? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    output.say("Nothing was done.")
    return False


def _steer(lab: Lab, verb: Verb, said: list[str], options: argparse.Namespace) -> int:
    """Each by itself: what the service refuses of one keeps none of the others."""
    service, records, status = Service(lab), [], EXIT_DONE
    for text in dict.fromkeys(said):
        try:
            record = _steer_one(service, verb, text, options)
        except Refused as refused:
            before = f"{text}: " if len(said) > 1 else ""
            status = complain(f"{before}{refused}", EXIT_REFUSED)
            continue
        records.append(record)
        if not options.json and not options.quiet:
            print(output.plain(_line(record)), flush=True)
    if options.json and records:
        output.show_json(records[0] if len(said) == 1 else records)
    return status


def _steer_one(
    service: Service, verb: Verb, text: str, options: argparse.Namespace
) -> dict[str, Any]:
    found = whole_id(service.lab, text, EXPERIMENT, STUDY)
    if verb.name == "move":
        return _move(service, found, options.device)
    if verb.name == "delete":
        service.delete(address(found))
        return {"id": found, "deleted": True}
    record: dict[str, Any] = service.post(f"{address(found)}/{verb.name}")
    return record


def _move(service: Service, found: str, device: str) -> dict[str, Any]:
    """Of a study every cell that has something left to train; raises Unusable where none has."""
    if not is_study(found):
        return service.patch(address(found), {"device": device})
    cells = [one.id for one in service.lab.experiments(study=found, status=list(UNFINISHED))]
    if not cells:
        raise Unusable(f"{found} has ended: nothing of it is left to train")
    for cell in cells:
        service.patch(address(cell), {"device": device})
    record: dict[str, Any] = service.get(address(found))
    return record


def _line(record: dict[str, Any]) -> str:
    if record.get("deleted"):
        return f"{record['id']} is deleted."
    return f"{record['id']} {record['status']}: {record['status_message']}"
