"""A watcher's answer: the state that it begins with, then what changes, until it ends or the client leaves.

While it waits it holds a place among the watchers and two tasks; no session, connection to the database, thread or
place in a line.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, TypeVar

from fastapi import Response
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from starlette.types import Receive, Scope, Send

from app.api.http.streams import AGAIN_SECONDS, TRIES
from app.api.http.traffic import EVENT_STREAM, READ_WITHIN
from app.api.watching import events
from app.api.watching.events import Event, RowsOf
from app.api.watching.hub import Hub
from app.api.watching.watchers import Watcher
from app.errors import Overloaded
from app.services.experiments import changes, tombstones
from app.services.experiments.changes import Changed
from app.services.experiments.changes import Scope as Watched

PING_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 30.0
"""Who reads nothing for so long is taken to be gone."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Opening:
    """What a stream begins with, as of change `number`: the first events, and what others are to be read."""

    number: int
    is_anew: bool
    begun: list[Event]
    others: list[Changed]
    is_over: bool


def opening(
    session: Session, scope: Watched, after: int | Literal["now"], rows_of: RowsOf
) -> Opening:
    """All of the scope that changed after that number, 0 for all there is. Where that number is of no use, since it is
    ahead of the database or so old that deletions after it are forgotten, it begins anew.
    """
    number = changes.latest(session)
    begins = number if after == "now" else after
    is_anew = begins > number or 0 < begins < tombstones.horizon(session)
    begins = 0 if is_anew else begins
    changed = changes.since(session, scope, begins)
    if not begins:
        changed = [one for one in changed if one.kind != "deleted"]
    return Opening(
        number,
        is_anew,
        events.encoded(session, changed[: events.AT_ONCE], rows_of),
        changed[events.AT_ONCE :],
        scope.can_be_over and changes.is_over(session, scope),
    )


class Telling(Response):
    """Server-sent events to one watcher, whom the hub has admitted."""

    def __init__(self, hub: Hub, watcher: Watcher, client: str) -> None:
        super().__init__(
            media_type=EVENT_STREAM,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._hub, self._watcher, self._client = hub, watcher, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it until it ends, or the client leaves."""
        if READ_WITHIN in scope.get("extensions", {}):
            scope["extensions"][READ_WITHIN](PATIENCE_SECONDS)
        left = asyncio.create_task(_left(receive))
        left.add_done_callback(lambda _: self._watcher.wake.set())
        self._await_ping()
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            await say(send, events.RETRY)
            await self._tell(send, left)
        finally:
            self._timer.cancel()
            left.cancel()
            self._hub.leave(self._watcher)
        if not self._watcher.is_cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send, left: "asyncio.Task[None]") -> None:
        """Say all there is to say, until the client has left or all is said."""
        raise NotImplementedError

    async def _read(self, work: Callable[[Session], Found]) -> Found:
        return await self._in_turn(partial(self._hub.read, self._client, work))

    async def _in_turn(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        """An answer that has begun cannot become a 503, so it waits."""
        for _ in range(TRIES - 1):
            try:
                return await ask()
            except (Overloaded, SQLAlchemyError):
                await asyncio.sleep(AGAIN_SECONDS)
        return await ask()

    def _await_ping(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)

    def _ping(self) -> None:
        self._watcher.ping()
        self._await_ping()


class EventStream(Telling):
    """The state of a scope, and what changes in it."""

    def __init__(self, hub: Hub, watcher: Watcher, client: str, begins: Opening) -> None:
        super().__init__(hub, watcher, client)
        self._begins: Opening | None = begins

    async def _tell(self, send: Send, left: "asyncio.Task[None]") -> None:
        await self._tell_state(send)
        await self._tell_news(send, left)

    async def _tell_state(self, send: Send) -> None:
        """What the stream begins with; at least the number up to which nothing has changed. What is told is let go of:
        of 10,000 experiments these are 12 MB, and a stream goes on for hours.
        """
        begins, self._begins = self._begins, None
        assert begins is not None
        if begins.is_anew:
            await say(send, events.reset())
        number, others = begins.number, begins.others
        content = events.in_bytes(begins.begun, None if others else number)
        await say(send, content or events.ping(number))
        while others:
            some = others[: events.AT_ONCE]
            del others[: events.AT_ONCE]
            found = await self._read(
                partial(
                    _piece,
                    scope=self._watcher.scope,
                    some=some,
                    number=number,
                    rows_of=self._hub.rows_of,
                )
            )
            await say(send, events.in_bytes(found, None if others else number))
        self._watcher.told(number)
        if begins.is_over:
            self._watcher.end("terminal")

    async def _tell_news(self, send: Send, left: "asyncio.Task[None]") -> None:
        """What changes. What is set while something is sent is looked at before anything is waited for."""
        while not (left.done() or self._watcher.is_cut):
            self._watcher.wake.clear()
            if self._watcher.begins_anew:
                await self._begin_anew(send)
            if content := self._hub.news(self._watcher):
                await say(send, content)
            elif self._watcher.ends is not None:
                await say(send, events.end(self._watcher.ends))
                return
            else:
                await self._watcher.wake.wait()

    async def _begin_anew(self, send: Send) -> None:
        self._watcher.begins_anew, self._watcher.number = False, 0
        begins = await self._read(
            partial(opening, scope=self._watcher.scope, after=0, rows_of=self._hub.rows_of)
        )
        self._begins = replace(begins, is_anew=True)
        del begins
        await self._tell_state(send)


def _piece(
    session: Session, scope: Watched, some: Sequence[Changed], number: int, rows_of: RowsOf
) -> list[Event]:
    """What of these has not changed after that number; of what has, the hub tells."""
    newer = {one.id for one in changes.since(session, scope, number)}
    return events.encoded(session, [one for one in some if one.id not in newer], rows_of)


async def say(send: Send, content: bytes) -> None:
    """Send it, if it is anything; returns when the client has read what came before."""
    if content:
        await send({"type": "http.response.body", "body": content, "more_body": True})


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
