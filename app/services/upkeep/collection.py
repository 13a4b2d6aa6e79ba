"""What takes up disk and is needed by nothing: found, listed with sizes, and removed on request, while the service
runs.

Nothing that a row points to is touched, and nothing younger than an hour: somebody may just be writing it. What decides
about a run's files is read again under the run's lock, so that no attempt can begin while they are removed.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sqlmodel import Session, col, select

from app.services.experiments import artifacts
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus
from app.storage.tables import Artifact, Checkpoint, Run, utc_now
from lab_models.common.files import exclusive

YOUNG = timedelta(hours=1)
FORGOTTEN = timedelta(days=1)
"""Temporary files are left alone for so long: the longest upload or preparation has ended by then."""

LOG = "log.txt"
"""An attempt's log stays as long as its run: it says why the attempt ended."""

TEMPORARY_NAME = re.compile(r"\..+\.tmp(-wal|-shm|-journal)?")
HEADER_BYTES = 8
MOST_HEADER_BYTES = 1 << 20

log = logging.getLogger("lab.collection")


class Kind(StrEnum):
    """Why something may go."""

    RUN_FOLDER = "run_folder"
    ATTEMPT_FILES = "attempt_files"
    CHECKPOINTS = "checkpoints"
    ARCHIVE = "archive"
    TEMPORARY = "temporary"


MEANINGS: dict[Kind, str] = {
    Kind.RUN_FOLDER: "its run is deleted",
    Kind.ATTEMPT_FILES: "left by an attempt that is over; no row points to them",
    Kind.CHECKPOINTS: "of a failed or cancelled run that ended longer than LAB_KEEP_CHECKPOINTS_DAYS ago",
    Kind.ARCHIVE: "a teacher's outputs that no run needs any more; computed again if one does",
    Kind.TEMPORARY: "half-written, and older than a day",
}


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may go, or files within it; `path` is relative to the home."""

    kind: Kind
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Collected:
    """What was found, and of that what could not be removed; a dry run removes nothing and fails at nothing."""

    found: tuple[Leftover, ...]
    failed: tuple[Leftover, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of what was found and not failed at."""
        return sum(item.size_bytes for item in self.found) - sum(
            item.size_bytes for item in self.failed
        )


def collect(database: Database, settings: Settings, *, dry_run: bool) -> Collected:
    """Find what is needed by nothing, and remove it unless it is a dry run. Never raises for a file that cannot be
    removed.
    """
    keeper = _Keeper(database, settings)
    found = tuple(sorted(keeper.find(), key=lambda item: (item.kind, item.path)))
    if dry_run:
        return Collected(found)
    return Collected(found, tuple(item for item in found if not keeper.remove(item)))


