"""What was sent and is waited for: what the service warns of, a bar, and how it ended."""

import argparse

from training_lab.commands import output
from training_lab.commands.command_line import Detached, elsewhere
from training_lab.errors import TimedOut
from training_lab.experiment import Experiment


def say_warnings(warnings: list[str], options: argparse.Namespace) -> None:
    """What is probably not meant, on standard error unless nothing is to be said."""
    for warning in () if options.quiet else warnings:
        output.say(output.plain(f"warning: {warning}"))


def waited(made: Experiment, options: argparse.Namespace) -> Experiment:
    """The same once it has ended. Raises RunFailed, TimedOut after `--timeout`, and Detached at Ctrl-C; it goes on
    then, and the message says how to come back to it.
    """
    how = f"{returning(made, options)}, `lab cancel {made.id}{elsewhere(options)}` ends it."
    try:
        return made.wait(options.timeout, "none" if options.quiet else "auto")
    except TimedOut as late:
        raise TimedOut(
            f"{made.id} has not ended within {options.timeout:g} s, but goes on: {how}"
        ) from late
    except KeyboardInterrupt as interrupt:
        raise Detached(f"No longer waiting, but {made.id} goes on: {how}") from interrupt


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
