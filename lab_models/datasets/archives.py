"""The files of a folder, a zip or a tar, listed and read without ever writing one where the archive says. Nothing here
loads torch.

An archive is untrusted: its members are read as streams, never extracted by name, and what could hurt is refused before
anything is unpacked (zip_dangers.py, tars.py).
"""

import io
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Protocol

from lab_models.datasets.beginnings import (
    GZIP,
    HEAD_BYTES,
    ZIP_HINT,
    name_of_single,
    refuse_by_beginning,
)
from lab_models.datasets.member_names import is_ignored
from lab_models.datasets.name_letters import Guess
from lab_models.datasets.packed import Extent, PackedFiles
from lab_models.datasets.refusals import ImportLimits, ImportRefused, UnreadableFile, printable
from lab_models.datasets.tars import gunzipped, is_tar, tar_files
from lab_models.datasets.zip_dangers import read_silent_names, safe_members

DEEPEST = 6
DIRECTORY_BYTES_PER_FILE = 200


class ImageFiles(Protocol):
    """Files by their path, with `/` between folders."""

    @property
    def names(self) -> list[str]:
        """All paths, sorted; hidden ones and what systems leave behind are not among them."""

    @property
    def folders(self) -> list[str]:
        """Folders that are listed themselves, sorted, as far as the same holds for them."""

    @property
    def guessed(self) -> Guess:
        """In which encoding the names were read without being told which."""

    def open(self, name: str) -> IO[bytes]:
        """A stream of one file."""

    def read(self, name: str) -> bytes:
        """One file; raises UnreadableFile."""


class StoredFiles(ImageFiles, Protocol):
    """Files of an archive or a folder, images or not."""

    def size(self, name: str) -> int:
        """How many bytes a file has; raises UnreadableFile."""


@contextmanager
def open_files(
    source: Path | BinaryIO, limits: ImportLimits, scratch: Path | None = None
) -> Iterator[StoredFiles]:
    """The files of a folder, or of an archive as a path or an open file on disk: a zip, a tar, also packed by gzip, or
    a file that is a whole data set by itself. A packed tar is unpacked meanwhile, in the folder `scratch` or where
    temporary files lie. Raises ImportRefused, and StorageFull where that has no room.
    """
    if not isinstance(source, Path):
        with _opened(source, limits, scratch) as files:
            yield files
        return
    try:
        folder = _Folder(source, limits) if source.is_dir() else None
        if folder is None and source.exists() and not source.is_file():
            raise ImportRefused(f"{source} is a pipe or a device, not a file")
        raw = None if folder is not None else source.open("rb")
    except OSError as error:
        raise ImportRefused(f"{error.filename or source}: {error.strerror}") from error
    if folder is not None:
        yield folder
    elif raw is not None:
        with raw, _opened(raw, limits, scratch) as files:
            yield files


@contextmanager
def _opened(file: BinaryIO, limits: ImportLimits, scratch: Path | None) -> Iterator[StoredFiles]:
    """By what the file begins with, whatever it is called."""
    head = os.pread(file.fileno(), HEAD_BYTES, 0)
    refuse_by_beginning(head)
    single = name_of_single(head)
    if head.startswith(GZIP):
        with gunzipped(file, limits, scratch or Path(tempfile.gettempdir())) as unpacked:
            if not is_tar(os.pread(unpacked.fileno(), HEAD_BYTES, 0)):
                raise ImportRefused(
                    "this is one file packed by gzip and no archive of files", hint=ZIP_HINT
                )
            yield tar_files(unpacked, limits)
    elif is_tar(head):
        yield tar_files(file, limits)
    elif single is not None:
        yield PackedFiles(file, {single: Extent(0, os.fstat(file.fileno()).st_size)})
    else:
        with _open_zip(file, limits) as archive:
            yield _Zip(archive, limits, read_silent_names(archive))


class _Folder:
    def __init__(self, root: Path, limits: ImportLimits) -> None:
        self._root = root
        self._limits = limits
        self.guessed: Guess = ""
        self.folders: list[str] = []
        self.names = sorted(self._below(root, 1))
        self.folders.sort()
        if len(self.names) > 2 * limits.max_images:
            raise ImportRefused(f"{root} holds more than {2 * limits.max_images:,} files")

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self._root / name).open("rb")
        except OSError as error:
            raise UnreadableFile(error.strerror or str(error)) from error

    def size(self, name: str) -> int:
        try:
            return (self._root / name).stat().st_size
        except OSError as error:
            raise UnreadableFile(error.strerror or str(error)) from error

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            content = file.read(self._limits.max_file_bytes + 1)
        if len(content) > self._limits.max_file_bytes:
            raise UnreadableFile(f"larger than {self._limits.max_file_bytes:,} bytes")
        return content

    def _below(self, folder: Path, depth: int) -> Iterator[str]:
        """Links are followed, for the folder is the person's own; the bounded depth ends a circle of them."""
        for path in folder.iterdir():
            name = path.relative_to(self._root)
            if is_ignored(PurePosixPath(name)):
                continue
            if path.is_dir():
                if depth >= DEEPEST:
                    raise ImportRefused(
                        f"{printable(str(name))} is a folder in {depth - 1} others, which is too deep"
                    )
                self.folders.append(name.as_posix())
                yield from self._below(path, depth + 1)
            elif path.exists() and not path.is_file():
                raise ImportRefused(f"{printable(str(name))} is a pipe or a device, not a file")
            else:
                yield name.as_posix()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, limits: ImportLimits, guessed: Guess) -> None:
        self._archive = archive
        self.guessed = guessed
        self.members, self.folders = safe_members(archive, limits)
        self.names = list(self.members)

    def open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(self.members[name])
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
            struct.error,
            OSError,
        ) as error:
            raise UnreadableFile(str(error)) from error

    def size(self, name: str) -> int:
        return self.members[name].file_size

    def read(self, name: str) -> bytes:
        """At most the size that the directory states is unpacked, whatever the stream holds."""
        with self.open(name) as file:
            try:
                return file.read()
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                raise UnreadableFile(f"damaged in the zip: {error}") from error


class _BoundedReader(io.BufferedReader):
    """A file of which nobody reads much at once: `zipfile` would load a directory of any size into memory."""

    largest_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.largest_read:
            raise zipfile.BadZipFile(f"its directory has {size:,} bytes")
        return super().read(size)


@contextmanager
def _open_zip(file: BinaryIO, limits: ImportLimits) -> Iterator[zipfile.ZipFile]:
    with _BoundedReader(io.FileIO(file.fileno(), closefd=False)) as reader:
        reader.largest_read = 1_000_000 + DIRECTORY_BYTES_PER_FILE * limits.max_images
        try:
            archive = zipfile.ZipFile(reader)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            OverflowError,
            OSError,
            struct.error,
        ) as error:
            begins = os.pread(file.fileno(), 4, 0).startswith(b"PK")
            raise ImportRefused(
                f"this is no zip file that can be read: {error}",
                hint="it begins like one and its end is missing or damaged: get or send it once more"
                if begins
                else ZIP_HINT,
            ) from error
        with archive:
            yield archive
