"""`lab clone`: an experiment once more, with changes."""

import argparse
import json
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, Detached, add_service_command, elsewhere
from training_lab.commands.ids import experiment_of
from training_lab.errors import TimedOut, Unusable
from training_lab.experiment import Experiment
from training_lab.lab import Lab


def add_parser(commands: Any) -> None:
    """Add `lab clone`."""
    parser = add_service_command(
        commands,
        "clone",
        "send an experiment like another, its spec, seeds and labels, with what is changed",
        "lab clone @last epochs=20 optimizer.learning_rate=0.1 --wait",
        _clone,
    )
    parser.add_argument("id", metavar="ID", help="exp_…, its first characters, or @last")
    parser.add_argument(
        "changes",
        metavar="PATH=VALUE",
        nargs="*",
        type=change,
        help="such as epochs=20 or name=long",
    )
    parser.add_argument("--wait", action="store_true", help="until it has ended, with a bar")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="wait so long at most; then status 124"
    )
    parser.add_argument("--json", action="store_true", help="the record in JSON")


def change(text: str) -> tuple[str, Any]:
    """`PATH=VALUE`; the value is JSON, or else a text. Of labels and names no number: `1.10` is not 1.1."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(
            f"write PATH=VALUE, such as epochs=2 or dataset.name=digits, not {text!r}"
        )
    try:
        found = json.loads(value, parse_constant=_refuse)
    except ValueError:
        return path, value
    is_text = path == "name" or path.startswith("labels.")
    return path, value if is_text and isinstance(found, int | float) else found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _clone(lab: Lab, options: argparse.Namespace) -> int:
    if options.timeout is not None and not options.wait:
        raise Unusable("--timeout goes with --wait")
    model = experiment_of(lab, options.id)
    changes: dict[str, Any] = {"set": dict(options.changes)} if options.changes else {}
    made = model.clone(**changes)
    if not options.quiet:
        for warning in made.warnings:
            output.say(output.plain(f"warning: {warning}"))
    if options.wait:
        if not options.quiet:
            output.say(f"{made.id}: like {model.id}")
        made = _wait(made, options)
    if options.json:
        output.show_json(made.raw)
        return EXIT_DONE
    score = made.results.get("test", {}).get("accuracy")
    reached = "" if score is None else f" test accuracy {score}"
    print(output.plain(f"{made.id} {made.status}: {made.message}{reached}"))
    return EXIT_DONE


def _wait(made: Experiment, options: argparse.Namespace) -> Experiment:
    watch, cancel = (f"`lab {verb} {made.id}{elsewhere(options)}`" for verb in ("watch", "cancel"))
    how = f"{watch} tells how far it is, {cancel} ends it."
    try:
        return made.wait(options.timeout, "none" if options.quiet else "auto")
    except TimedOut as late:
        raise TimedOut(
            f"{made.id} has not ended within {options.timeout:g} s, but goes on: {how}"
        ) from late
    except KeyboardInterrupt as interrupt:
        raise Detached(f"No longer waiting, but {made.id} goes on: {how}") from interrupt