class _Keeper:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._home = settings.home.absolute()
        self._now = utc_now().timestamp()

    def find(self) -> Iterator[Leftover]:
        # Folders first, rows second: a run that is written in between has its row when it is looked for.
        folders = [
            path for path in _children(self._settings.runs_folder) if path.name.startswith("run_")
        ]
        archives = [
            path
            for path in _children(self._settings.archives_folder)
            if path.suffix == ".safetensors"
        ]
        with self._database.reading() as session:
            for folder in folders:
                yield from self._found_in_run_folder(session, folder)
            yield from (
                self._item(Kind.ARCHIVE, path)
                for path in archives
                if self._is_unused_archive(session, path)
            )
        yield from (self._item(Kind.TEMPORARY, path) for path in self._temporary())

    def remove(self, item: Leftover) -> bool:
        """Whether it is gone, or turned out to be needed."""
        path = self._home / item.path
        try:
            match item.kind:
                case Kind.RUN_FOLDER | Kind.TEMPORARY:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                case Kind.ARCHIVE:
                    _remove_archive(path)
                case Kind.ATTEMPT_FILES | Kind.CHECKPOINTS:
                    self._remove_of_run(item, path)
        except OSError as error:
            log.warning("%s could not be removed: %s", path, error)
            return False
        return True

    def _remove_of_run(self, item: Leftover, path: Path) -> None:
        """Under the run's lock, and what is needed found again. Checkpoints: rows first, files after the commit."""
        run_id = path.relative_to(self._settings.runs_folder).parts[0]
        dropped: list[str] = []
        with self._database.writing() as session:
            run = session.exec(
                select(Run).where(col(Run.id) == run_id).with_for_update()
            ).one_or_none()
            if run is None:
                return
            if item.kind is Kind.ATTEMPT_FILES:
                for file in self._leftovers(session, run, path):
                    file.unlink(missing_ok=True)
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
            elif self._is_past_resuming(run):
                dropped = artifacts.drop_checkpoints(session, run_id)
        for name in dropped:
            (self._settings.runs_folder / run_id / name).unlink(missing_ok=True)

    def _found_in_run_folder(self, session: Session, folder: Path) -> Iterator[Leftover]:
        run = session.get(Run, folder.name)
        if run is None:
            if self._is_older(folder, YOUNG):
                yield self._item(Kind.RUN_FOLDER, folder)
            return
        if self._is_past_resuming(run):
            size = sum(
                session.exec(select(Checkpoint.size_bytes).where(col(Checkpoint.run_id) == run.id))
            )
            if size:
                yield Leftover(Kind.CHECKPOINTS, str(folder.relative_to(self._home)), size)
        yield from (
            self._item(Kind.TEMPORARY, path)
            for path in _files(folder)
            if _is_temporary(path) and self._is_older(path, FORGOTTEN)
        )
        for attempt in _children(folder):
            leftovers = self._leftovers(session, run, attempt)
            if leftovers:
                yield Leftover(
                    Kind.ATTEMPT_FILES,
                    str(attempt.relative_to(self._home)),
                    sum(file.lstat().st_size for file in leftovers),
                )

    def _leftovers(self, session: Session, run: Run, attempt: Path) -> list[Path]:
        """Files of an attempt that is over, that no row points to and that are an hour old. A later attempt writes to
        another folder.
        """
        number = attempt.name.removeprefix("attempt-")
        if not number.isdecimal() or not _is_over(run, int(number)):
            return []
        needed = {
            self._settings.runs_folder / run.id / path
            for table in (Artifact, Checkpoint)
            for path in session.exec(select(table.path).where(col(table.run_id) == run.id))
        }
        return [
            file
            for file in _files(attempt)
            if file not in needed
            and file.name != LOG
            and not _is_temporary(file)
            and self._is_older(file, YOUNG)
        ]

    def _is_past_resuming(self, run: Run) -> bool:
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
        teacher = _teacher_of(path)
        users = (
            []
            if teacher is None
            else session.exec(select(Run.status).where(col(Run.needs) == teacher)).all()
        )
        if not users:
            return True
        kept = self._settings.keep_archives_days
        is_needed = any(not RunStatus(status).is_terminal for status in users)
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
        found = [path for folder in folders for path in _children(folder) if _is_temporary(path)]
        found += _children(self._home / "uploads")
        return (path for path in found if self._is_older(path, FORGOTTEN))

    def _item(self, kind: Kind, path: Path) -> Leftover:
        return Leftover(kind, str(path.relative_to(self._home)), _size(path))

    def _is_older(self, path: Path, age: timedelta) -> bool:
        """Whether nothing in it has changed for so long. What has just gone counts as young."""
        try:
            newest = max(part.lstat().st_mtime for part in (path, *_below(path)))
        except FileNotFoundError:
            return False
        return self._now - newest > age.total_seconds()


def _is_final(run: Run) -> bool:
    return RunStatus(run.status).is_terminal


def _is_over(run: Run, attempt: int) -> bool:
    """Whether nobody who holds the run writes as this attempt, now or later."""
    return (
        attempt < run.attempt
        or (attempt == run.attempt and run.status != RunStatus.RUNNING)
        or (attempt > run.attempt and _is_final(run))
    )


def _is_temporary(path: Path) -> bool:
    return TEMPORARY_NAME.fullmatch(path.name) is not None


def _teacher_of(archive: Path) -> str | None:
    """The run named in the header of a safetensors file: its length in 8 bytes, then JSON
    (https://github.com/huggingface/safetensors#format).
    """
    try:
        with archive.open("rb") as file:
            length = int.from_bytes(file.read(HEADER_BYTES), "little")
            header = json.loads(file.read(length)) if length <= MOST_HEADER_BYTES else {}
        return str(header["__metadata__"]["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _children(folder: Path) -> list[Path]:
    """What lies in a folder, which may be absent; links are left alone."""
    return (
        [] if not folder.is_dir() else [path for path in folder.iterdir() if not path.is_symlink()]
    )


def _below(path: Path) -> list[Path]:
    """All that lies in a folder at any depth; nothing for a file or a link."""
    return list(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def _files(folder: Path) -> list[Path]:
    return [path for path in _below(folder) if path.is_file() and not path.is_symlink()]


def _size(path: Path) -> int:
    return sum(
        part.lstat().st_size
        for part in (path, *_below(path))
        if part.is_file() and not part.is_symlink()
    )


def _remove_archive(path: Path) -> None:
    """Under the lock that readers and writers of it take; raises BlockingIOError while one of them has that."""
    with exclusive(path.with_suffix(".lock"), wait=False):
        path.unlink(missing_ok=True)
