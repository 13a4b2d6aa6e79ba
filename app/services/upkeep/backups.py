"""The SQLite database copied while the service runs, and put back while it does not.

Both ways the copy is made by SQLite's own backup, checked, flushed, and renamed: under the wanted name it is whole or
absent.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from app.errors import Misconfigured
from app.home import HomeInUse, home_in_use, home_to_oneself
from app.services.lifecycle.workers import ONLINE_SECONDS, online
from app.settings import Settings
from app.storage.db import Database
from app.storage.schema import MIGRATION_LOCK_FILE, known_revisions, migrate
from lab_models.common.files import sync_folder

MOST_NAMED = 3
COMPANIONS = ("-wal", "-shm", "-journal")
"""SQLite keeps these beside a database; a write-ahead log that is left beside another database would be applied to
that.
"""


class BackupRefused(Exception):
    """The backup is not made or not put back; the message says why and what to do. Nothing has changed."""


@dataclass(frozen=True)
class Contents:
    """What a database holds: its schema revision, and rows."""

    revision: str
    experiments: int
    runs: int
    unfinished: int
    size_bytes: int


@dataclass(frozen=True)
class Restored:
    """What was put in place, and where the database lies that was there before; None when there was none."""

    contents: Contents
    before: Path | None


def back_up(
    settings: Settings,
    path: Path,
    *,
    overwrite: bool,
    while_nobody_writes: Callable[[sqlite3.Connection], None] | None = None,
) -> Contents:
    """Copy the database as it is at this moment to `path`, checked; writers go on meanwhile. Raises Misconfigured on
    PostgreSQL, BackupRefused.

    `while_nobody_writes` is given the state that is then copied, while writers are held up, so that nothing that it
    names goes meanwhile; it must take no longer than a moment.
    """
    database = _database_file(settings, "back up", _dump_command(settings, path))
    if not database.is_file():
        raise BackupRefused(
            f"there is no database {database}: LAB_HOME is {settings.home}; set it to the service's"
        )
    _refuse_to_overwrite(path, database, overwrite=overwrite)
    try:
        with home_in_use(settings.home), _beside(path) as temporary:
            _copy(database, temporary, while_nobody_writes)
            contents = inspect(temporary)
            _publish(temporary, path)
    except (OSError, sqlite3.Error) as error:
        raise BackupRefused(f"the backup {path} could not be written: {error}") from error
    return contents


def restore(settings: Settings, path: Path) -> Restored:
    """Put a backup in the database's place and bring its schema up to date; what was there is kept under another name.

    Raises Misconfigured on PostgreSQL; BackupRefused while a service uses the home, or for a file that is no sound
    backup.
    """
    database = _database_file(settings, "restore", _restore_command(settings, path))
    found = inspect(path)
    if found.revision not in known_revisions():
        raise BackupRefused(
            f"{path} has schema revision {found.revision}, which this version does not know: it was written by a"
            " newer one"
        )
    try:
        with home_to_oneself(settings.home):
            _refuse_while_workers_live(database)
            with _beside(database) as temporary:
                _copy(path, temporary)
                _bring_up_to_date(temporary, settings.home)
                before = _set_aside(database)
                _publish(temporary, database)
    except HomeInUse as error:
        raise BackupRefused(
            f"a service uses {settings.home}: stop it and its workers first"
        ) from error
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise BackupRefused(f"{path} could not be put in place: {error}") from error
    return Restored(inspect(database), before)


def inspect(path: Path) -> Contents:
    """What a database file holds, after `PRAGMA integrity_check` and `foreign_key_check`; raises BackupRefused unless
    it is a sound one of this service.
    """
    if not path.is_file():
        raise BackupRefused(f"there is no file {path}")
    try:
        with closing(_opened(path)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
            if said != ["ok"] or dangling:
                raise BackupRefused(
                    f"{path} is damaged:"
                    f" {'; '.join(said) if said != ['ok'] else f'{len(dangling)} rows point to rows that are gone'}"
                )
            return _contents(connection, path)
    except sqlite3.Error as error:
        raise BackupRefused(f"{path} is not a database of this service: {error}") from error


def _contents(connection: sqlite3.Connection, path: Path) -> Contents:
    def number(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise BackupRefused(f"{path} is not a database of this service: it has no schema revision")
    unfinished = number("SELECT count(*) FROM run WHERE status IN ('queued', 'running', 'paused')")
    return Contents(
        row[0],
        number("SELECT count(*) FROM experiment"),
        number("SELECT count(*) FROM run"),
        unfinished,
        path.stat().st_size,
    )


def _database_file(settings: Settings, verb: str, instead: str) -> Path:
    url = make_url(settings.effective_database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise Misconfigured(
            f"LAB_DATABASE_URL is not SQLite, which is all that `lab` can {verb}. Use PostgreSQL's own programs:\n "
            f" {instead}"
        )
    return Path(url.database).absolute()


def _dump_command(settings: Settings, path: Path) -> str:
    return f"pg_dump --format=custom --file={path} {_server(settings)}"


def _restore_command(settings: Settings, path: Path) -> str:
    return (
        f"pg_restore --clean --if-exists --single-transaction --dbname={_server(settings)} {path}"
    )


def _server(settings: Settings) -> str:
    """The URL as PostgreSQL's programs take it, without the password."""
    url = make_url(settings.effective_database_url)
    return URL.create(
        url.get_backend_name(), url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def _refuse_to_overwrite(path: Path, database: Path, *, overwrite: bool) -> None:
    if path.resolve() == database.resolve():
        raise BackupRefused(f"{path} is the database itself: name another file")
    if path.is_dir():
        raise BackupRefused(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise BackupRefused(f"there is no folder {path.parent}: make it first")
    if path.exists() and not overwrite:
        raise BackupRefused(
            f"{path} is there already: name another file, or say --force to replace it"
        )


def _refuse_while_workers_live(database: Path) -> None:
    """Processes of versions that knew no lock, or in another container, at least show themselves in the table."""
    if not database.is_file():
        return
    current = Database(f"sqlite:///{database}")
    try:
        with current.reading() as session:
            names = [worker.id for worker in online(session)]
    except DatabaseError:  # damaged, or of another schema: perhaps the very reason for restoring
        return
    finally:
        current.close()
    if names:
        seen = f"{len(names)} workers were seen within the last {ONLINE_SECONDS} s ({', '.join(names[:MOST_NAMED])})"
        raise BackupRefused(f"{seen}: stop them; if they were killed, wait {ONLINE_SECONDS} s")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name for a database that is to become `path`; nothing is left there afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        for name in ("", *COMPANIONS):
            temporary.with_name(temporary.name + name).unlink(missing_ok=True)


def _copy(
    source: Path,
    target: Path,
    while_nobody_writes: Callable[[sqlite3.Connection], None] | None = None,
) -> None:
    """All pages in one step: a reader of a write-ahead log sees one state and holds nobody up, however much is written
    meanwhile.
    """
    target.unlink(missing_ok=True)
    with closing(_opened(source)) as reader, closing(sqlite3.connect(target)) as writer:
        if while_nobody_writes is not None:
            with closing(_opened(source)) as lock:
                lock.execute("BEGIN IMMEDIATE")
                reader.execute("BEGIN")
                reader.execute(
                    "SELECT 1 FROM alembic_version"
                ).fetchone()  # what is seen now is copied
                while_nobody_writes(reader)
        reader.backup(writer)
        # one file; the service turns its write-ahead log on when it opens it
        writer.execute("PRAGMA journal_mode=DELETE")


def _opened(path: Path) -> sqlite3.Connection:
    """Never made anew by being opened."""
    return sqlite3.connect(
        (
            f"{path.absolute().as_uri()}?mode=rw"
            if os.access(path.parent, os.W_OK)
            else f"{path.absolute().as_uri()}?mode=ro"
        ),
        uri=True,
    )


def _bring_up_to_date(file: Path, home: Path) -> None:
    database = Database(f"sqlite:///{file}")
    try:
        migrate(database.engine, home / MIGRATION_LOCK_FILE)
    finally:
        database.close()


def _set_aside(database: Path) -> Path | None:
    """Rename the database that is there, companions first: what is left at a crash in between is never applied to
    another database.
    """
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    for name in (*COMPANIONS, ""):
        part = database.with_name(database.name + name)
        if part.exists():
            part.rename(kept.with_name(kept.name + name))
    return kept


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
