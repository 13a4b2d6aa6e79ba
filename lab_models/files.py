"""Files that are either whole or absent: write beside, flush to disk, rename."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab_models.failpoints import fail

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WrittenFile:
    """What was written: SHA-256 in hexadecimal and length in bytes."""

    path: Path
    sha256: str
    size_bytes: int


def write_atomically(path: Path, content: bytes) -> WrittenFile:
    """Write `content` so that `path` never holds half of it, also after a power cut; an OSError leaves no trace."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def link_or_copy(source: Path, path: Path) -> WrittenFile:
    """The same content under a second name, without a second copy where the file system can: `source` must never be changed in place."""
    try:
        path.unlink(missing_ok=True)
        path.hardlink_to(source)
    except OSError:
        return write_atomically(path, source.read_bytes())
    sync_folder(path.parent)
    return WrittenFile(path, sha256_of(path), path.stat().st_size)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """One process at a time within the block, across all that name the same lock file; the kernel frees it when its holder dies."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
