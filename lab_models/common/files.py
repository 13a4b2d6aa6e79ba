"""Files that are either whole or absent: write beside, flush to disk, rename."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab_models.common.errors import StorageFull
from lab_models.common.failpoints import fail

CHUNK_BYTES = 1 << 20
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What an OSError's `errno` says when there is no room for a file."""


@dataclass(frozen=True)
class WrittenFile:
    """What was written: SHA-256 in hexadecimal and length in bytes."""

    path: Path
    sha256: str
    size_bytes: int


class HeldByAnother(BlockingIOError):
    """Another process or thread is in the block of this lock."""


def require_room(folder: Path, num_bytes: int, min_free_bytes: int) -> None:
    """Asked before anything large is written: raises StorageFull where so many bytes would leave less than
    `min_free_bytes` on the folder's disk.

    0 asks nothing: then the disk itself says when it is full.
    """
    if not min_free_bytes:
        return
    left = shutil.disk_usage(folder).free - num_bytes
    if left < min_free_bytes:
        raise StorageFull(
            f"writing {num_bytes:,} bytes would leave {max(0, left):,} free, less than the {min_free_bytes:,} that are"
            " kept (LAB_MIN_FREE_BYTES)",
            hint="free disk space under LAB_HOME (`lab gc --dry-run` says what could go), then try again",
        )


def write_atomically(path: Path, content: bytes, min_free_bytes: int = 0) -> WrittenFile:
    """Write `content` so that `path` never holds half of it, also after a power cut; an OSError leaves no trace.

    Raises StorageFull before anything is written where less than `min_free_bytes` would stay free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    require_room(path.parent, len(content), min_free_bytes)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fail("file.before_rename", path.name)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    fail("file.after_rename", path.name)
    return WrittenFile(path, hashlib.sha256(content).hexdigest(), len(content))


def link_or_copy(source: Path, path: Path, min_free_bytes: int = 0) -> None:
    """The same content under a second name, without a second copy where the file system can: `source` must never be
    changed in place. The name lasts once its folder is synced.

    Raises OSError where neither can be had, and StorageFull where a copy would leave less than `min_free_bytes` free.
    """
    try:
        path.unlink(missing_ok=True)
        path.hardlink_to(source)
    except OSError:
        write_atomically(path, source.read_bytes(), min_free_bytes)


@contextmanager
def exclusive(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time within the block, across all that name the same lock file; the kernel frees it when its
    holder dies.

    Its holder takes the file away when it leaves, so that none stays behind. Raises HeldByAnother at once unless it may
    `wait`.
    """
    while True:
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise HeldByAnother(str(lock)) from error
            if not _is_named(file.fileno(), lock):
                continue  # the holder before has taken it away since it was opened: who locks it now locks nobody out
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether the path leads to this very file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make renames within a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
