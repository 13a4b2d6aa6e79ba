"""What all commands share: options, the service that they speak to, and what their exit status says."""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from training_lab.errors import LabError, Refused, TimedOut, Unreachable, Unusable
from training_lab.keys import key_with_source, url_for
from training_lab.lab import Lab
from training_lab.late import Late

if TYPE_CHECKING:
    import difflib
else:
    difflib = Late("difflib")

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 1
"""The service refused, or what was waited for has not succeeded."""
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_LATE: Final = 124
"""The time to wait is over, as of coreutils' timeout."""
EXIT_DETACHED: Final = 130
"""Ctrl-C; what was looked at goes on."""

UNAUTHORIZED: Final = 401

Act = Callable[[Lab, argparse.Namespace], int]


class CommandParser(argparse.ArgumentParser):
    """A parser to which what follows `--sort` is its value, also where it begins with `-`."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which would take `-test.accuracy` for options, and would have the whole command line's usage
        printed for what one command does not know.
        """
        given = list(sys.argv[1:] if args is None else args)
        joined: list[str] = []
        for word in given:
            if joined and joined[-1] == "--sort" and re.match(r"-[a-z]", word):
                joined[-1] = f"--sort={word}"
            else:
                joined.append(word)
        found, left = super().parse_known_args(joined, namespace)
        if left and self._subparsers is None:
            unknown = [word for word in left if word.startswith("-")]
            hint = (
                meant(unknown[0].partition("=")[0], self._option_string_actions) if unknown else ""
            )
            self.error(f"unrecognized arguments: {' '.join(left)}{hint}")
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = action.choices or ()
        if isinstance(action, argparse._SubParsersAction) and value not in known:
            lists = f"`{self.prog} --help` lists them"
            raise argparse.ArgumentError(
                None, f"there is no command {value!r}{meant(str(value), known)}; {lists}"
            )
        super()._check_value(action, value)


def meant(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, where one of the known words is like it; else nothing."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


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
        return complain(f"{error}{_key_of(error, options)}", status_of(error))
    except Detached as detached:
        return complain(str(detached), EXIT_DETACHED)


def _key_of(error: LabError, options: argparse.Namespace) -> str:
    """Where the key came from that the service did not take."""
    if not isinstance(error, Refused) or error.status != UNAUTHORIZED:
        return ""
    key, source = key_with_source(url_for(getattr(options, "url", None)))
    return "" if key is None else f"\nThe key that was sent is that of {source}."


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
    """Say what is wrong, where anybody can be told; returns the status."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    return status


def elsewhere(options: argparse.Namespace) -> str:
    """What a command needs beside its words to speak to the same service."""
    return f" --url {options.url}" if options.url else ""
