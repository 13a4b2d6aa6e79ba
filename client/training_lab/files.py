"""Files that are sent and stored."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from training_lab.errors import Unusable

PIECE_BYTES = 1 << 18


def pieces_of(file: BinaryIO, told: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """A file from where it stands to its end; `told` hears of each piece's bytes once it was taken."""
    while piece := file.read(PIECE_BYTES):
        yield piece
        if told is not None:
            told(len(piece))


async def awaited_pieces_of(
    file: BinaryIO, told: Callable[[int], None] | None = None
) -> AsyncIterator[bytes]:
    """The same for who awaits them."""
    for piece in pieces_of(file, told):
        yield piece


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside that one, which takes its place at the end; nothing is left of half a body. Raises Unusable for a
    disk that is full and whatever else stands in the way.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def place_for(path: str | Path, name: str) -> Path:
    """Where a file goes: there, or under its own name where that is a folder; raises Unusable where there is none."""
    chosen = Path(path)
    chosen = chosen / name if chosen.is_dir() else chosen
    if not chosen.parent.is_dir():
        raise Unusable(f"{chosen.parent} is no folder, so {chosen.name} cannot be stored there")
    return chosen
