"""What a trainer writes to its standard error: kept until it has an order, then in the attempt's file."""

import re
import threading
from collections import deque
from pathlib import Path

from app.services.experiments.logs import shown

MOST_BYTES = 8 * 1024 * 1024
"""Of one attempt: tens of thousands of epochs' lines. Who warns at every step fills no disk."""
LAST_LINES, LONGEST = 20, 500
"""What is kept for the record of a run whose trainer died: so many lines, of so many bytes."""
EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b")
"""How the last line of a traceback begins."""
FULL = b"This log is full; what follows is left out.\n"


def line_that_counts(words: str) -> str:
    """Of a process's last words the line that says why it ended: the last exception's, else the last line; empty where
    there is none.
    """
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return next(filter(EXCEPTION.match, reversed(lines)), lines[-1] if lines else "")


class TrainerLog:
    """One attempt's. Written to by the thread that reads the trainer's standard error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: list[bytes] = []
        self._path: Path | None = None
        self._room = MOST_BYTES
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)

    @property
    def last_words(self) -> str:
        """The last lines, without control characters."""
        with self._lock:
            return shown(b"".join(self._last)).decode(errors="replace")

    def begin(self, path: Path) -> None:
        """From now on it goes to this file, which begins with what was written before."""
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(self._early))
            self._path = path

    def write(self, line: bytes) -> None:
        """Add a line; raises OSError as the disk does."""
        with self._lock:
            self._last.append(line if len(line) <= LONGEST else line[:LONGEST] + b"\n")
            if self._path is None:
                self._early.append(line)
            elif self._room > 0:
                self._room -= len(line)
                with self._path.open("ab") as file:
                    file.write(line if self._room > 0 else FULL)
