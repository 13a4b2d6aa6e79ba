"""What a child process writes on standard error: passed on as it comes, and the last of it kept."""

import json
import os
import re
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import IO, Final

MOST_LINES: Final = 20
MOST_CHARACTERS: Final = 300
LONGEST_LINE: Final = 65_536
END_SECONDS: Final = 0.5
"""How long the end is waited for: a child of the child may hold the pipe open for longer."""
_CREDENTIALS: Final = re.compile(r"://[^/@\s]+@")


class LastWords:
    """A thread that reads until nobody writes any more."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: deque[bytes] = deque(maxlen=MOST_LINES)
        self._thread = threading.Thread(
            target=self._pass_on, args=(stream,), name="last-words", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Until all is passed on, or a moment has gone by."""
        self._thread.join(END_SECONDS)

    def said(self) -> str:
        """The last line that says anything, as far as it may be shown, or of a log record its message; empty where
        there is none.
        """
        self.wait()
        lines = (line.decode(errors="replace").strip() for line in reversed(tuple(self._lines)))
        last = next(filter(None, lines), "")
        with suppress(ValueError, AttributeError):
            record = json.loads(last)
            last = str(record.get("exception", record.get("message", ""))).strip().split("\n")[-1]
        return _CREDENTIALS.sub("://…@", last)[:MOST_CHARACTERS]

    def _pass_on(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(LONGEST_LINE):
                self._lines.append(line)
                # read to the end in any case: a child whose pipe is full would stand still
                with suppress(OSError):
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line)
