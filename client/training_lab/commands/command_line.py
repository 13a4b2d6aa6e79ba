"""What all commands share: options, the service that they speak to, and what their exit status says."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from training_lab.errors import LabError, TimedOut, Unreachable, Unusable
from training_lab.lab import Lab

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
"""The service refused, or what was waited for has not succeeded."""
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_LATE: Final = 124
"""The time to wait is over, as of coreutils' timeout."""
EXIT_DETACHED: Final = 130
"""Ctrl-C; what was looked at goes on."""

Act = Callable[[Lab, argparse.Namespace], int]


class CommandParser(argparse.ArgumentParser):
    """A parser to which what follows `--sort` is its value, also where it begins with `-`."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which would take `-test.accuracy` for options."""
        given = list(sys.argv[1:] if args is None else args)
        joined: list[str] = []
        for word in given:
            if joined and joined[-1] == "--sort" and re.match(r"-[a-z]", word):
                joined[-1] = f"--sort={word}"
            else:
                joined.append(word)
        return super().parse_known_args(joined, namespace)


class Detached(Exception):
    """Ctrl-C while something goes on; the message says what, and how to end it."""


def add_command(
    commands: Any,
    name: str,
    does: str,
    example: str,
    act: Callable[[argparse.Namespace], int],
    *,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """A command with `--quiet`; `act` returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        aliases=aliases,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"example: {example}",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing beside the result")
    parser.set_defaults(run=lambda options: carried_out(act, options))
    return parser


def add_service_command(
    commands: Any,
    name: str,
    does: str,
    example: str,
    act: Act,
    *,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """A command that speaks to a service, so with `--url`."""

    def speak(options: argparse.Namespace) -> int:
        with Lab(options.url) as lab:
            return act(lab, options)

    parser = add_command(commands, name, does, example, speak, aliases=aliases)
    parser.add_argument(
        "--url", help="the service (default: $LAB_URL, what `lab login` stored, or this machine)"
    )
    return parser


def carried_out(act: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """The exit status of a command, whatever becomes of it; what went wrong is said on standard error."""
    try:
        return act(options)
    except LabError as error:
        return complain(str(error), status_of(error))
    except Detached as detached:
        return complain(str(detached), EXIT_DETACHED)


def status_of(error: LabError) -> int:
    """What a script is told of an error."""
    match error:
        case Unusable():
            return EXIT_USAGE
        case Unreachable():
            return EXIT_UNREACHABLE
        case TimedOut():
            return EXIT_LATE
        case _:
            return EXIT_REFUSED


def complain(message: str, status: int) -> int:
    """Say what is wrong; returns the status."""
    print(message, file=sys.stderr)
    return status


def elsewhere(options: argparse.Namespace) -> str:
    """What a command needs beside its words to speak to the same service."""
    return f" --url {options.url}" if options.url else ""
