"""The files that cannot be made again, copied beside a backup of the database while the service runs, and put back:
what runs have published, checkpoints, logs, and people's own images.

A file is there before its row, so the rows are copied first, and then the files that they name. One that has gone since
was a checkpoint with a newer one beside it, or its run was deleted.
"""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select
from sqlmodel import col

from app.home import HomeInUse, home_in_use, home_to_oneself
from app.services.upkeep.backups import BackupRefused
from app.services.upkeep.copying import Copier, FileToCopy, Tally
from app.services.upkeep.folders import children, files
from app.services.upkeep.leftovers import LOG
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Artifact, Checkpoint, Run
from lab_models.datasets.catalog import DATASET_NAME, MANIFEST

RUNS, IMPORTED = "runs", "imported"
DAY = 86_400


@dataclass(frozen=True)
class Named:
    """The files that rows name, and the runs, whose logs no row names."""

    checkpoints: Sequence[FileToCopy]
    artifacts: Sequence[FileToCopy]
    runs: Sequence[str]


def named_in_file(path: Path) -> Named:
    """By the rows of a SQLite file that nobody writes to; raises BackupRefused."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return _named(lambda query: connection.execute(str(query)))
    except sqlite3.Error as error:
        raise BackupRefused(f"{path} is not a database of this service: {error}") from error


def named_in_database(settings: Settings) -> Named:
    """By the rows of the database as it is now, on PostgreSQL too."""
    database = Database(settings.effective_database_url)
    try:
        with database.reading() as session:
            return _named(session.execute)
    finally:
        database.close()


def _named(ask: Callable[[Any], Iterable[Any]]) -> Named:
    checkpoints, artifacts = (
        [
            _wanted(*row)
            for row in ask(
                select(col(table.run_id), col(table.path), col(table.size_bytes), col(table.sha256))
            )
        ]
        for table in (Checkpoint, Artifact)
    )
    return Named(checkpoints, artifacts, [row[0] for row in ask(select(col(Run.id)))])


class FileBackup:
    """Copies what cannot be made again into a folder, which has it as the home does; what is there already stays.

    A context, because of what is pinned: left in the home by a process that was killed, `lab gc` finds it.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        _refuse_bucket(settings)
        self._home = settings.home.absolute()
        self._folder = folder.absolute()
        _refuse_folder(self._home, self._folder)
        self._pins = self._home / f".backup.{os.getpid()}.tmp"
        self._pinned: list[FileToCopy] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._pins, ignore_errors=True)

    def pin(self, connection: sqlite3.Connection) -> None:
        """Give the checkpoints of runs that go on second names, for a moment later newer ones may have their place."""
        rows = connection.execute(
            "SELECT run_id, path, size_bytes, sha256 FROM checkpoint JOIN run ON run.id = run_id"
            " WHERE run.status IN ('queued', 'running', 'paused')"
        )
        for wanted in [_wanted(*row) for row in rows]:
            pin = self._pins / wanted.path
            try:
                pin.parent.mkdir(parents=True, exist_ok=True)
                pin.hardlink_to(self._home / wanted.path)
            except OSError:  # gone, or a file system without: then it is copied from its place, if it is there still
                continue
            self._pinned.append(wanted)

    def copy(self, named: Named) -> Tally:
        """All of it; raises BackupRefused where the folder cannot be written."""
        try:
            with home_in_use(self._home):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                pinned = Copier(self._pins, self._folder)
                pinned.copy_all(self._pinned)
                copied = Copier(self._home, self._folder, touch=True)
                copied.copy_all(named.checkpoints)
                copied.copy_all(named.artifacts)
                copied.copy_all(_logs(self._home, named.runs))
                _copy_datasets(copied, self._home, self._folder)
        except OSError as error:
            raise BackupRefused(
                f"the files could not all be copied to {self._folder}: {error.strerror}; what is there is whole, and"
                " the next call goes on"
            ) from error
        copied.tally.num_copied += pinned.tally.num_copied
        copied.tally.bytes_copied += pinned.tally.bytes_copied
        copied.tally.num_unchanged -= pinned.tally.num_copied
        return copied.tally

    def sweep(self, days: float) -> int:
        """Remove what no backup of so many days has named, each of which touches what it names; returns how many
        bytes.
        """
        old = time.time() - days * DAY
        freed = 0
        for path in files(self._folder / RUNS):
            state = path.stat()
            if state.st_mtime < old:
                freed += state.st_size
                path.unlink()
        for folder in children(self._folder / IMPORTED):
            if folder.stat().st_mtime < old:
                freed += sum(file.stat().st_size for file in files(folder))
                shutil.rmtree(folder)
        for run in children(self._folder / RUNS):
            for part in (*children(run), run):
                if part.is_dir() and not any(part.iterdir()):
                    part.rmdir()
        return freed


