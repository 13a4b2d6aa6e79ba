"""`lab submit` and `lab again`: an experiment from a file, or like one that there is."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from app.commands import client
from app.commands.changes import add_set, with_changes
from app.commands.studies import is_study_body

EXIT_REFUSED = 1


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add `submit` and `again` to the command line; returns the parsers that speak to a service and still need its
    `--url`.
    """
    submit = commands.add_parser("submit", help="send an experiment from a JSON or YAML file")
    submit.add_argument("file", type=Path)
    submit.set_defaults(run=_submit)
    again = commands.add_parser("again", help="send an experiment once more, with changes")
    again.add_argument("id", help="exp_…, whose spec, seeds and labels are taken over")
    again.add_argument(
        "--seeds", type=int, metavar="N", help="how many seeds to count from 0 (default: its own)"
    )
    again.add_argument("--name", help="what to call it (default: nothing)")
    again.add_argument(
        "--go-on",
        type=int,
        metavar="EPOCHS",
        help="train its finished networks for so many epochs more, instead of new ones",
    )
    again.set_defaults(run=_again)
    for parser in (submit, again):
        add_set(parser, "change a field: --set optimizer.learning_rate=0.01")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="show progress and a line for each epoch until it ends, then print its record",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check and price it, store nothing"
        )
    return [submit, again]


def _submit(options: argparse.Namespace) -> int:
    document = client.read_body(options.file)
    if is_study_body(document):
        raise client.Unusable(
            f"{options.file} holds a study: send it with `lab study {options.file}`"
        )
    if options.set and not isinstance(document, dict):
        raise client.Unusable(f"{options.file} holds no object, so there is no field to --set")
    return _send(document if not options.set else with_changes(document, "set", options), options)


def _again(options: argparse.Namespace) -> int:
    if client.is_study(options.id):
        raise client.Unusable(
            f"{options.id} is a study: `lab extend` adds seeds to it; a cell of it is sent again by its own exp_…"
        )
    go_on = None if options.go_on is None else {"epochs": options.go_on}
    wishes = {"seeds": options.seeds, "name": options.name, "go_on": go_on}
    said = {field: value for field, value in wishes.items() if value is not None}
    return _send(with_changes({"like": options.id, **said}, "set", options), options)


def _send(body: Any, options: argparse.Namespace) -> int:
    """Send it, wait where that is asked for, print the answer; returns the exit status."""
    sent = json.dumps(body)
    with client.Service(options.url) as service:
        if options.dry_run:
            return _print(service.post("/experiments?dry_run=true", sent))
        record = service.post("/experiments", sent)
        client.say_warnings(record)
        if record.get("changed"):
            print(f"{record['id']}: {_in_words(record['changed'])}", file=sys.stderr, flush=True)
        if options.wait:
            record = client.wait_or_stop(service, record["id"])
    _print(record)
    return EXIT_REFUSED if options.wait and record["status"] != "succeeded" else 0


def _in_words(changed: dict[str, list[Any]]) -> str:
    """`optimizer.learning_rate 0.1 -> 0.01, epochs 5 -> 10`."""
    return ", ".join(
        f"{path} {json.dumps(was)} -> {json.dumps(now)}" for path, (was, now) in changed.items()
    )


def _print(document: object) -> int:
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
