"""`lab keys`: keys to the API made, listed and revoked, and quotas, directly in the database of LAB_HOME."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands import key_lists, quotas
from app.commands.homes import settings_of_a_home, settings_of_the_home
from app.errors import InvalidRequest, NotFound
from app.roles import Role
from training_lab import Unusable
from training_lab.commands.output import TEXT, say, show, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from app.settings import Settings
    from app.storage.tables import ApiKey

COLUMNS = tuple((name, TEXT) for name in ("owner", "role", "id", "begins with", "made", "revoked"))
ROLES = [role.value for role in Role]


def add_commands(commands: Any) -> None:
    """Add `keys` to the command line. Its verbs speak to no service: who can write the database needs no key to make
    one.
    """
    parser = commands.add_parser(
        "keys",
        help="make, list and revoke keys to the API, and set quotas, in the database of LAB_HOME",
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    _add_create(verbs.add_parser("create", help="make keys and print them, once"))
    listing = verbs.add_parser("list", help="a table of the keys that open something")
    listing.add_argument("--owner", help="of this owner alone")
    listing.add_argument("--all", action="store_true", help="revoked ones too")
    listing.set_defaults(run=_list)
    revoke = verbs.add_parser("revoke", help="end a key, from the next request on")
    revoke.add_argument("id", nargs="?", help="key_…")
    revoke.add_argument("--owner", help="instead of one key: all keys of this owner")
    revoke.set_defaults(run=_revoke)
    quota = verbs.add_parser("quota", help="show or set how much an owner, or a role, may have")
    quotas.add_options(quota)
    quota.set_defaults(run=_quota)


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument(
        "owner", nargs="?", help="whose it is: 1 to 64 of a-z, 0-9, '.', '_' and '-'"
    )
    create.add_argument(
        "--role",
        choices=ROLES,
        default=Role.SUBMIT.value,
        help=(
            "submit: see and change one's own; read: see everything, change nothing; admin: everything (default:"
            " submit)"
        ),
    )
    create.add_argument(
        "--from",
        dest="names",
        type=Path,
        metavar="FILE",
        help="a key for each name in a file, one a line or a column of a CSV; '-' is standard input. All or none",
    )
    create.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write owner, role and key there as CSV, for your eyes only",
    )
    create.add_argument(
        "--again",
        action="store_true",
        help="with --from: another key for those who have one already",
    )
    create.add_argument(
        "--force", action="store_true", help="replace the file of --out if it is there"
    )
    create.set_defaults(run=_create)


def _create(options: argparse.Namespace) -> int:
    if (options.owner is None) == (options.names is None):
        raise Unusable("name one owner, or a list of them: `lab keys create NAME` or `--from FILE`")
    role = Role(options.role)
    if options.names is None and options.out is None:
        return _create_one(_name_of(options.owner), role)
    listed = None if options.names is None else key_lists.read(options.names)
    owners = [_name_of(options.owner)] if listed is None else listed.owners
    again = options.again or listed is None
    with (
        key_lists.written(options.out, replace=options.force) as write,
        _writing(settings_of_a_home()) as session,
    ):
        made = key_lists.make(session, owners, role, again=again)
        write(made)  # before the commit: a key that cannot be kept is not made
    if listed is not None:
        _say_all(listed.notes)
    _say_all(made.notes(role))
    return 0


def _name_of(written: str) -> str:
    """What a person is called here, as lists of names are read; said where it is not what was written."""
    from app.services.owners.keys import OWNER_NAME
    from app.services.owners.rosters import owner_name

    owner = owner_name(written)
    if not OWNER_NAME.fullmatch(owner):
        return written
    if owner != written:
        say(f"{written!r} is called {owner!r} here.")
    return owner


def _create_one(owner: str, role: Role) -> int:
    from app.services.owners import keys  # late, as in all verbs: other commands need no database

    with _writing(settings_of_a_home()) as session:
        key, secret = keys.create_key(session, owner, role)
    say(
        f"{key.id}: a key of {key.owner} with the role '{key.role}'. It is shown this once; only its SHA-256 is kept."
    )
    print(secret, flush=True)
    say("Send it as 'Authorization: Bearer lab_…', or set LAB_API_KEY for the lab command.")
    return 0


def _list(options: argparse.Namespace) -> int:
    from app.services.owners import keys

    with _writing(settings_of_the_home()) as session:
        every = [key for key in keys.all_keys(session) if options.owner in (None, key.owner)]
    shown = [key for key in every if options.all or key.revoked_at is None]
    if shown:
        show(table(COLUMNS, map(_row, shown)))
    if not every:
        say(
            "There are no keys: `lab keys create NAME` makes one."
            if options.owner is None
            else f"No key was ever made for {options.owner!r}."
        )
    elif len(every) > len(shown):
        say(f"{len(every) - len(shown)} more are revoked: --all shows them.")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from app.services.owners import keys

    if (options.id is None) == (options.owner is None):
        raise Unusable(
            "name one key by its id, or an owner: `lab keys revoke key_…` or `--owner NAME`"
        )
    with _writing(settings_of_the_home()) as session:
        ended = (
            [keys.revoke_key(session, options.id)]
            if options.owner is None
            else keys.revoke_keys_of(session, options.owner)
        )
    for key in ended:
        say(f"{key.id}, a key of {key.owner}, is revoked.")
    if not ended:
        say(f"All keys of {options.owner} were revoked before.")
    return 0


def _quota(options: argparse.Namespace) -> int:
    with _writing(settings_of_the_home()) as session:
        shown = quotas.carry_out(session, options)
    show(shown)
    return 0


@contextmanager
def _writing(settings: "Settings") -> "Iterator[Session]":
    """One transaction on the database of the home; raises Unusable for what cannot be done."""
    from app.storage.db import open_database

    was_there = settings.is_there
    database = open_database(settings)
    if not was_there:
        say(f"A new home is made: {settings.home.absolute()}")
    try:
        with database.writing() as session:
            yield session
    except (InvalidRequest, NotFound) as error:
        raise Unusable(str(error)) from error
    finally:
        database.close()


def _row(key: "ApiKey") -> tuple[str, ...]:
    revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"
    return key.owner, key.role, key.id, f"{key.hint}…", f"{key.created_at:%Y-%m-%d %H:%M}", revoked


def _say_all(lines: list[str]) -> None:
    for line in lines:
        say(line)
