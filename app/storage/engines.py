"""Connections to SQLite or PostgreSQL, prepared so that the same code is safe on either.

On SQLite: write-ahead log, synchronous FULL, foreign keys on, and BEGIN IMMEDIATE for every write, because SQLAlchemy's
default opens its transaction only at the first write and so loses updates without an error.

On PostgreSQL: nobody waits for a lock for longer than a writer of SQLite waits for the file.
"""

import json
import logging
import math
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError

from app.errors import Misconfigured
from app.storage.database_file import INFO, DatabaseFile

POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 5.0}
"""Connections kept, and more for a while: more than all passes of the API at a time (`app.api.http.passes`), so that
none ever waits for one.
"""
IDLE_SECONDS = 0.5
"""A connection to a server that was used within so long is taken to be there still: a server takes longer to come back
from a restart.
"""
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "journal_size_limit=67108864",
    "temp_store=MEMORY",
)
SQLITE_WITHOUT_WAL_RESET_BUG = (3, 51, 3)
USED_AT = "lab.used_at"
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"}

log = logging.getLogger("lab.db")


def make_engine(url: str, busy_seconds: float) -> Engine:
    """The engine of this address; a statement waits so long for others. Raises Misconfigured."""
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
    # in memory each thread has its own
    pool = POOL if make_url(url).database not in (None, "", ":memory:") else {}
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


def refuse_network_file_system(url: str) -> None:
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
    """A ping before use finds connections that a restart of the server has ended, unless it was just used."""
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):  # as people write it
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "postgresql":
        raise Misconfigured(
            f"LAB_DATABASE_URL begins with {parsed.drivername!r}, which is neither sqlite nor postgresql"
        )
    try:
        utf8 = {"client_encoding": "utf8"}  # also of a server in SQL_ASCII
        # the last one given back is taken first: it has been used lately, and others can rest
        engine = create_engine(
            parsed, pool_use_lifo=True, connect_args=utf8, json_serializer=_to_json, **POOL
        )
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"LAB_DATABASE_URL needs the Python package {error.name!r}: pip install 'training-lab[postgres]'"
        ) from error
    except NoSuchModuleError as error:
        raise Misconfigured(
            f"LAB_DATABASE_URL begins with {parsed.drivername!r}, which is neither sqlite nor postgresql"
        ) from error

    def wait_no_longer(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
        connection.commit()

    event.listen(engine, "connect", wait_no_longer)
    _ping_what_was_idle(engine)
    return engine


def _ping_what_was_idle(engine: Engine) -> None:
    """As `pool_pre_ping`, which asks each time and so doubles what a small look-up costs."""

    def note(_connection: Any, record: Any) -> None:
        record.info[USED_AT] = time.monotonic()

    def look(connection: Any, record: Any, _proxy: Any) -> None:
        used_at = record.info.get(USED_AT)  # None: it is new
        if used_at is None or time.monotonic() - used_at < IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # all that are as old are closed, and this one is made anew
            raise InvalidatePoolError("the server has ended the connection") from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", look)


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


def _file_system(folder: Path) -> str | None:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    containing = [(len(mount[1]), mount[2]) for mount in mounts if folder.is_relative_to(mount[1])]
    return max(containing)[1] if containing else None
