"""The image files of a folder or a zip, listed and read without ever writing one where the archive says. Nothing here
loads torch.

A zip is untrusted: its members are read as streams, never extracted by name, and what could hurt is refused before
anything is unpacked: names that leave the archive, links, encryption, unknown compression, members that share bytes,
sizes and ratios of bombs.
"""

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Protocol

from lab_models.common.errors import LabError
from lab_models.common.validation import FieldError

MOST_ERRORS = 20
DEEPEST = 6
IGNORED_NAMES = ("__MACOSX", "Thumbs.db", "desktop.ini")
SMALL_FILE = 1_000_000
DIRECTORY_BYTES_PER_FILE = 200
ENCRYPTED = 0x1
LOCAL_HEADER = struct.Struct("<26xHH")
"""Of what stands before a member: its name's length and that of the extra field, which both follow (PKWARE's APPNOTE,
4.3.7).
"""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ImportLimits:
    """What an import may cost. Sizes are in bytes; `max_ratio` holds for files above a megabyte, which images never
    reach by chance, and for the whole zip.

    `max_pixels` is of all images together, as they are before they are scaled: decoding them takes about a second per
    50 million. `min_free_bytes` must stay free on the disk.
    """

    max_images: int = 500_000
    max_file_bytes: int = 100_000_000
    max_unpacked_bytes: int = 10_000_000_000
    max_ratio: int = 200
    max_array_bytes: int = 20_000_000_000
    max_pixels: int = 100_000_000_000
    min_free_bytes: int = 0


class ImportRefused(LabError):
    """The images cannot become a data set; `errors` name the first twenty bad files by their path in the archive."""

    code = "import_refused"

    def __init__(
        self, message: str, errors: list[FieldError] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.errors = errors or []


class ImageFiles(Protocol):
    """Files by their path, with `/` between folders."""

    @property
    def names(self) -> list[str]:
        """All paths, sorted; hidden ones and what systems leave behind are not among them."""

    def open(self, name: str) -> IO[bytes]:
        """A stream of one file."""

    def read(self, name: str) -> bytes:
        """One file; raises UnreadableFile."""


class UnreadableFile(Exception):
    """A file's bytes cannot be had; the message says why."""


@contextmanager
def open_files(source: Path | BinaryIO, limits: ImportLimits) -> Iterator[ImageFiles]:
    """The files of a folder, or of a zip as a path or an open file on disk. Raises ImportRefused."""
    if not isinstance(source, Path):
        with _open_zip(source, limits) as archive:
            yield _Zip(archive, limits)
        return
    try:
        files = _Folder(source, limits) if source.is_dir() else None
        raw = None if files is not None else source.open("rb")
    except OSError as error:
        raise ImportRefused(f"{error.filename or source}: {error.strerror}") from error
    if files is not None:
        yield files
    elif raw is not None:
        with raw, _open_zip(raw, limits) as archive:
            yield _Zip(archive, limits)


def refuse_bad_files(errors: list[FieldError]) -> None:
    """Raise ImportRefused with the first twenty, if there is any."""
    if errors:
        count = (
            f"more than {MOST_ERRORS} files"
            if len(errors) > MOST_ERRORS
            else f"{len(errors)} files"
            if len(errors) > 1
            else "one file"
        )
        raise ImportRefused(f"{count} cannot be taken", errors[:MOST_ERRORS])


def is_ignored(path: PurePosixPath) -> bool:
    """Hidden files, and what operating systems leave behind."""
    return any(part.startswith(".") or part in IGNORED_NAMES for part in path.parts)


class _Folder:
    def __init__(self, root: Path, limits: ImportLimits) -> None:
        self._root = root
        self._limits = limits
        self.names = sorted(self._below(root, 1))
        if len(self.names) > 2 * limits.max_images:
            raise ImportRefused(f"{root} holds more than {2 * limits.max_images:,} files")

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self._root / name).open("rb")
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
            if path.is_dir() and depth < DEEPEST:
                yield from self._below(path, depth + 1)
            else:
                yield name.as_posix()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, limits: ImportLimits) -> None:
        self._archive = archive
        members = [member for member in archive.infolist() if not member.is_dir()]
        _refuse_dangers(members, limits)
        assert archive.fp is not None
        file = archive.fp.fileno()
        _refuse_shared_bytes(file, members, archive.start_dir)
        kept = {
            member.filename: member
            for member in members
            if not is_ignored(PurePosixPath(member.filename))
        }
        unpacked = sum(member.file_size for member in kept.values())
        if unpacked > limits.max_unpacked_bytes:
            raise ImportRefused(
                f"the zip unpacks to {unpacked:,} bytes, more than {limits.max_unpacked_bytes:,}"
            )
        packed = os.fstat(file).st_size
        if unpacked > max(SMALL_FILE, limits.max_ratio * packed):
            raise ImportRefused(
                f"the zip of {packed:,} bytes unpacks to {unpacked:,}, more than {limits.max_ratio} times its size"
            )
        self.names = sorted(kept)

    def open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(name)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
            struct.error,
            OSError,
        ) as error:
            raise UnreadableFile(str(error)) from error

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
            raise ImportRefused(
                f"this is no zip file that can be read: {error}",
                hint="zip the folder with any zip program, without a password",
            ) from error
        with archive:
            yield archive


