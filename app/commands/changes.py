"""`--set PATH=VALUE`: fields of a request that the command line changes."""

import argparse
from typing import Any

from app.commands import client
from lab_models.common.documents import NotJSON, parse_json


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--set`, which may be given several times; `what` says for people what it changes."""
    parser.add_argument(
        "--set", type=_change, action="append", default=[], metavar="PATH=VALUE", help=what
    )


def with_changes(body: dict[str, Any], field: str, options: argparse.Namespace) -> dict[str, Any]:
    """The body with what `--set` says in a field of paths and values, over what stands there; raises Unusable."""
    if not options.set:
        return body
    there = body.get(field, {})
    if not isinstance(there, dict):
        raise client.Unusable(f"{field!r} must be an object of paths and values")
    return {**body, field: {**there, **dict(options.set)}}


def _change(text: str) -> tuple[str, Any]:
    """`PATH=VALUE`; the value is JSON, or else a string. Of labels and names no number: `1.10` is not 1.1."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(
            f"write PATH=VALUE, such as epochs=2 or dataset.name=digits, not {text!r}"
        )
    try:
        found = parse_json(value.encode())
    except NotJSON:
        return path, value
    is_text = path == "name" or path.startswith("labels.")
    return path, value if is_text and isinstance(found, int | float) else found