def _refuse_bucket(settings: Settings) -> None:
    if settings.store:
        raise BackupRefused(
            f"the files lie in {settings.store} (LAB_STORE), and its versions or a copy of it are their backup: leave"
            " --files out"
        )


def put_back(settings: Settings, folder: Path, named: Named) -> Tally:
    """Copy the files that rows name, and data sets, from a backup's folder into the home; what is there stays as it is.

    Raises BackupRefused, while a service uses the home, too.
    """
    _refuse_bucket(settings)
    home = settings.home.absolute()
    folder = folder.absolute()
    _refuse_folder(home, folder)
    if not folder.is_dir():
        raise BackupRefused(f"there is no folder {folder}")
    copier = Copier(folder, home)
    try:
        with home_to_oneself(home):
            copier.copy_all(named.artifacts)
            copier.copy_all(named.checkpoints)
            copier.copy_all(_logs(folder, named.runs))
            _copy_datasets(copier, folder, home, replace=False)
    except HomeInUse as error:
        raise BackupRefused(f"a service uses {home}: stop it and its workers first") from error
    except OSError as error:
        raise BackupRefused(
            f"the files could not all be put back into {home}: {error.strerror}; what is there is whole, and the next"
            " call goes on"
        ) from error
    return copier.tally


def _wanted(run_id: str, path: str, size_bytes: int, sha256: str) -> FileToCopy:
    return FileToCopy(f"{RUNS}/{run_id}/{path}", size_bytes, sha256)


def _logs(folder: Path, runs: Sequence[str]) -> Iterator[FileToCopy]:
    for run in runs:
        for log in (folder / RUNS / run).glob(f"attempt-*/{LOG}"):
            yield FileToCopy(str(log.relative_to(folder)))


def _copy_datasets(copier: Copier, source: Path, target: Path, *, replace: bool = True) -> None:
    """Every imported data set as a whole; one that is there is the same if its manifest is, which has the sums of all
    files.
    """
    for folder in sorted(children(source / IMPORTED)):
        if not folder.is_dir() or not DATASET_NAME.fullmatch(folder.name):
            continue
        there = target / IMPORTED / folder.name
        content = _content(folder)
        if there.is_dir() and (not replace or _content(there) == content):
            copier.leave(there, len(_sums(content)) + 1)
            continue
        copier.copy_folder(f"{IMPORTED}/{folder.name}", _sums(content))


def _content(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:  # damaged, or just taken away
        return b""


def _sums(manifest: bytes) -> dict[str, str]:
    try:
        sums = json.loads(manifest)["files"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(name): str(sha256) for name, sha256 in sums.items()}


def _refuse_folder(home: Path, folder: Path) -> None:
    inner, outer = folder.resolve(), home.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise BackupRefused(f"{folder} and LAB_HOME lie in one another: name a folder elsewhere")
    if folder.exists() and not folder.is_dir():
        raise BackupRefused(f"{folder} is no folder")
    if not folder.parent.is_dir():
        raise BackupRefused(f"there is no folder {folder.parent}: make it first")
