"""From what a trainer wrote to the events that tell of it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from app.api.schemas import Answer
from app.api.watching.events import content_of
from app.services.experiments.logs import BLOCK, find_log
from app.services.experiments.run_logs import AttemptOfRun, RunLogs

LONGEST_LINE: Final = 4096
"""Bytes: a longer line is told in pieces."""


class AttemptEvent(Answer):
    """An attempt begins: lines are its own from here on. `missing` says why they cannot be read here."""

    number: int
    worker: str
    started_at: datetime
    missing: str | None


class LinesEvent(Answer):
    """What the attempt's trainer has written next."""

    attempt: int
    lines: list[str]


@dataclass(frozen=True, order=True)
class Position:
    """How much has been told: of the attempts before this one all, and of its log so many bytes."""

    attempt: int = 0
    byte: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}:{self.byte}"

    @classmethod
    def parse(cls, written: str) -> "Position":
        """What `str` makes; the caller has seen that it is."""
        attempt, _, byte = written.partition(":")
        return cls(int(attempt), int(byte))


@dataclass(frozen=True)
class Piece:
    """Some lines of a log, from one position to another, as the event that tells them: whoever gets it."""

    begin: Position
    end: Position
    content: bytes

    @property
    def size(self) -> int:
        """Bytes of the log."""
        return self.end.byte - self.begin.byte


def attempt_begins(logs: RunLogs, attempt: AttemptOfRun, home: Path, position: Position) -> bytes:
    """The event; what is told after it begins at the position."""
    answer = AttemptEvent(
        number=attempt.number,
        worker=attempt.worker,
        started_at=attempt.started_at,
        missing=logs.why_missing(attempt, home),
    )
    return content_of("attempt", answer) + b"id: %b\n\n" % str(position).encode()


def read_piece(
    home: Path, run_id: str, begin: Position, end: int | None, *, is_whole: bool
) -> Piece | None:
    """What was written to an attempt's log from a position on, until before the byte `end` if one is given, at most
    BLOCK bytes; None for nothing. Its last line may be without an end if the log `is_whole`.
    """
    log = find_log(run_id, begin.attempt, home)
    if log is None:
        return None
    most = BLOCK if end is None else min(BLOCK, end - begin.byte)
    try:
        content = log.part(begin.byte, begin.byte + most)
    except (
        OSError
    ):  # gone with its run a moment ago, or a disk's fault, which is to hold up no other log
        return None
    lines, size = split(content, is_all=is_whole and len(content) < BLOCK)
    if not size:
        return None
    last = Position(begin.attempt, begin.byte + size)
    event = content_of("lines", LinesEvent(attempt=begin.attempt, lines=lines))
    return Piece(begin, last, event + b"id: %b\n\n" % str(last).encode())


def split(content: bytes, *, is_all: bool) -> tuple[list[str], int]:
    """The lines of a log's text, and how many of its bytes they are: what is no whole line yet is left, unless it
    `is_all` there will be. A line of more than LONGEST_LINE bytes is several.
    """
    *whole, rest = content.split(b"\n")
    lines: list[bytes] = []
    for line in whole:
        pieces, line = _cut(line)
        lines += [*pieces, line]
    pieces, rest = _cut(rest)
    lines += pieces
    if rest and is_all:
        lines, rest = [*lines, rest], b""
    return [line.decode(errors="replace") for line in lines], len(content) - len(rest)


def _cut(line: bytes) -> tuple[list[bytes], bytes]:
    """What is too long of a line, and its rest, which is never empty where something was; no character is cut."""
    pieces = []
    while len(line) > LONGEST_LINE:
        end = LONGEST_LINE
        while end > LONGEST_LINE - 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return pieces, line
