"""A list of names, as people keep one: one a line, or a column of a table as CSV; read into owners' names, or refused
as a whole.
"""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from app.errors import InvalidRequest
from app.services.owners.keys import ALLOWED, OWNER_NAME
from lab_models.common.validation import FieldError

COLUMNS: Final = ("owner", "login", "username", "user", "e-mail", "email", "mail", "name")
"""What a column of names may be called; the first of them that is there is read."""

SEPARATORS: Final = (",", ";", "\t")
MOST_SAID: Final = 20

LETTERS: Final = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "\u0131": "i",
        "ħ": "h",
    }
)
"""Letters that no accent makes of others; `ß` is `ss` when cases are folded."""


@dataclass(frozen=True)
class ListedName:
    """A line of the list: what is written there, and the owner's name that it becomes."""

    line: int
    written: str
    owner: str


@dataclass(frozen=True)
class Roster:
    """Who is on a list, in its order; `column` is the one that was read, None for a list without a heading."""

    entries: tuple[ListedName, ...]
    column: str | None

    @property
    def renamed(self) -> tuple[ListedName, ...]:
        """Those whose name is not what is written."""
        return tuple(entry for entry in self.entries if entry.owner != entry.written)


def read_roster(content: bytes) -> Roster:
    """The names of a list; empty lines and those that begin with `#` say nothing.

    A name is made of what is written: of an e-mail address what stands before the `@`; small letters; accents taken
    off; a `.` for spaces. Raises InvalidRequest, which names every line that gives no name, or the name of an earlier
    line: two people with one name would see and change the same.
    """
    rows = list(_rows(content))
    column, place = _column(rows[0][1]) if rows else (None, 0)
    entries, faults = [], []
    lines: dict[str, int] = {}
    for number, cells in rows[column is not None :]:
        written = cells[place].strip() if place < len(cells) else ""
        owner = owner_name(written)
        fault = _fault(cells, column, written, owner, lines)
        if fault is not None:
            faults.append(FieldError(f"/{number}", f"line {number}: {fault}"))
            continue
        lines[owner] = number
        entries.append(ListedName(number, written, owner))
    if faults:
        raise InvalidRequest(_said(faults), faults)
    if not entries:
        raise InvalidRequest("the list has no name in it: write one a line")
    return Roster(tuple(entries), column)


def owner_name(written: str) -> str:
    """What becomes of a written name, which may still be no owner's name."""
    person = written.split("@")[0] if written.count("@") == 1 else written
    apart = unicodedata.normalize("NFKD", person.casefold().translate(LETTERS))
    return ".".join("".join(one for one in apart if not unicodedata.combining(one)).split())


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The lines that say something, by their numbers, as cells."""
    text = _text(content)
    said = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    separator = next((one for one in SEPARATORS if said and one in said[0]), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#"):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidRequest(f"line {reader.line_num} cannot be read as CSV: {error}") from error


def _text(content: bytes) -> str:
    """UTF-8 with or without its mark, or the UTF-16 that spreadsheets save as `Unicode text`."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(
            f"line {line}: this is not UTF-8: save the list as text or CSV in UTF-8"
        ) from error


def _column(cells: list[str]) -> tuple[str | None, int]:
    """The heading of the column with the names and its place; None where the first line is a name already. Raises
    InvalidRequest for several columns of which none says that it is the one.
    """
    headings = [cell.strip().casefold() for cell in cells]
    for name in COLUMNS:
        if name in headings:
            return name, headings.index(name)
    if len(cells) > 1:
        raise InvalidRequest(
            f"the first line has {len(cells)} columns, none of them with a heading that says where the names are: call"
            f" one of them {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}"
        )
    return None, 0


def _fault(
    cells: list[str], column: str | None, written: str, owner: str, lines: dict[str, int]
) -> str | None:
    if column is None and len(cells) > 1:
        return f"{len(cells)} columns where the first line has one"
    if not written:
        return f"nothing in the column {column!r}"
    if not OWNER_NAME.fullmatch(owner):
        return f"{written!r} gives no owner's name: write {ALLOWED}"
    if owner in lines:
        return f"{written!r} gives the name {owner}, as line {lines[owner]} does"
    return None


def _said(faults: list[FieldError]) -> str:
    more = len(faults) - MOST_SAID
    shown = [fault.message for fault in faults[:MOST_SAID]]
    return "\n".join([*shown, f"and {more} lines more"] if more > 0 else shown)
