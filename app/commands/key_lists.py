"""Keys for a whole list of names, and the CSV that they are written to: all or none."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from app.errors import InvalidRequest
from app.roles import Role
from app.tabulation import to_csv
from lab_models.common.files import sync_folder
from training_lab import Unusable

if TYPE_CHECKING:
    from sqlmodel import Session

    from app.services.owners.rosters import Roster

HEADING = ("owner", "role", "key")
MOST_NAMED = 10
MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class NameList:
    """Owners' names in their order, and what must be said of how they were read."""

    owners: Sequence[str]
    notes: list[str]


@dataclass(frozen=True)
class Made:
    """New keys as (owner, role, secret), and owners who have keys already."""

    rows: Sequence[tuple[str, str, str]]
    left_alone: Sequence[str]

    def notes(self, role: Role) -> list[str]:
        """What was done, in words."""
        keys = f"{len(self.rows)} key{'' if len(self.rows) == 1 else 's'}"
        said = [
            f"{keys} with the role '{role}'. They are shown this once; only their SHA-256 is kept."
        ]
        if not self.rows:
            said = ["No key was made."]
        if self.left_alone:
            said.append(
                f"{len(self.left_alone)} have a key already and were left alone (--again makes another):"
                f" {_named(self.left_alone)}"
            )
        return said


def read(path: Path) -> NameList:
    """The names in a file, `-` for standard input; raises Unusable."""
    from app.services.owners.rosters import read_roster

    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MOST_BYTES)
        else:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    where = "standard input" if str(path) == "-" else str(path)
    try:
        roster = read_roster(content)
    except InvalidRequest as error:
        raise Unusable(f"{where}: no key was made.\n{error}") from error
    return NameList([entry.owner for entry in roster.entries], _notes(roster))


def make(session: "Session", owners: Sequence[str], role: Role, *, again: bool) -> Made:
    """A key for each owner who has none that is not revoked, for the others only if wanted `again`."""
    from app.services.owners import keys

    have = set() if again else set(keys.live_keys(session, owners))
    rows = [
        (key.owner, str(key.role), secret)
        for key, secret in (
            keys.create_key(session, owner, role) for owner in owners if owner not in have
        )
    ]
    return Made(rows, [owner for owner in owners if owner in have])


@contextmanager
def written(path: Path | None, *, replace: bool) -> Iterator[Callable[[Made], None]]:
    """Give what writes keys as CSV. To a file: in its place, and readable for its owner alone, once the block has ended
    well; to standard output at the end as well. Raises Unusable before anything is made where it cannot be written.
    """
    if path is None:
        parts: list[str] = []
        yield lambda made: parts.append(_csv(made))
        print("".join(parts), end="", flush=True)
        return
    if path.exists() and not replace:
        raise Unusable(f"{path} is there already: name another file, or say --force to replace it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield lambda made: _keep(file, made, path)
        if temporary.stat().st_size:
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _keep(file: BinaryIO, made: Made, path: Path) -> None:
    try:
        file.write(_csv(made).encode())
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise Unusable(f"no key was made: {path} cannot be written: {error.strerror}") from error


def _csv(made: Made) -> str:
    """Nothing where no key was made, so that it replaces no file with keys."""
    if not made.rows:
        return ""
    return to_csv(dict(zip(HEADING, row, strict=True)) for row in made.rows)


def _notes(roster: "Roster") -> list[str]:
    said = [] if roster.column is None else [f"Names are those of the column '{roster.column}'."]
    if roster.renamed:
        named = [f"{entry.written} is {entry.owner}" for entry in roster.renamed]
        said.append(f"{len(named)} became owners' names: {_named(named)}")
    return said


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
