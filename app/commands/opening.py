"""`lab open`: a page of the service in a browser that is logged in without a key being pasted."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from app.commands.client import Service, Unusable, is_study
from app.commands.homes import settings_of_the_home
from app.commands.terminal import say

if TYPE_CHECKING:
    from sqlmodel import Session

FIRST_PAGE = "/ui/experiments"


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add it to the command line; returns those that speak to a service."""
    opening = commands.add_parser(
        "open",
        help="show a page in a browser, which is logged in by it with the key in LAB_API_KEY",
    )
    opening.add_argument(
        "page",
        nargs="?",
        default=FIRST_PAGE,
        metavar="PAGE",
        help="exp_…, stu_… or a path that begins with '/' (default: the list of experiments)",
    )
    opening.add_argument(
        "--as",
        dest="owner",
        metavar="OWNER",
        help="log in as this owner, by the database of LAB_HOME, on the service's machine",
    )
    opening.add_argument(
        "--print",
        dest="only_prints",
        action="store_true",
        help="only print the address, which lets in once and within a minute",
    )
    opening.set_defaults(run=_open)
    return [opening]


def _open(options: argparse.Namespace) -> int:
    import webbrowser  # late: no other command needs it

    path = _path(options.page)
    with Service(options.url) as service:
        code = (
            service.post("/ui/session/code")["code"]
            if options.owner is None
            else _code_of(options.owner)
        )
        root = service.url
    query = urlencode({"code": code, "next": path})
    address = f"{root}{path}" if code is None else f"{root}/ui/session?{query}"
    print(address, flush=True)
    if not options.only_prints and not webbrowser.open(address):
        say("No browser could be started here: open the address in one within a minute.")
    return 0


def _path(page: str) -> str:
    """Where a page lies; raises Unusable."""
    if page.startswith(("exp_", "stu_")):
        return f"/ui/{'studies' if is_study(page) else 'experiments'}/{page}"
    if not page.startswith("/"):
        raise Unusable(f"{page!r} is no page: name exp_…, stu_… or a path that begins with '/'")
    return page


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
