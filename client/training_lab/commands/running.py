"""The whole command line: the client's commands, those of what else is installed, and how each ends."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from training_lab import commands as client_commands
from training_lab.commands.command_line import (
    EXIT_DETACHED,
    EXIT_USAGE,
    CommandParser,
    Detached,
    complain,
    status_of,
)
from training_lab.commands.service_commands import add_missing
from training_lab.errors import LabError
from training_lab.standard_streams import written
from training_lab.version import VERSION

GROUP: Final = "lab.commands"
"""Of entry points: what is installed beside the client and has commands of its own, such as the service."""


class Plugin(Protocol):
    """A module with commands."""

    USAGE_ERRORS: tuple[type[Exception], ...]
    """What its commands raise with a sentence for whoever called; status 2."""

    def add_commands(self, commands: Any) -> None:
        """Add them to the command line, after the client's, to which it may add options."""


def plugins() -> list[Plugin]:
    """What is installed beside the client, by its entry points."""
    return [found.load() for found in entry_points(group=GROUP)]


def parser_with(more: Iterable[Plugin]) -> CommandParser:
    """The parser of all commands."""
    parser = CommandParser(prog="lab", description="Trains image classifiers as jobs.")
    parser.add_argument("--version", action="version", version=f"training-lab {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")
    client_commands.add_commands(commands)
    for plugin in more:
        plugin.add_commands(commands)
    add_missing(commands)
    return parser


def run(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, more: Sequence[Plugin]
) -> int:
    """Do what the command line says; returns the exit status. What went wrong is said on standard error."""
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return written(lambda: command(options))
    except LabError as error:
        return complain(str(error), status_of(error))
    except tuple(kind for plugin in more for kind in plugin.USAGE_ERRORS) as error:
        return complain(str(error), EXIT_USAGE)
    except Detached as detached:
        return complain(str(detached), EXIT_DETACHED)
