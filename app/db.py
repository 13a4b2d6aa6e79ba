"""Sessions on SQLite or PostgreSQL by the same code, and the migrations that a start applies.

On SQLite: write-ahead log, synchronous FULL, foreign keys on, and BEGIN IMMEDIATE for every write, because SQLAlchemy's
default opens its transaction only at the first write and so loses updates without an error.
"""

import fcntl
import importlib.util
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session

from app.errors import Misconfigured
from app.settings import Settings

BUSY_SECONDS = 10.0
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "temp_store=MEMORY",
)
SQLITE_WITHOUT_WAL_RESET_BUG = (3, 51, 3)
MIGRATION_LOCK = 7_236_011  # any number, the same in every process, for PostgreSQL's advisory lock
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"}

log = logging.getLogger("lab.db")


class Database:
    """The engine and its two kinds of session."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self.engine = _engine(url, busy_seconds)
        self._reader = self.engine.execution_options(read_only=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one consistent state and never blocks a writer."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises. Begins at its first statement."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """The database of these settings, its folder made, its schema up to date. Raises Misconfigured."""
    settings.home.mkdir(parents=True, exist_ok=True)
    url = settings.effective_database_url
    database = Database(url)
    _refuse_network_file_system(url)
    migrate(database, settings.home / ".migrate.lock")
    return database


def migrate(database: Database, lock: Path) -> None:
    """Bring the schema up to date; of several processes that start at once, one does it and the others wait."""
    config = alembic_config()
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with database.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            if schema_revision(connection) != _head(config):
                if connection.dialect.name == "sqlite":
                    connection.commit()  # foreign keys cannot be switched off within a transaction; the file lock holds
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                log.info("database schema is now at revision %s", _head(config))
            connection.commit()


def schema_is_current(session: Session) -> bool:
    """Whether the database has the schema that this code was written for."""
    return schema_revision(session.connection()) == _head(alembic_config())


def schema_revision(connection: Connection) -> str | None:
    """The migration that the database stands at, None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


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


def _engine(url: str, busy_seconds: float) -> Engine:
    try:
        backend = make_url(url).get_backend_name()
    except ArgumentError as error:
        raise Misconfigured(f"LAB_DATABASE_URL is not a database URL: {error}") from error
    if backend != "sqlite":
        try:
            return create_engine(url, pool_size=5, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise Misconfigured(f"LAB_DATABASE_URL needs the Python package {error.name!r}: install it, for instance psycopg[binary]") from error
    if sqlite3.sqlite_version_info < SQLITE_WITHOUT_WAL_RESET_BUG:
        log.debug("SQLite %s has the rare WAL-reset bug that 3.51.3 fixes; keep a backup", sqlite3.sqlite_version)
    engine = create_engine(url, connect_args={"timeout": busy_seconds, "check_same_thread": False}, pool_size=5)
    event.listen(engine, "connect", _prepare_sqlite_connection)
    event.listen(engine, "begin", _begin_sqlite_transaction)
    return engine


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
