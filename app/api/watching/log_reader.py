"""One reader of the logs that are followed, however many follow: four looks a second, while somebody does."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.api.http.passes import Passes
from app.api.watching.log_events import Piece, Position, read_piece
from app.api.watching.looking import Looking
from app.api.watching.watchers import Watcher
from app.services.experiments.logs import BLOCK
from app.services.experiments.run_logs import RunLogs, run_logs

Found = TypeVar("Found")


class FollowedLog:
    """A run's logs, as all who follow them share them: the attempts at it, and how far the newest one's log has been
    read; of what was read the last piece alone is kept.
    """

    def __init__(self, logs: RunLogs, begin: Position) -> None:
        self.logs = logs
        self.watchers: set[Watcher] = set()
        self.is_out_of_date = False
        """Whether something of the run has changed since `logs` was read."""
        self.is_whole = False
        """Whether its run has ended and nothing was written since: what has been read is all."""
        self.end = begin if begin.attempt == logs.newest else Position(logs.newest)
        """How far the newest log has been read."""
        self.last: Piece | None = None
        self._num_quiet = 0

    def heed(self, logs: RunLogs) -> None:
        """The run stands like this now."""
        if logs == self.logs:
            return
        if self.end.attempt != logs.newest:
            self.end, self.last = Position(logs.newest), None
        self.logs, self.is_whole, self._num_quiet = logs, False, 0
        self._wake()

    def read_on(self, home: Path) -> Piece | None:
        """In a thread: what the newest log holds behind what was read, None for nothing."""
        return read_piece(home, self.logs.run_id, self.end, None, is_whole=self._is_ending)

    def took(self, logs: RunLogs, piece: Piece | None) -> None:
        """This was read while the run stood like that."""
        if logs != self.logs:
            return
        if piece is not None:
            self.end, self.last, self._num_quiet = piece.end, piece, 0
            self._wake()
        elif self._is_ending:
            self.is_whole = True
            self._wake()
        else:
            self._num_quiet += 1

    @property
    def _is_ending(self) -> bool:
        """Whether its run has ended, and nothing was written at the last look: a trainer may write while it leaves."""
        return self.logs.is_over and self._num_quiet > 0

    def _wake(self) -> None:
        for watcher in self.watchers:
            watcher.wake.set()


class LogReader:
    """The logs that are followed in one process, and the task that reads them. Of one event loop."""

    def __init__(self, read: Callable[..., Awaitable[Any]], passes: Passes, home: Path) -> None:
        self.num_looks = 0
        self.num_pieces = 0
        """Read of logs, by the task or by who was behind it."""
        self.home = home
        self._read, self._passes = read, passes
        self._followed: dict[str, FollowedLog] = {}
        self.looking = Looking("what is logged", self._look, self._watchers)

    def follow(self, watcher: Watcher, logs: RunLogs, begin: Position) -> FollowedLog:
        """One more follows from there on, whom `leave` lets go; the run stood like that a moment ago."""
        followed = self._followed.setdefault(logs.run_id, FollowedLog(logs, begin))
        followed.is_out_of_date |= followed.logs != logs
        followed.watchers.add(watcher)
        self.looking.begin()
        return followed

    def leave(self, watcher: Watcher, followed: FollowedLog) -> None:
        """It has gone."""
        followed.watchers.discard(watcher)
        if not followed.watchers:
            self._followed.pop(followed.logs.run_id, None)

    async def piece(self, client: str, followed: FollowedLog, begin: Position) -> Piece | None:
        """What comes after a position in the log of its attempt; None where all has been told that was read. Whoever
        keeps up gets what all get; others read for themselves, as far as has been read.
        """
        if followed.last is not None and followed.last.begin == begin:
            return followed.last
        is_newest = begin.attempt == followed.end.attempt
        if is_newest and begin >= followed.end:
            return None
        self.num_pieces += 1
        end = followed.end.byte if is_newest else None
        read = partial(read_piece, self.home, followed.logs.run_id, begin, end, is_whole=True)
        return await self.in_files(client, read)

    async def in_files(self, client: str, work: Callable[[], Found]) -> Found:
        """What work with files finds, in a pass of its own."""
        return await self._passes.go(self._passes.files, client, work)

    def _watchers(self) -> list[Watcher]:
        return [watcher for one in self._followed.values() for watcher in one.watchers]

    async def _look(self) -> bool:
        """Whether there is more to be read at once."""
        self.num_looks += 1
        await self._heed_changes()
        followed = [(one, one.logs) for one in self._followed.values() if not one.is_whole]
        if not followed:
            return False

        def read_on() -> list[Piece | None]:
            return [one.read_on(self.home) for one, _ in followed]

        pieces = await self.in_files("watch", read_on)
        for (one, logs), piece in zip(followed, pieces, strict=True):
            self.num_pieces += piece is not None
            one.took(logs, piece)
        return any(piece is not None and piece.size > BLOCK // 2 for piece in pieces)

    async def _heed_changes(self) -> None:
        outdated = [one for one in self._followed.values() if one.is_out_of_date]
        if not outdated:
            return
        ids = [one.logs.run_id for one in outdated]
        for one in outdated:
            one.is_out_of_date = False
        found: dict[str, RunLogs] | None = None
        try:
            found = await self._read("watch", lambda session: run_logs(session, ids))
        finally:
            for one in outdated:
                one.is_out_of_date |= found is None
        for one in outdated:
            run_id = one.logs.run_id
            one.heed(found.get(run_id, RunLogs(run_id, is_over=True, attempts=())))
