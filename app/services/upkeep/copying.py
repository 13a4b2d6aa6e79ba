"""Files copied from one folder to another, so that a copy is whole or absent: what is there already is not copied
again, and what has a SHA-256 is checked while it is copied.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lab_models.common.files import CHUNK_BYTES, sync_folder


@dataclass(frozen=True)
class FileToCopy:
    """A file by its path in both folders. Without a sum it may have grown since it was copied."""

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass
class Tally:
    """What became of the files: `gone` are those that are in neither folder, `damaged` those that are not what their
    sums say.
    """

    num_copied: int = 0
    bytes_copied: int = 0
    num_unchanged: int = 0
    gone: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class Copier:
    """Copies between two folders and counts what became of the files; two names of one file stay so. Raises OSError
    where the other folder cannot be written.
    """

    def __init__(self, source: Path, target: Path, *, touch: bool = False) -> None:
        """With `touch`, what is there already gets the time of now: whoever cleans up sees that it is still needed."""
        self.tally = Tally()
        self._touch = touch
        self._source = source
        self._target = target
        self._known: dict[tuple[int, int], Path] = {}
        self._folders: set[Path] = set()

    def copy_all(self, files: Iterable[FileToCopy]) -> None:
        """One after the other, made durable at the end."""
        try:
            for wanted in files:
                self._copy(wanted)
        finally:
            for folder in self._folders:
                sync_folder(folder)
            self._folders.clear()

    def leave(self, target: Path, num_files: int = 1) -> None:
        """It is there already."""
        self.tally.num_unchanged += num_files
        if self._touch:
            target.touch()

    def copy_folder(self, path: str, sums: dict[str, str]) -> None:
        """A folder that never changes: all of its files, checked where they have sums, or none."""
        source, target = self._source / path, self._target / path
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        num_files = copied = 0
        try:
            temporary.mkdir(parents=True)
            for file in sorted(source.iterdir()):
                size, sha256 = _copied(file, temporary / file.name)
                if sums.get(file.name, sha256) != sha256:
                    self.tally.damaged.append(f"{path}/{file.name}")
                    return
                copied += size
                num_files += 1
            if not (sums.keys() <= {file.name for file in temporary.iterdir()}):
                raise FileNotFoundError(path)  # taken away meanwhile
            sync_folder(temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.replace(target)
            sync_folder(target.parent)
        except FileNotFoundError:
            self.tally.gone.append(path)
        else:
            self.tally.num_copied += num_files
            self.tally.bytes_copied += copied
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _copy(self, wanted: FileToCopy) -> None:
        source, target = self._source / wanted.path, self._target / wanted.path
        there = _stat(target)
        found = _stat(source)
        size = found.st_size if wanted.size_bytes is None and found else wanted.size_bytes
        if there is not None and there.st_size == size:
            self.leave(target)
            self._remember(found, target)
            return
        if found is None:
            self.tally.gone.append(wanted.path)
            return
        self._make_folder(target.parent)
        twin = self._known.get((found.st_dev, found.st_ino))
        if twin is None or not _linked(twin, target):
            self._write(wanted, source, target)
        else:
            self.tally.num_copied += 1
        self._remember(found, target)

    def _write(self, wanted: FileToCopy, source: Path, target: Path) -> None:
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            size, sha256 = _copied(source, temporary)
            if wanted.sha256 not in (None, sha256):
                self.tally.damaged.append(wanted.path)
                return
            temporary.replace(target)
        except FileNotFoundError:
            self.tally.gone.append(wanted.path)
            return
        finally:
            temporary.unlink(missing_ok=True)
        self.tally.num_copied += 1
        self.tally.bytes_copied += size

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        while folder != self._target and folder not in self._folders:
            self._folders.add(folder)
            folder = folder.parent
        self._folders.add(self._target)

    def _remember(self, found: os.stat_result | None, target: Path) -> None:
        if found is not None and found.st_nlink > 1 and target.exists():
            self._known.setdefault((found.st_dev, found.st_ino), target)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _linked(twin: Path, target: Path) -> bool:
    """Whether the file system has given the twin a second name."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.hardlink_to(twin)
        temporary.replace(target)
    except OSError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _copied(source: Path, target: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was read; the copy is on the disk when this returns."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as original, target.open("wb") as copy:
        size = _through(original, copy, digest.update)
        copy.flush()
        os.fsync(copy.fileno())
    return size, digest.hexdigest()


def _through(original: BinaryIO, copy: BinaryIO, see: Callable[[bytes], None]) -> int:
    size = 0
    while chunk := original.read(CHUNK_BYTES):
        see(chunk)
        copy.write(chunk)
        size += len(chunk)
    return size
