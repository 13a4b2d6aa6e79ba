"""`lab keys`: keys to the API made, listed and revoked, directly in the database of LAB_HOME."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.commands.client import Unusable
from app.commands.terminal import TEXT, show, table
from app.errors import InvalidRequest, NotFound
from app.roles import Role

if TYPE_CHECKING:
    from sqlmodel import Session

    from app.storage.tables import ApiKey

COLUMNS = tuple((name, TEXT) for name in ("id", "owner", "role", "begins with", "made", "revoked"))


def add_commands(commands: Any) -> None:
    """Add `keys` to the command line. Its verbs speak to no service: who can write the database needs no key to make
    one.
    """
    parser = commands.add_parser(
        "keys", help="make, list and revoke keys to the API, in the database of LAB_HOME"
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    create = verbs.add_parser("create", help="make a key and print it, once")
    create.add_argument("owner", help="whose it is: 1 to 64 of a-z, 0-9, '.', '_' and '-'")
    create.add_argument(
        "--role",
        choices=[role.value for role in Role],
        default=Role.SUBMIT.value,
        help=(
            "submit: see and change one's own; read: see everything, change nothing; admin: everything (default:"
            " submit)"
        ),
    )
    create.set_defaults(run=_create)
    listing = verbs.add_parser("list", help="a table of all keys, revoked ones too")
    listing.set_defaults(run=_list)
    revoke = verbs.add_parser("revoke", help="end a key, from the next request on")
    revoke.add_argument("id", help="key_…")
    revoke.set_defaults(run=_revoke)


def _create(options: argparse.Namespace) -> int:
    from app.services.owners import keys  # late, as in all verbs: other commands need no database

    with _writing() as session:
        key, secret = keys.create_key(session, options.owner, Role(options.role))
    _say(
        f"{key.id}: a key of {key.owner} with the role '{key.role}'. It is shown this once; only its SHA-256 is kept."
    )
    print(secret, flush=True)
    _say("Send it as 'Authorization: Bearer lab_…', or set LAB_API_KEY for the lab command.")
    return 0


def _list(_options: argparse.Namespace) -> int:
    from app.services.owners import keys

    with _writing() as session:
        rows = [_row(key) for key in keys.all_keys(session)]
    if rows:
        show(table(COLUMNS, rows))
    else:
        _say("There are no keys: `lab keys create NAME` makes one.")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from app.services.owners import keys

    with _writing() as session:
        key = keys.revoke_key(session, options.id)
    _say(f"{key.id}, a key of {key.owner}, is revoked.")
    return 0


@contextmanager
def _writing() -> "Iterator[Session]":
    """One transaction on the database of LAB_HOME; raises Unusable for what cannot be done."""
    from app.settings import Settings
    from app.storage.db import open_database

    database = open_database(Settings())
    try:
        with database.writing() as session:
            yield session
    except (InvalidRequest, NotFound) as error:
        raise Unusable(str(error)) from error
    finally:
        database.close()


def _row(key: "ApiKey") -> tuple[str, ...]:
    revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
    return key.id, key.owner, key.role, f"{key.hint}…", f"{key.created_at:%Y-%m-%d %H:%M}", revoked


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
