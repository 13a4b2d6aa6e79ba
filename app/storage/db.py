"""Sessions on SQLite or PostgreSQL by the same code, and the migrations that a start applies.

On SQLite: write-ahead log, synchronous FULL, foreign keys on, and BEGIN IMMEDIATE for every write, because SQLAlchemy's
default opens its transaction only at the first write and so loses updates without an error.

On PostgreSQL: what writes locks the rows that it decides by, what reads sees one snapshot, and nobody waits for a lock
for longer than a writer of SQLite waits for the file.
"""

import fcntl
import importlib.util
import json
import logging
import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlmodel import Session

from app.errors import Misconfigured
from app.home import home_in_use
from app.settings import Settings
from app.storage.database_file import INFO, DatabaseFile

BUSY_SECONDS = 10.0
POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 5.0}
"""Connections kept, and more for a while: more than all passes of the API at a time (`app.api.http.passes`), so that
none ever waits for one.
"""
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "temp_store=MEMORY",
)
SQLITE_WITHOUT_WAL_RESET_BUG = (3, 51, 3)
MIGRATION_LOCK_FILE = ".migrate.lock"
MIGRATION_LOCK = 7_236_011  # any number, the same in every process, for PostgreSQL's advisory lock
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"}

log = logging.getLogger("lab.db")


class _OfThread(threading.local):
    """How many sessions this thread has open, of whatever database."""

    num_sessions = 0


