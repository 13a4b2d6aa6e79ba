"""`lab logs`: what a run's trainer writes."""

import argparse
from typing import Any

from training_lab.commands.command_line import EXIT_DONE, Detached, add_service_command, elsewhere
from training_lab.commands.ids import run_of
from training_lab.errors import Unusable
from training_lab.lab import Lab


def add_parser(commands: Any) -> None:
    """Add `lab logs`."""
    parser = add_service_command(
        commands,
        "logs",
        "print what a run's trainer wrote: a line an epoch, warnings, the error that ended it",
        "lab logs exp_4k7z -f --seed 1 --tail 20",
        _logs,
    )
    parser.add_argument("id", metavar="ID", help="exp_… or run_…, its first characters, or @last")
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on as it is written, until the run has ended",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the experiment's run with this seed")
    parser.add_argument(
        "--attempt", type=int, metavar="N", help="which attempt's (default: the last one's)"
    )
    parser.add_argument("--tail", type=int, metavar="N", help="only so many last lines")


def _logs(lab: Lab, options: argparse.Namespace) -> int:
    if options.follow and options.attempt is not None:
        raise Unusable("-f follows the last attempt: leave --attempt or -f out")
    if options.tail is not None and options.tail < 1:
        raise Unusable("--tail is a number of lines from 1 on")
    run = run_of(lab, options.id, options.seed)
    if not options.follow:
        written = run.log(attempt=options.attempt, tail=options.tail)
        print(written, end="" if written.endswith("\n") or not written else "\n")
        return EXIT_DONE
    try:
        for line in run.follow_log(tail=options.tail):
            print(line, flush=True)
    except KeyboardInterrupt as interrupt:
        again = f"`lab logs {run.id} -f{elsewhere(options)}`"
        raise Detached(
            f"No longer following, but the run goes on: {again} follows it."
        ) from interrupt
    return EXIT_DONE
