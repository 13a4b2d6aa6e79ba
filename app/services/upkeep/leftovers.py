"""What takes up disk and is needed by nothing: why it may go, and how it is found.

Nothing that a row points to is found, and nothing younger than an hour: somebody may just be writing it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sqlmodel import Session, col, select

from app.services.upkeep.folders import below, children, files, is_temporary, size, teacher_of
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus
from app.storage.tables import Artifact, Checkpoint, Run, utc_now

YOUNG = timedelta(hours=1)
FORGOTTEN = timedelta(days=1)
"""Temporary files are left alone for so long: the longest upload or preparation has ended by then."""

LOG = "log.txt"
"""An attempt's log stays as long as its run: it says why the attempt ended."""


class Kind(StrEnum):
    """Why something may go."""

    RUN_FOLDER = "run_folder"
    ATTEMPT_FILES = "attempt_files"
    CHECKPOINTS = "checkpoints"
    ARCHIVE = "archive"
    TEMPORARY = "temporary"
    STORED = "stored"


MEANINGS: dict[Kind, str] = {
    Kind.RUN_FOLDER: "its run is deleted",
    Kind.ATTEMPT_FILES: "left by an attempt that is over; no row points to them",
    Kind.CHECKPOINTS: "of a failed or cancelled run that ended longer than LAB_KEEP_CHECKPOINTS_DAYS ago",
    Kind.ARCHIVE: "a teacher's outputs that no run needs any more; computed again if one does",
    Kind.TEMPORARY: "half-written, and older than a day",
    Kind.STORED: "in the bucket; no row and no data set points to it",
}


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may go, or files within it; `path` is relative to the home."""

    kind: Kind
    path: str
    size_bytes: int


class Finder:
    """Looks for what may go, by what was old enough when it was made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.home.absolute()
        self._now = utc_now().timestamp()

    def find(self, database: Database) -> Iterator[Leftover]:
        """Everything. Folders first, rows second: a run written in between has its row when it is looked for."""
        folders = [
            path for path in children(self._settings.runs_folder) if path.name.startswith("run_")
        ]
        archives = [
            path
            for path in children(self._settings.archives_folder)
            if path.suffix == ".safetensors"
        ]
        with database.reading() as session:
            for folder in folders:
                yield from self._found_in_run_folder(session, folder)
            yield from (
                self._item(Kind.ARCHIVE, path)
                for path in archives
                if self._is_unused_archive(session, path)
            )
        yield from (self._item(Kind.TEMPORARY, path) for path in self._temporary())

    def _found_in_run_folder(self, session: Session, folder: Path) -> Iterator[Leftover]:
        run = session.get(Run, folder.name)
        if run is None:
            if self._is_older(folder, YOUNG):
                yield self._item(Kind.RUN_FOLDER, folder)
            return
        if self.is_past_resuming(run):
            yield from self.checkpoints_of(session, run)
        yield from (
            self._item(Kind.TEMPORARY, path)
            for path in files(folder)
            if is_temporary(path) and self._is_older(path, FORGOTTEN)
        )
        for attempt in children(folder):
            leftovers = self.of_attempt(session, run, attempt)
            if leftovers:
                yield Leftover(
                    Kind.ATTEMPT_FILES,
                    str(attempt.relative_to(self._home)),
                    sum(file.lstat().st_size for file in leftovers),
                )

    def checkpoints_of(self, session: Session, run: Run) -> Iterator[Leftover]:
        """What a run's checkpoints take, by their rows."""
        size = sum(
            session.exec(select(Checkpoint.size_bytes).where(col(Checkpoint.run_id) == run.id))
        )
        if size:
            folder = self._settings.runs_folder / run.id
            yield Leftover(Kind.CHECKPOINTS, str(folder.relative_to(self._home)), size)

    def of_attempt(self, session: Session, run: Run, attempt: Path) -> list[Path]:
        """Files of an attempt that is over, that no row points to and that are an hour old. A later attempt writes to
        another folder.
        """
        number = attempt.name.removeprefix("attempt-")
        if not number.isdecimal() or not is_over(run, int(number)):
            return []
        needed = {
            self._settings.runs_folder / run.id / path
            for table in (Artifact, Checkpoint)
            for path in session.exec(select(table.path).where(col(table.run_id) == run.id))
        }
        return [
            file
            for file in files(attempt)
            if file not in needed
            and file.name != LOG
            and not is_temporary(file)
            and self._is_older(file, YOUNG)
        ]

    def is_past_resuming(self, run: Run) -> bool:
        """Whether it ended so long ago that its checkpoints may go."""
        kept = self._settings.keep_checkpoints_days
        return (
            kept is not None
            and _is_final(run)
            and run.finished_at is not None
            and utc_now() - run.finished_at > max(YOUNG, timedelta(days=kept))
        )

    def _is_unused_archive(self, session: Session, path: Path) -> bool:
        """Whether no run needs the teacher whose outputs these are; with LAB_KEEP_ARCHIVES_DAYS, no run that is not
        finished.
        """
        if not self._is_older(path, YOUNG):
            return False
        teacher = teacher_of(path)
        users = (
            []
            if teacher is None
            else session.exec(select(col(Run.status)).where(col(Run.needs) == teacher)).all()
        )
        if not users:
            return True
        kept = self._settings.keep_archives_days
        is_needed = any(not status.is_terminal for status in users)
        return not is_needed and kept is not None and self._is_older(path, timedelta(days=kept))

    def _temporary(self) -> Iterator[Path]:
        """What writers leave that were killed: `.<name>.tmp` beside what was to be written, and uploads that could not
        be had without a name.
        """
        settings = self._settings
        folders = [
            self._home,
            settings.prepared_folder,
            settings.imported_folder,
            settings.archives_folder,
            settings.onnx_folder,
        ]
        found = [path for folder in folders for path in children(folder) if is_temporary(path)]
        found += children(self._home / "uploads")
        return (path for path in found if self._is_older(path, FORGOTTEN))

    def _item(self, kind: Kind, path: Path) -> Leftover:
        return Leftover(kind, str(path.relative_to(self._home)), size(path))

    def _is_older(self, path: Path, age: timedelta) -> bool:
        """Whether nothing in it has changed for so long. What has just gone counts as young."""
        try:
            newest = max(part.lstat().st_mtime for part in (path, *below(path)))
        except FileNotFoundError:
            return False
        return self._now - newest > age.total_seconds()


def _is_final(run: Run) -> bool:
    return run.status.is_terminal


def is_over(run: Run, attempt: int) -> bool:
    """Whether nobody who holds the run writes as this attempt, now or later."""
    return (
        attempt < run.attempt
        or (attempt == run.attempt and run.status != RunStatus.RUNNING)
        or (attempt > run.attempt and _is_final(run))
    )
