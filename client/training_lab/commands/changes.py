"""`--set PATH=VALUE`: fields of a request that the command line changes."""

import argparse
from typing import Any

from training_lab.errors import Unusable
from training_lab.path_changes import change


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--set`, which may be given several times; `what` says for people what it changes."""
    parser.add_argument(
        "--set", type=change, action="append", default=[], metavar="PATH=VALUE", help=what
    )


def with_changes(body: dict[str, Any], field: str, options: argparse.Namespace) -> dict[str, Any]:
    """The body with what `--set` says in a field of paths and values, over what stands there; raises Unusable."""
    if not options.set:
        return body
    there = body.get(field, {})
    if not isinstance(there, dict):
        raise Unusable(f"{field!r} must be an object of paths and values")
    return {**body, field: {**there, **dict(options.set)}}
