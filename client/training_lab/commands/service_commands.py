"""The commands of `lab` that need the service itself, where it is not installed: each says how to get it."""

import argparse
from typing import Any, Final

from training_lab.commands.command_line import EXIT_USAGE, complain

OF_THE_SERVICE: Final = {
    "serve": "API and local workers in one command",
    "api": "the API alone",
    "worker": "workers alone",
    "settings": "print all settings and where each comes from",
    "keys": "create, list and revoke keys",
    "backup": "save the database, and what cannot be made again",
    "restore": "put a backup back",
    "gc": "remove files that nothing needs any more",
    "demo": "start a service, train a small network over its API, show the result",
}


def add_missing(commands: Any) -> None:
    """Add what no plugin has added."""
    for name, does in OF_THE_SERVICE.items():
        if name not in commands.choices:
            parser: argparse.ArgumentParser = commands.add_parser(
                name, help=f"{does} (needs the service)", add_help=False, prefix_chars="\0"
            )
            parser.add_argument("rest", nargs="*")  # without a prefix options are words
            parser.set_defaults(run=_refuse, missing=name)


def _refuse(options: argparse.Namespace) -> int:
    return complain(
        f"`lab {options.missing}` needs the service, and here is the client alone: in a checkout of training-lab `make"
        " install`, or `pip install .` for the API without PyTorch.",
        EXIT_USAGE,
    )
