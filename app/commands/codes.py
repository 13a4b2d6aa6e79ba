"""`lab open --as OWNER`: a code that lets a browser in, made by the database of the home."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.commands.homes import settings_of_the_home
from training_lab import Unusable

if TYPE_CHECKING:
    from sqlmodel import Session


def add_options(commands: Any) -> None:
    """Add `--as` to `lab open`, which is the client's."""
    opening: argparse.ArgumentParser = commands.choices["open"]
    opening.add_argument(
        "--as",
        dest="owner",
        metavar="OWNER",
        help="log in as this owner, by the database of LAB_HOME, on the service's machine",
    )
    opening.set_defaults(code_of=_code_of)


def _code_of(owner: str) -> str:
    """A code with the mightiest key of an owner; raises Unusable for who has none."""
    from app.roles import Role
    from app.services.owners import keys, sessions

    with _writing() as session:
        there = keys.live_keys(session, {owner}).get(owner, [])
        if not there:
            raise Unusable(f"{owner!r} has no key; `lab keys list` shows who has one")
        mightiest = max(there, key=lambda key: list(Role).index(key.role))
        return sessions.make_code(session, mightiest.id)


@contextmanager
def _writing() -> "Iterator[Session]":
    """One transaction on the database of the home."""
    from app.storage.db import open_database

    database = open_database(settings_of_the_home())
    try:
        with database.writing() as session:
            yield session
    finally:
        database.close()
