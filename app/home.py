"""Who uses a home: every process of the service holds a shared lock on it, so that nobody replaces its database
meanwhile.

The lock's file says with which database the service was last run there, so that nobody takes that of another for the
whole truth.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from app.errors import Misconfigured

LOCK = ".in-use.lock"


class HomeInUse(Exception):
    """A process of the service uses this home."""


def keep_to_oneself(home: Path) -> None:
    """Make the home if it is not there. What this process writes from now on, there and elsewhere, only its own user
    can read. Raises Misconfigured.
    """
    os.umask(0o077)
    with _usable(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)


def others_may_look(home: Path) -> bool:
    """Whether other users of this machine may enter the home, as they may where it was made by an earlier version or by
    hand.
    """
    return bool(home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


@contextmanager
def home_in_use(home: Path, database: str | None = None) -> Iterator[None]:
    """Use the home within the block; waits while another has it for itself. The kernel frees the lock when its holder
    dies.

    `database` is the name of the database that the service runs with; None leaves what was noted.
    """
    with _lock_of(home) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        if database is not None and noted_database(home) != database:
            file.truncate(0)
            file.write(database)
            file.flush()
        yield


def noted_database(home: Path) -> str | None:
    """The database that the service was last run with in this home; None when it never was."""
    try:
        return (home / LOCK).read_text() or None
    except FileNotFoundError:
        return None


@contextmanager
def home_to_oneself(home: Path) -> Iterator[None]:
    """Have the home alone within the block; raises HomeInUse at once while anybody uses it."""
    with _lock_of(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeInUse(str(home)) from error
        yield


@contextmanager
def _usable(home: Path) -> Iterator[None]:
    """Raises Misconfigured where the file system does not let it be one."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"LAB_HOME is {home}, which cannot be used ({error.strerror}): name a folder that this user may write"
        ) from error


def _lock_of(home: Path) -> TextIO:
    keep_to_oneself(home)
    with _usable(home):
        return (home / LOCK).open("a+")
