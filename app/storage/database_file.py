"""SQLite's file, and whether what was opened is still what lies under its name: the next start would not find what was
written into a file moved away.
"""

import sqlite3
from pathlib import Path

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

MOVED = "the database file is no longer where it was opened"
INFO = "database_file"
"""Under which a connection keeps it."""


class DatabaseFile:
    """One file of one process, known by device and inode from the first connection on."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._opened: tuple[int, int] | None = None

    def remember(self) -> None:
        """A connection has opened it; the first one decides."""
        if self._opened is None:
            self._opened = self._there()

    def forget(self) -> None:
        """All connections are closed."""
        self._opened = None

    def has_moved(self) -> bool:
        """Whether another file, or none, lies under its name now."""
        return self._opened is not None and self._there() != self._opened

    def refuse_moved(self) -> None:
        """Raises OperationalError, as if the database could not be reached."""
        if self.has_moved():
            raise OperationalError(
                "BEGIN",
                None,
                sqlite3.OperationalError(
                    f"{MOVED} ({self._path}): put it back, or restart the service"
                ),
            )

    def _there(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def file_has_moved(session: Session) -> bool:
    """Whether SQLite's file is no longer the one that was opened; never on a server."""
    file: DatabaseFile | None = session.connection().info.get(INFO)
    return file is not None and file.has_moved()