def _refuse_dangers(members: list[zipfile.ZipInfo], limits: ImportLimits) -> None:
    if len(members) > 2 * limits.max_images:
        raise ImportRefused(
            f"the zip holds {len(members):,} files, more than {2 * limits.max_images:,}"
        )
    seen: set[str] = set()
    errors = []
    for member in members:
        danger = _danger(member, limits) or (
            "stands twice in the zip" if member.filename in seen else None
        )
        seen.add(member.filename)
        if danger is not None:
            errors.append(FieldError(printable(member.orig_filename), danger))
    refuse_bad_files(errors)


def _danger(member: zipfile.ZipInfo, limits: ImportLimits) -> str | None:
    """Why a member is not touched, or None."""
    for name in (member.orig_filename, member.filename):
        if "\\" in name or "\0" in name:
            return "has a backslash or a null byte in its name"
        if (
            name.startswith("/")
            or name[1:2] == ":"
            or any(part in ("..", ".", "") for part in name.split("/"))
        ):
            return "has a path that leads out of the archive"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device, not a file"
    if member.flag_bits & ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in METHODS:
        return "is compressed by a method other than deflate"
    if member.file_size > limits.max_file_bytes:
        return f"unpacks to {member.file_size:,} bytes, more than {limits.max_file_bytes:,}"
    if member.file_size > SMALL_FILE and member.file_size > limits.max_ratio * max(
        1, member.compress_size
    ):
        return f"unpacks to more than {limits.max_ratio} times its size"
    return None


def _refuse_shared_bytes(file: int, members: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Each byte of a zip belongs to one member: those that share some are how a small file unpacks to one without end
    (Fifield 2019, 'A better zip bomb').
    """
    errors = []
    end = 0
    for start, stop, name in sorted(
        (member.header_offset, _end(file, member), member.orig_filename) for member in members
    ):
        if start < end or stop > directory:
            errors.append(FieldError(printable(name), "shares bytes with another file of the zip"))
            if len(errors) > MOST_ERRORS:
                break
        end = max(end, stop)
    refuse_bad_files(errors)


def _end(file: int, member: zipfile.ZipInfo) -> int:
    """Where a member's content ends: behind its own header, whose lengths need not be those that the directory
    states.
    """
    header = (
        os.pread(file, LOCAL_HEADER.size, member.header_offset)
        if 0 <= member.header_offset < 1 << 62
        else b""
    )
    lengths = (
        LOCAL_HEADER.unpack(header) if len(header) == LOCAL_HEADER.size else (0, 0)
    )  # opening it will say what is wrong
    end: int = member.header_offset + LOCAL_HEADER.size + sum(lengths) + member.compress_size
    return end


def printable(name: str) -> str:
    """A name from an archive as it may be shown: no control characters, no half surrogates, not endless."""
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
