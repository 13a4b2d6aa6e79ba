"""A folder of images as one file to send: what is hidden stays, links are followed, and no pipe is waited for."""

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from training_lab.errors import Unusable

DEEPEST: Final = 6
LEFT_BY_SYSTEMS: Final = frozenset(
    ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "@eadir", "icon\r")
)
LONGEST_NAME: Final = 200

Each = Callable[[Sequence[str]], Iterable[str]]


@contextmanager
def as_archive(
    path: Path, *, skipped: Callable[[str], None] | None = None, each: Each = iter
) -> Iterator[Path]:
    """The file itself; a folder as a zip, stored, for images are compressed already.

    skipped: hears of each file that cannot be opened, which is then sent empty: the service counts it among the bad
    ones, and names it. None: such a file ends it. each: the names, one by one, as they are written.
    Raises Unusable with the file that is meant.
    """
    refuse_missing(path)
    if not path.is_dir():
        if not path.is_file():
            raise Unusable(f"{path}: is a pipe or a device, not a file")
        yield path
        return
    with tempfile.TemporaryDirectory() as made:
        archive = Path(made) / "images.zip"
        try:
            _pack(path, archive, skipped, each)
        except OSError as error:
            raise Unusable(_why(error, path)) from error
        except UnicodeEncodeError as error:
            name = printable(error.object)
            raise Unusable(f"{path}: the name {name} is not written in UTF-8; rename it") from error
        yield archive


def refuse_missing(path: Path) -> None:
    """Raises Unusable where there is nothing to send."""
    if not path.exists():
        raise Unusable(f"{path}: there is no such file or folder")


def printable(name: str) -> str:
    """A file's name as it may be shown: no control characters, no half surrogates, not endless."""
    shown = "".join(sign if sign.isprintable() else "?" for sign in name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"


def _pack(root: Path, into: Path, skipped: Callable[[str], None] | None, each: Each) -> None:
    folders: list[str] = []
    names = sorted(_below(root, root, 1, folders))
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name in sorted(folders):
            archive.mkdir(name)
        for name in each(names):
            try:
                archive.write(root / name, name)
            except OSError as error:
                if skipped is None or error.filename is None:  # the latter: the disk's fault
                    raise
                skipped(_why(error, root))
                archive.writestr(name, b"")


def _below(root: Path, folder: Path, depth: int, folders: list[str]) -> Iterator[str]:
    """Links are followed, for the folder is the person's own; the bounded depth ends a circle of them."""
    for path in folder.iterdir():
        name = path.relative_to(root)
        if any(map(_is_left_out, PurePosixPath(name).parts)):
            continue
        shown = printable(str(name))
        if path.is_dir():
            if depth >= DEEPEST:
                raise Unusable(
                    f"{root}: {shown} is a folder in {depth - 1} others, which is too deep"
                )
            folders.append(name.as_posix())
            yield from _below(root, path, depth + 1, folders)
        elif path.exists() and not path.is_file():
            raise Unusable(f"{root}: {shown} is a pipe or a device, not a file")
        else:
            yield name.as_posix()


def _is_left_out(part: str) -> bool:
    return part.startswith(".") or part.lower() in LEFT_BY_SYSTEMS


def _why(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}"
