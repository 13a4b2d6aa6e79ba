"""`lab clone`: an experiment once more, with changes."""

import argparse
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import experiment_of
from training_lab.commands.job_waiting import add_wait, check_timeout
from training_lab.commands.sending import say_warnings, show_made, waited
from training_lab.lab import Lab
from training_lab.path_changes import change


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
    add_wait(parser, "until it has ended, with a bar and a line for each epoch")
    parser.add_argument("--json", action="store_true", help="the record in JSON")


def _clone(lab: Lab, options: argparse.Namespace) -> int:
    check_timeout(options, waits=options.wait)
    model = experiment_of(lab, options.id)
    changes: dict[str, Any] = {"set": dict(options.changes)} if options.changes else {}
    made = model.clone(**changes)
    say_warnings(made.warnings, options)
    if options.wait:
        if not options.quiet:
            output.say(f"{made.id}: like {model.id}")
        made = waited(lab, made, options)
    show_made(made, options)
    return EXIT_DONE
