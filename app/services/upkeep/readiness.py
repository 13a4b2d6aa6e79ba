"""Whether submits can succeed: the database, and the disk under the home."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DatabaseError
from sqlmodel import Session

from app.services.lifecycle import queued_runs, workers
from app.services.upkeep import telemetry
from app.storage.database_file import MOVED, file_has_moved
from app.storage.schema import schema_is_current

OK = "ok"


@dataclass(frozen=True)
class DatabaseState:
    """What the database says; the numbers are 0 where it says nothing. `trouble` says which workers cannot train."""

    state: str
    workers_online: int = 0
    trouble: str | None = None
    runs_queued: int = 0
    oldest_wait_seconds: int = 0


@dataclass(frozen=True)
class StorageState:
    """What the disk under the home says."""

    state: str
    free_bytes: int


def database_state(session: Session) -> DatabaseState:
    """`ok`, `wrong schema revision`, `no answer` or that the file has moved, with who works and what waits; never
    raises for a database that is broken.
    """
    try:
        if file_has_moved(session):
            return DatabaseState(MOVED)
        if not schema_is_current(session):
            return DatabaseState("wrong schema revision")
        seen = workers.online(session)
        return DatabaseState(
            OK,
            sum(worker.trouble is None for worker in seen),
            workers.trouble_of(seen),
            queued_runs(session),
            int(telemetry.oldest_wait_seconds(session)),
        )
    except DatabaseError as error:
        return DatabaseState(f"no answer: {error.orig}")


def storage_state(home: Path, min_free_bytes: int) -> StorageState:
    """`ok`, `low on disk`, or that nothing can be written, tried by writing a byte to a file without a name."""
    try:
        free_bytes = shutil.disk_usage(home).free
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"?")
            file.flush()
    except OSError as error:
        return StorageState(f"LAB_HOME cannot be written: {error.strerror}", 0)
    return StorageState(OK if free_bytes >= min_free_bytes else "low on disk", free_bytes)
