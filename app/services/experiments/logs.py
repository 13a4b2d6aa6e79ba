"""What an attempt's trainer wrote: found, and read as text that a terminal can show."""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from app.errors import LogElsewhere, NotFound
from app.services.experiments.progress import attempts_of
from app.storage.files.folder import Folder
from app.storage.tables import Run

MOST_BYTES = 8 * 1024 * 1024
"""Of one answer."""
BLOCK = 64 * 1024
LONGEST_TAIL = 100_000

# one byte for each, so that a range counts the bytes of the file
_SHOWN = bytes(
    byte if byte in b"\n\t" or (byte >= 32 and byte != 127) else ord("\n" if byte == 13 else "?")
    for byte in range(256)
)
_FURTHER_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]")


@dataclass(frozen=True)
class Log:
    """An attempt's log as it is at the moment."""

    path: Path
    attempt: int

    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def part(self, first: int, end: int) -> bytes:
        """Its bytes from `first` until before `end`, at most MOST_BYTES, each control character but line ends and tabs
        as `?`.
        """
        with self.path.open("rb") as file:
            file.seek(first)
            return shown(file.read(min(end - first, MOST_BYTES)))

    def tail(self, lines: int) -> bytes:
        """Its last lines, as `part`."""
        return self._tail(lines, self.size())

    def begin_of_tail(self, lines: int) -> int:
        """The byte at which its last lines begin."""
        end = self.size()
        return end - (len(self._tail(lines, end)) if lines else 0)

    def _tail(self, lines: int, end: int) -> bytes:
        block = BLOCK
        while True:
            first = max(0, end - block)
            found = self.part(first, end)
            if first == 0 or block >= MOST_BYTES or found.count(b"\n") > lines:
                return b"".join(found.splitlines(keepends=True)[-lines:])
            block = min(2 * block, MOST_BYTES)


def log_of(session: Session, run: Run, number: int | None, home: Path) -> Log:
    """The log of an attempt, by default the last; raises NotFound where there is none, LogElsewhere where it lies on
    the machine that trained.
    """
    attempts = attempts_of(session, run.id)
    if not attempts:
        raise NotFound(_never_trained(run))
    found = next((one for one in attempts if number in (None, one.number)), None)
    attempt = attempts[-1] if number is None else found
    if attempt is None:
        raise NotFound(
            f"run {run.id} has no attempt {number}; it has had {', '.join(str(one.number) for one in attempts)}"
        )
    log = find_log(run.id, attempt.number, home)
    if log is None:
        raise why_missing(run.id, attempt.number, attempt.worker_id)
    return log


def find_log(run_id: str, attempt: int, home: Path) -> Log | None:
    """The log of an attempt, if it lies in this home."""
    path = Folder(home).path_of(run_id, f"attempt-{attempt}/log.txt", "")
    return None if path is None else Log(path, attempt)


def why_missing(run_id: str, attempt: int, worker_id: str) -> NotFound:
    """LogElsewhere where another machine trained."""
    host = worker_id.rsplit("-", 2)[0]  # see worker/identity.py
    if host != socket.gethostname():
        return LogElsewhere(
            f"the log of attempt {attempt} of run {run_id} lies on the machine that trained it, {host}, below its"
            f" LAB_HOME: runs/{run_id}/attempt-{attempt}/log.txt"
        )
    return NotFound(f"attempt {attempt} of run {run_id} has written no log")


def shown(content: bytes) -> bytes:
    """The same without control characters but line ends and tabs, a byte for a byte."""
    return _FURTHER_CONTROLS.sub(b"??", content.translate(_SHOWN))


def _never_trained(run: Run) -> str:
    if run.reused_from is not None:
        return f"run {run.id} took over the results of {run.reused_from} and has written no log"
    return f"run {run.id} has not begun; it has written no log"
