"""Files that are sent and stored."""

import secrets
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from training_lab.errors import Unusable

PIECE_BYTES = 1 << 18


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """A file from where it stands to its end."""
    while piece := file.read(PIECE_BYTES):
        yield piece


async def awaited_pieces_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """The same for who awaits them."""
    for piece in pieces_of(file):
        yield piece


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside that one, which takes its place at the end; nothing is left of half a body."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def place_for(path: str | Path, name: str) -> Path:
    """Where a file goes: there, or under its own name where that is a folder; raises Unusable where there is none."""
    chosen = Path(path)
    chosen = chosen / name if chosen.is_dir() else chosen
    if not chosen.parent.is_dir():
        raise Unusable(f"{chosen.parent} is no folder, so {chosen.name} cannot be stored there")
    return chosen


@contextmanager
def as_archive(path: Path) -> Iterator[Path]:
    """The file itself; a folder as a zip, stored, for images are compressed already. Raises Unusable."""
    if not path.exists():
        raise Unusable(f"{path}: there is no such file or folder")
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / f"{path.name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED, strict_timestamps=False) as zipped:
            for inner in sorted(path.rglob("*")):
                if inner.is_dir() or inner.is_file():  # no pipe, no device
                    zipped.write(inner, inner.relative_to(path))
        yield archive
