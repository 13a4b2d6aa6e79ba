"""`lab submit` and `lab again`: an experiment from a file, or like one that there is."""

import argparse
import json
from pathlib import Path
from typing import Any

from training_lab.commands.changes import add_set, with_changes
from training_lab.commands.command_line import EXIT_DONE, EXIT_REFUSED, add_service_command
from training_lab.commands.ids import EXPERIMENT, whole_id
from training_lab.commands.job_waiting import add_wait, check_timeout, wait_or_stop
from training_lab.commands.output import plain, say, show_json
from training_lab.commands.requesting import Service, is_study, say_warnings
from training_lab.commands.studies import is_study_body
from training_lab.documents import read_document
from training_lab.errors import Unusable
from training_lab.lab import Lab


def add_parser(commands: Any) -> None:
    """Add `lab submit` and `lab again`."""
    submit = add_service_command(
        commands,
        "submit",
        "send an experiment from a JSON or YAML file",
        "lab submit spec.yaml --set optimizer.learning_rate=0.01 --wait",
        _submit,
    )
    submit.add_argument("file", metavar="FILE", type=Path, help="a spec")
    again = add_service_command(
        commands,
        "again",
        "send an experiment once more, with changes",
        "lab again @last --set epochs=20 --seeds 5",
        _again,
    )
    again.add_argument(
        "id", metavar="ID", help="exp_…, whose spec, seeds and labels are taken over"
    )
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
    for parser in (submit, again):
        add_set(parser, "change a field: --set optimizer.learning_rate=0.01")
        add_wait(parser, "show progress and a line for each epoch until it ends, then its record")
        parser.add_argument(
            "--dry-run", action="store_true", help="check and price it, store nothing"
        )


def _submit(lab: Lab, options: argparse.Namespace) -> int:
    document = read_document(options.file)
    if is_study_body(document):
        raise Unusable(f"{options.file} holds a study: send it with `lab study {options.file}`")
    if not isinstance(document, dict):
        raise Unusable(f"{options.file} holds no object, and a spec is one")
    return _send(lab, with_changes(document, "set", options), options)


def _again(lab: Lab, options: argparse.Namespace) -> int:
    if is_study(options.id):
        raise Unusable(
            f"{options.id} is a study: `lab extend` adds seeds to it; a cell of it is sent again by its own exp_…"
        )
    like = whole_id(lab, options.id, EXPERIMENT)
    go_on = None if options.go_on is None else {"epochs": options.go_on}
    wishes = {"seeds": options.seeds, "name": options.name, "go_on": go_on}
    said = {field: value for field, value in wishes.items() if value is not None}
    return _send(lab, with_changes({"like": like, **said}, "set", options), options)


def _send(lab: Lab, body: dict[str, Any], options: argparse.Namespace) -> int:
    """Send it, wait where that is asked for, print the answer; returns the exit status."""
    check_timeout(options, waits=options.wait)
    service = Service(lab)
    if options.dry_run:
        show_json(service.post("/experiments", body, dry_run="true"))
        return EXIT_DONE
    record = service.make("/experiments", body)
    if not options.quiet:
        say_warnings(record)
        if record.get("changed"):
            say(plain(f"{record['id']}: {_in_words(record['changed'])}"))
    if options.wait:
        record = wait_or_stop(service, record["id"], options)
    show_json(record)
    return EXIT_REFUSED if options.wait and record["status"] != "succeeded" else EXIT_DONE


def _in_words(changed: dict[str, list[Any]]) -> str:
    """`optimizer.learning_rate 0.1 -> 0.01, epochs 5 -> 10`."""
    return ", ".join(
        f"{path} {json.dumps(was)} -> {json.dumps(now)}" for path, (was, now) in changed.items()
    )
