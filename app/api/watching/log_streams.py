"""A run's log as server-sent events: its last lines, or what came after a cut, and what is written until it ends."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlmodel import Session
from starlette.types import Send

from app.api.watching import events
from app.api.watching.hub import Hub
from app.api.watching.log_events import Position, attempt_begins
from app.api.watching.log_reader import FollowedLog
from app.api.watching.streams import Telling, say
from app.api.watching.watchers import Watcher
from app.errors import NotFound
from app.services.experiments import changes, experiments
from app.services.experiments.changes import Changed
from app.services.experiments.logs import find_log, log_of
from app.services.experiments.run_logs import RunLogs, run_logs


@dataclass(frozen=True)
class WantedLog:
    """Whose log, and from where: after a position, or else so many last lines of its newest attempt."""

    run_id: str
    after: Position | None
    tail: int


@dataclass(frozen=True)
class LogOpening:
    """What a stream begins with, as of change `number`: its first events, and from where the log is told."""

    number: int
    said: bytes
    logs: RunLogs
    position: Position


async def log_opening(hub: Hub, client: str, wanted: WantedLog) -> LogOpening:
    """Raises as `log_of` for a run that has ended and has no log here; one that goes on may still write one."""
    home = hub.logs.home

    def look(session: Session) -> tuple[int, bytes, RunLogs]:
        run = experiments.get_run(session, wanted.run_id)
        if run.status.is_terminal:
            log_of(session, run, None, home)
        number = changes.latest(session)
        state = Changed("run", run.id, number, run.owner, run.experiment_id)
        [event] = events.encoded(session, [state], hub.rows_of)
        return number, event.content + b"\n", run_logs(session, [run.id])[run.id]

    number, said, logs = await hub.read(client, look)
    position, begun = await hub.logs.in_files(client, partial(_begin, logs, wanted, home))
    return LogOpening(number, said + begun, logs, position)


class LogStream(Telling):
    """The log of one run, whose watcher the hub has admitted."""

    def __init__(
        self, hub: Hub, watcher: Watcher, client: str, wanted: WantedLog, begins: LogOpening
    ) -> None:
        super().__init__(hub, watcher, client)
        self._wanted, self._begins, self._position = wanted, begins, begins.position
        watcher.told(begins.number)

    async def _tell(self, send: Send, left: "asyncio.Task[None]") -> None:
        logs, watcher = self._hub.logs, self._watcher
        followed = logs.follow(watcher, self._begins.logs, self._position)
        try:
            await say(send, self._begins.said)
            while not (left.done() or watcher.is_cut):
                watcher.wake.clear()
                if watcher.begins_anew:
                    await self._begin_anew(send, followed)
                if watcher.ends is None and (content := await self._next(followed)):
                    await say(send, content)
                elif watcher.ends is not None or followed.is_whole:
                    await say(send, events.end(watcher.ends or "terminal"))
                    return
                else:
                    await watcher.wake.wait()
        finally:
            logs.leave(watcher, followed)

    async def _next(self, followed: FollowedLog) -> bytes:
        """What is to be said next: how the run stands, a sign of life, lines, or that another attempt begins."""
        logs, client = self._hub.logs, self._client
        if changed := self._watcher.takes_events():
            followed.is_out_of_date = True
            return b"".join(event.content + b"\n" for event in changed)
        if self._watcher.takes_ping():
            return events.ping(None)
        piece = await self._in_turn(partial(logs.piece, client, followed, self._position))
        if piece is not None:
            self._position = piece.end
            return piece.content
        state = followed.logs
        attempt = state.after(self._position.attempt)
        if attempt is None:
            return b""
        self._position = Position(attempt.number)
        begins = partial(attempt_begins, state, attempt, logs.home, self._position)
        return await self._in_turn(partial(logs.in_files, client, begins))

    async def _begin_anew(self, send: Send, followed: FollowedLog) -> None:
        """The database has gone back, and maybe the files with it."""
        self._watcher.begins_anew, self._watcher.number = False, 0
        followed.is_out_of_date = True
        wanted = WantedLog(self._wanted.run_id, None, self._wanted.tail)
        try:
            begins = await self._in_turn(partial(log_opening, self._hub, self._client, wanted))
        except NotFound:
            self._watcher.end("terminal")
            return
        self._position = begins.position
        self._watcher.told(begins.number)
        await say(send, events.reset() + begins.said)


def _begin(logs: RunLogs, wanted: WantedLog, home: Path) -> tuple[Position, bytes]:
    """From where the log is told, and what is said of that: nothing to who goes on after a cut."""
    if wanted.after is not None and _is_there(logs, wanted.after, home):
        return wanted.after, b""
    reset = b"" if wanted.after is None else events.reset()
    attempt = logs.attempt(logs.newest)
    if attempt is None:
        return Position(), reset
    log = find_log(logs.run_id, attempt.number, home)
    position = Position(attempt.number, 0 if log is None else log.begin_of_tail(wanted.tail))
    return position, reset + attempt_begins(logs, attempt, home, position)


def _is_there(logs: RunLogs, position: Position, home: Path) -> bool:
    """Whether it is one of these logs, and not behind their end."""
    if position.attempt == 0 or logs.attempt(position.attempt) is None:
        return position == Position()
    log = find_log(logs.run_id, position.attempt, home)
    return position.byte <= (0 if log is None else log.size())
