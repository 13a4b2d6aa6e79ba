"""What an import may cost, and how it says no: with the bad files by their names. Nothing here loads torch."""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final, NoReturn

from lab_models.common.errors import LabError
from lab_models.common.files import FULL_DISK
from lab_models.common.validation import FieldError

MOST_ERRORS = 20
SMALL_FILE: Final = 1_000_000


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

    def most_unpacked(self, packed: int) -> int:
        """To how many bytes so many may unpack."""
        return max(SMALL_FILE, self.max_ratio * packed)


class ImportRefused(LabError):
    """The images cannot become a data set; `errors` name the first twenty bad files by their path in the archive."""

    code = "import_refused"

    def __init__(
        self, message: str, errors: list[FieldError] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.errors = errors or []


class UnreadableFile(Exception):
    """A file's bytes cannot be had; the message says why."""


DAMAGED: Final = (
    *(UnreadableFile, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    *(RuntimeError, NotImplementedError, struct.error),
)
"""What reading a damaged file of an archive raises; an OSError may also be a full disk."""


def refuse_damaged(name: str, error: Exception, what: str = "") -> NoReturn:
    """Raises ImportRefused for what was raised while a file was read, the error itself where the disk is full."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        raise error
    said = (str(error).splitlines() or [type(error).__name__])[0]
    raise ImportRefused(f"{printable(name)} cannot be read{what}: {printable(said)}") from error


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be taken, by its path in the archive, and why."""

    name: str
    why: str

    @property
    def error(self) -> FieldError:
        """As it is shown."""
        return FieldError(printable(self.name), self.why)


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


def printable(name: str) -> str:
    """A name from an archive as it may be shown: no control characters, no half surrogates, not endless."""
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
