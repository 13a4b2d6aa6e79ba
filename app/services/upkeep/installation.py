"""Machines that share a database share its files too: the API notes which folder these lie in, and a worker compares.

The classic error is a worker whose LAB_HOME is a folder of its own machine. It would train, and nobody would find what
it has written.
"""

import logging
import socket
from pathlib import Path

from sqlalchemy import func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.errors import Misconfigured, StoreOutOfReach
from app.settings import Settings
from app.storage.advisory_locks import AdvisoryLock, hold
from app.storage.files.places import file_store
from app.storage.tables import Artifact, Checkpoint, Installation, new_id, utc_now
from lab_models.common.files import write_atomically
from lab_models.common.revision import RESULTS_VERSION, package_version

HOME_ID = ".home-id"
"""The file that tells a home from others, however it is mounted."""
THE_ROW = 1
CLOCK_SECONDS = 5.0
"""A worker whose clock is 20 seconds off is shown as offline."""

log = logging.getLogger("lab.home")


def note(session: Session, settings: Settings) -> None:
    """What the API is started with, for workers to compare. Raises Misconfigured where the files of this database's
    runs lie in another home.
    """
    if _database_lies_in(settings):
        return
    hold(session.connection(), AdvisoryLock.INSTALLATION)
    known = session.get(Installation, THE_ROW)
    own = home_id(settings.home)
    if known is not None and known.store != settings.store:
        _refuse_to_lose(session, settings, known)
    elif not settings.store and (known is None or own != known.home_id):
        is_there = _refuse_to_lose(session, settings, known)
        if own is None and known is not None and is_there:
            own = known.home_id
            write_atomically(settings.home / HOME_ID, own.encode())
    if own is None:
        own = new_id("home")
        write_atomically(settings.home / HOME_ID, own.encode())
    session.merge(
        Installation(
            id=THE_ROW,
            home_id=own,
            home=str(settings.home.absolute()),
            host=socket.gethostname(),
            store=settings.store,
            version=package_version(),
            results_version=RESULTS_VERSION,
            started_at=utc_now(),
        )
    )


def compare(session: Session, settings: Settings) -> None:
    """Raises Misconfigured where a worker with these settings would train what the API cannot find, or other numbers.
    Nothing can be said before an API was started.
    """
    _compare_clocks(session)
    known = session.get(Installation, THE_ROW)
    if known is None or _database_lies_in(settings):
        return
    if known.results_version != RESULTS_VERSION:
        raise Misconfigured(
            f"this worker is version {package_version()}, whose results have number {RESULTS_VERSION}; the API is"
            f" {known.version}, with number {known.results_version}: install the same version on both, the API first"
        )
    if settings.store != known.store:
        raise Misconfigured(
            f"this worker's LAB_STORE is {settings.store or 'not set'}, the API's"
            f" {known.store or 'not set'}: its files would not be found. Set both to the same"
        )
    if not settings.store and home_id(settings.home) != known.home_id:
        raise Misconfigured(
            f"this worker's LAB_HOME, {settings.home.absolute()} of {socket.gethostname()}, is another folder than the"
            f" API's, {known.home} of {known.host}: its files would not be found. Mount the API's folder on this"
            " machine and name it, or set LAB_STORE on both (docs/machines.md)"
        )


def home_id(home: Path) -> str | None:
    """What tells this home from others; None while it was not named."""
    try:
        return (home / HOME_ID).read_text().strip() or None
    except FileNotFoundError:
        return None


def _database_lies_in(settings: Settings) -> bool:
    """Whether the database is a file in the home, so that who has the one has the other."""
    return "://" not in settings.database_name


def _refuse_to_lose(session: Session, settings: Settings, known: Installation | None) -> bool:
    """Whether the file that was noted last is where these settings look for it. Raises Misconfigured where it is
    elsewhere.
    """
    newest = _newest_file(session)
    if newest is None:
        return False
    try:
        is_there = file_store(settings).path_of(*newest) is not None
    except StoreOutOfReach as error:
        raise Misconfigured(str(error)) from error
    if known is not None and not is_there:
        raise Misconfigured(_not_the_files(settings, known))
    return is_there


def _newest_file(session: Session) -> tuple[str, str, str] | None:
    """Run, path and SHA-256 of the file that was noted last; None when there is none."""
    for table in (Artifact, Checkpoint):
        columns = select(table.run_id, table.path, table.sha256)
        row = session.exec(columns.order_by(col(table.created_at).desc()).limit(1)).first()
        if row is not None:
            return row
    return None


def _not_the_files(settings: Settings, known: Installation) -> str:
    home = settings.home.absolute()
    if known.store != settings.store:
        return (
            f"LAB_STORE is {settings.store or 'not set'}, but the files of this database's runs lie in"
            f" {known.store or f'{known.home} of {known.host}'}: copy them first, names and all (docs/machines.md)"
        )
    return (
        f"LAB_HOME is {home}, but the files of this database's runs lie in another folder: {known.home} of"
        f" {known.host}, when the API was last started. Name that one. Where it is gone for good and {home} is to take"
        f" its place: echo {known.home_id} > {home / HOME_ID}"
    )


def _compare_clocks(session: Session) -> None:
    """A word in the log where this machine's clock and the database's differ."""
    if session.connection().dialect.name != "postgresql":
        return
    began = utc_now()
    theirs = session.execute(select_columns(func.clock_timestamp())).scalar_one()
    ahead = (began + (utc_now() - began) / 2 - theirs).total_seconds()
    if abs(ahead) > CLOCK_SECONDS:
        log.warning(
            "this machine's clock is %.0f s %s the database's: times in records are wrong by that, and a worker may be"
            " shown as offline; let both follow a time server",
            abs(ahead),
            "ahead of" if ahead > 0 else "behind",
        )