class Database:
    """The engine and its two kinds of session."""

    _thread = _OfThread()

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = _engine(url, busy_seconds)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._glance: sqlite3.Connection | None = None
        snapshot = (
            {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            if self.engine.dialect.name == "postgresql"
            else {}
        )
        self._reader = self.engine.execution_options(read_only=True, **snapshot)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one consistent state and never blocks a writer."""
        with self._counted(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises. Begins at its first statement."""
        with self._counted(), Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def glance(self, query: str, *parameters: str) -> tuple[Any, ...] | None:
        """The first row of a look-up by an index of a SQLite file, in microseconds: without a thread, a pool or waiting
        for anybody. Of one thread.

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


def open_database(settings: Settings) -> Database:
    """The database of these settings, its folder made, its schema up to date. Raises Misconfigured."""
    url = settings.effective_database_url
    with home_in_use(settings.home):  # waits while a backup is being put in the database's place
        database = Database(url)
        _refuse_network_file_system(url)
        migrate(database, settings.home / MIGRATION_LOCK_FILE)
    return database


def migrate(database: Database, lock: Path) -> None:
    """Bring the schema up to date; of several processes that start at once, one does it and the others wait.

    Raises Misconfigured when the schema is one that this code does not know.
    """
    config = alembic_config()
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with database.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(
                    text("SET LOCAL lock_timeout = 0")
                )  # another process's migration may take long
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            if schema_revision(connection) != _head(config):
                _refuse_unknown_schema(config, schema_revision(connection))
                if connection.dialect.name == "sqlite":
                    connection.commit()  # foreign keys cannot be switched off within a transaction; the file lock holds
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                log.info("database schema is now at revision %s", _head(config))
            connection.commit()


def file_has_moved(session: Session) -> bool:
    """Whether SQLite's file is no longer the one that was opened; never on a server."""
    file: DatabaseFile | None = session.connection().info.get(INFO)
    return file is not None and file.has_moved()


def schema_is_current(session: Session) -> bool:
    """Whether the database has the schema that this code was written for."""
    return schema_revision(session.connection()) == _head(alembic_config())


def schema_revision(connection: Connection) -> str | None:
    """The migration that the database stands at, None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> frozenset[str]:
    """Every schema that this code can bring up to date."""
    return frozenset(
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    )


def alembic_config() -> Config:
    """Alembic's configuration without a file: the `migrations` folder beside this package."""
    found = importlib.util.find_spec("migrations")
    if found is None or found.origin is None:
        raise Misconfigured("the package 'migrations' is not installed")
    config = Config()
    config.set_main_option("script_location", str(Path(found.origin).parent).replace("%", "%%"))
    return config


def _head(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _refuse_unknown_schema(config: Config, revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise Misconfigured(
            f"the database has schema revision {revision}, which this version does not know: it was written by a newer"
            " one. Install that version again, or restore the backup made before it was installed"
        )


def _engine(url: str, busy_seconds: float) -> Engine:
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError as error:
        raise Misconfigured(f"LAB_DATABASE_URL is not a database URL: {error}") from error
    if backend != "sqlite":
        return _server_engine(url, busy_seconds)
    if sqlite3.sqlite_version_info < SQLITE_WITHOUT_WAL_RESET_BUG:
        log.debug(
            "SQLite %s has the rare WAL-reset bug that 3.51.3 fixes; keep a backup",
            sqlite3.sqlite_version,
        )
    pool = (
        POOL if make_url(url).database not in (None, "", ":memory:") else {}
    )  # in memory each thread has its own
    engine = create_engine(
        url,
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
        json_serializer=_to_json,
        **pool,
    )
    event.listen(engine, "connect", _prepare_sqlite_connection)
    if (path := make_url(url).database) and path != ":memory:" and not path.startswith("file:"):
        _watch_file(engine, DatabaseFile(Path(path)))
    event.listen(engine, "begin", _begin_sqlite_transaction)
    return engine


def _watch_file(engine: Engine, file: DatabaseFile) -> None:
    """Nothing is written into a file that was moved away or removed, and no connection makes an empty one in its
    place.
    """

    def note(_connection: Any, record: Any) -> None:
        file.remember()
        record.info[INFO] = file

    def look(connection: Connection) -> None:
        if not connection.get_execution_options().get("read_only", False):
            file.refuse_moved()

    event.listen(engine, "do_connect", lambda *_: file.refuse_moved())
    event.listen(engine, "connect", note)
    event.listen(engine, "begin", look)
    event.listen(engine, "engine_disposed", lambda _: file.forget())


def _server_engine(url: str, busy_seconds: float) -> Engine:
    """Ping before use finds connections that a restart of the server has ended."""
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):  # as people write it
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        utf8 = {"client_encoding": "utf8"}  # also of a server in SQL_ASCII
        engine = create_engine(
            parsed, pool_pre_ping=True, connect_args=utf8, json_serializer=_to_json, **POOL
        )
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"LAB_DATABASE_URL needs the Python package {error.name!r}: pip install 'training-lab[postgres]'"
        ) from error
    except NoSuchModuleError as error:
        raise Misconfigured(
            f"LAB_DATABASE_URL begins with {parsed.drivername!r}, which is neither sqlite nor postgresql"
        ) from error
    if engine.dialect.name != "postgresql":
        raise Misconfigured(
            f"LAB_DATABASE_URL begins with {parsed.drivername!r}, which is neither sqlite nor postgresql"
        )

    def wait_no_longer(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
        connection.commit()

    event.listen(engine, "connect", wait_no_longer)
    return engine


def _to_json(value: Any) -> str:
    """NaN and infinities, which are no JSON and which PostgreSQL refuses, become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _prepare_sqlite_connection(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's `begin` event below opens every transaction
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite_transaction(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _refuse_network_file_system(url: str) -> None:
    """SQLite's write-ahead log needs shared memory, which network file systems do not give."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return
    folder = Path(parsed.database).absolute().parent
    kind = _file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise Misconfigured(
            f"{folder} lies on a network file system ({kind}), where SQLite is not safe: "
            "set LAB_DATABASE_URL to a PostgreSQL server, or LAB_HOME to a local disk"
        )


def _file_system(folder: Path) -> str | None:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    containing = [(len(mount[1]), mount[2]) for mount in mounts if folder.is_relative_to(mount[1])]
    return max(containing)[1] if containing else None
