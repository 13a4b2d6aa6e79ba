"""Sessions on SQLite or PostgreSQL by the same code.

On SQLite one writes at a time, and who reads waits for nobody. On PostgreSQL what writes locks the rows that it decides
by, and what reads sees one snapshot. `engines` prepares the connections, `schema` brings the tables up to date.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlmodel import Session

from app.errors import Misconfigured
from app.home import home_in_use
from app.settings import Settings
from app.storage.changes import number, watch_writes
from app.storage.engines import make_engine, refuse_network_file_system
from app.storage.schema import MIGRATION_LOCK_FILE, migrate
from app.storage.summaries import summarize

BUSY_SECONDS = 10.0


class _OfThread(threading.local):
    """How many sessions this thread has open, of whatever database."""

    num_sessions = 0


class Database:
    """The engine and its two kinds of session."""

    _thread = _OfThread()

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = make_engine(url, busy_seconds)
        watch_writes(self.engine)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._glance: sqlite3.Connection | None = None
        snapshot = (
            {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            if self.engine.dialect.name == "postgresql"
            else {}
        )
        self._reader = self.engine.execution_options(read_only=True, **snapshot)
        self._looker = (
            self._reader
            if self.is_sqlite
            else self.engine.execution_options(read_only=True, isolation_level="AUTOCOMMIT")
        )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one consistent state and never blocks a writer. Ended by a commit, since psycopg forgets
        at a rollback which statements the server has prepared.
        """
        with self._counted(), Session(self._reader, expire_on_commit=False) as session:
            yield session
            session.commit()

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """A session that reads, for what one statement answers: on a server each sees the state of its own moment, so
        that no transaction has to be begun and ended, each a message to and fro.
        """
        with self._counted(), Session(self._looker, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises. Begins at its first statement; if
        it is a change it is numbered at its end.
        """
        with self._counted(), Session(self.engine, expire_on_commit=False) as session:
            yield session
            number(session, summarize)
            session.commit()

    def glance(self, query: str, *parameters: str) -> tuple[Any, ...] | None:
        """The first row of a look-up by an index of a SQLite file, or of a PRAGMA, in microseconds: without a thread, a
        pool or waiting for anybody. Of one thread.

        Raises sqlite3.Error where it cannot be had so, for instance while another process recovers the file.
        """
        if self._glance is None:
            self._glance = sqlite3.connect(
                f"file:{quote(str(self.engine.url.database))}?mode=ro",
                uri=True,
                timeout=0.0,
                check_same_thread=False,
            )
        found: tuple[Any, ...] | None = self._glance.execute(query, parameters).fetchone()
        return found

    @staticmethod
    def expect_no_session() -> None:
        """Raises RuntimeError where this thread has left a session open, which would keep a connection and perhaps a
        lock.
        """
        if Database._thread.num_sessions:
            Database._thread.num_sessions = 0
            raise RuntimeError("a session has outlived its pass")

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()
        if self._glance is not None:
            self._glance.close()
            self._glance = None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        Database._thread.num_sessions += 1
        try:
            yield
        finally:
            Database._thread.num_sessions = max(0, Database._thread.num_sessions - 1)


def why_not(error: DatabaseError, url: str) -> str:
    """Why a database cannot be used, and what to do, in a sentence."""
    reason = str(error.orig).strip().splitlines()[0]
    parsed = make_url(url)
    if isinstance(error, OperationalError) or parsed.get_backend_name() != "sqlite":
        return f"the database does not answer: {reason} (LAB_DATABASE_URL)"
    return (
        f"{parsed.database} is no database of this service ({reason}): put a backup in its place with `lab restore`, or"
        " move it away"
    )


def open_database(settings: Settings) -> Database:
    """The database of these settings, its folder made, its schema up to date. Raises Misconfigured."""
    url = settings.effective_database_url
    with home_in_use(settings.home):  # waits while a backup is being put in the database's place
        database = Database(url)
        refuse_network_file_system(url)
        try:
            migrate(database.engine, settings.home / MIGRATION_LOCK_FILE)
        except DatabaseError as error:
            raise Misconfigured(why_not(error, url)) from error
    return database
