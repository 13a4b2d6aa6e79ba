"""Image files that lie one behind the other in one open file, read at their places. Nothing here loads torch."""

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from lab_models.common.files import require_room
from lab_models.datasets.name_letters import Guess
from lab_models.datasets.refusals import ImportLimits, ImportRefused, UnreadableFile


@dataclass(frozen=True)
class Extent:
    """Where a file lies: its first byte and how many it has."""

    start: int
    size: int


class PackedFiles:
    """`archives.ImageFiles` over the places of one open file."""

    def __init__(
        self,
        file: BinaryIO,
        places: Mapping[str, Extent],
        folders: Iterable[str] = (),
        guessed: Guess = "",
    ) -> None:
        self._descriptor = file.fileno()
        self._places = places
        self.names = sorted(places)
        self.folders = sorted(folders)
        self.guessed = guessed

    def open(self, name: str) -> IO[bytes]:
        """A stream of one file."""
        return io.BufferedReader(_Window(self._descriptor, self._places[name]))

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return self._places[name].size

    def read(self, name: str) -> bytes:
        """One file; raises UnreadableFile."""
        place = self._places[name]
        content = os.pread(self._descriptor, place.size, place.start)
        if len(content) != place.size:
            raise UnreadableFile(f"cut off after {len(content):,} of {place.size:,} bytes")
        return content


class Packing:
    """Files written one behind the other, no more of them than an import may have."""

    def __init__(self, file: BinaryIO, folder: Path, limits: ImportLimits) -> None:
        self._file, self._folder, self._limits = file, folder, limits
        self.size = 0
        self.places: dict[str, Extent] = {}

    def add(self, name: str, content: bytes) -> None:
        """Raises ImportRefused for more than an import may have, StorageFull where there is no room."""
        if len(content) > self._limits.max_file_bytes:
            raise ImportRefused(
                f"the image {name} has {len(content):,} bytes, more than {self._limits.max_file_bytes:,}"
            )
        if len(self.places) >= self._limits.max_images:
            raise ImportRefused(f"there are more than {self._limits.max_images:,} images")
        self.write(content)
        self.places[name] = Extent(self.size - len(content), len(content))

    def write(self, content: bytes) -> None:
        """Bytes that are no file of their own."""
        self.size += len(content)
        if self.size > self._limits.max_unpacked_bytes:
            raise ImportRefused(
                f"it unpacks to more than {self._limits.max_unpacked_bytes:,} bytes"
            )
        require_room(self._folder, len(content), self._limits.min_free_bytes)
        self._file.write(content)

    def packed(self) -> PackedFiles:
        """All of them, to be read."""
        self._file.flush()
        return PackedFiles(self._file, self.places)


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, descriptor: int, place: Extent) -> None:
        self._descriptor, self._where, self._at = descriptor, place, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._where.size}[whence]
        if base + offset < 0:
            raise ValueError(f"a negative place: {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._where.size - self._at))
        content = os.pread(self._descriptor, count, self._where.start + self._at)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
