"""What was sent and is waited for: what the service warns of, a bar, and how it ended."""

import argparse

from training_lab.commands import output
from training_lab.commands.command_line import elsewhere
from training_lab.commands.job_waiting import wait_or_stop
from training_lab.commands.requesting import Service
from training_lab.experiment import Experiment
from training_lab.lab import Lab


def say_warnings(warnings: list[str], options: argparse.Namespace) -> None:
    """What is probably not meant, on standard error unless nothing is to be said."""
    for warning in () if options.quiet else warnings:
        output.say(output.plain(f"warning: {warning}"))


def waited(lab: Lab, made: Experiment, options: argparse.Namespace) -> Experiment:
    """The same once it has ended, with a bar and a line for each epoch. Raises RunFailed, TimedOut after `--timeout`,
    and Detached at Ctrl-C; it goes on then, and the message says how to come back to it.
    """
    wait_or_stop(Service(lab), made.id, options)
    return made.wait(progress="none")


def returning(made: Experiment, options: argparse.Namespace) -> str:
    """How to see how far it is."""
    return f"`lab watch {made.id}{elsewhere(options)}` tells how far it is"


def show_made(made: Experiment, options: argparse.Namespace) -> None:
    """How it stands, in a line or, with `--json`, as its record."""
    if options.json:
        output.show_json(made.raw)
        return
    score = made.results.get("test", {}).get("accuracy")
    reached = "" if score is None else f" test accuracy {score}"
    print(output.plain(f"{made.id} {made.status}: {made.message}{reached}"))
