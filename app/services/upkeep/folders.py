"""Folders that others write to: what lies there, how large it is, and what a writer has left half-written."""

import json
import re
from pathlib import Path

TEMPORARY_NAME = re.compile(r"\..+\.tmp(-wal|-shm|-journal)?")
HEADER_BYTES = 8
MOST_HEADER_BYTES = 1 << 20


def children(folder: Path) -> list[Path]:
    """What lies in a folder, which may be absent; links are left alone."""
    return (
        [] if not folder.is_dir() else [path for path in folder.iterdir() if not path.is_symlink()]
    )


def below(path: Path) -> list[Path]:
    """All that lies in a folder at any depth; nothing for a file or a link."""
    return list(path.rglob("*")) if path.is_dir() and not path.is_symlink() else []


def files(folder: Path) -> list[Path]:
    """All files that lie in a folder at any depth."""
    return [path for path in below(folder) if path.is_file() and not path.is_symlink()]


def size(path: Path) -> int:
    """Bytes of a file, or of all that lies in a folder."""
    return sum(
        part.lstat().st_size
        for part in (path, *below(path))
        if part.is_file() and not part.is_symlink()
    )


def is_temporary(path: Path) -> bool:
    """Whether it has the name of what is not whole yet, or of a file that SQLite keeps beside that."""
    return TEMPORARY_NAME.fullmatch(path.name) is not None


def teacher_of(archive: Path) -> str | None:
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
