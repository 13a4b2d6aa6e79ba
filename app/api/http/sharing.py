"""Work that is done once for all who ask for it: an answer that is shared for a moment, and one look for all who wait
for a change.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from app.errors import ServiceError
from app.storage.states import RunStatus

LOOK_SECONDS: Final = 0.25

Shareable = TypeVar("Shareable")

log = logging.getLogger("lab.api")


class Shared(Generic[Shareable]):
    """An answer that everybody gets who asks within `seconds` of its making; while it is made, all wait for the same
    one.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._making: asyncio.Future[Shareable] | None = None
        self._made_at = -float("inf")

    async def get(self, make: Callable[[], Awaitable[Shareable]]) -> Shareable:
        """The answer, made anew if it is too old; raises as `make` does, to all who wait for it."""
        if self._making is None or (
            self._making.done() and time.monotonic() - self._made_at >= self._seconds
        ):
            self._making = asyncio.ensure_future(self._made(make))
        return await asyncio.shield(self._making)

    def forget(self) -> None:
        """Let the next who asks have a new one."""
        self._made_at = -float("inf")

    async def _made(self, make: Callable[[], Awaitable[Shareable]]) -> Shareable:
        answer = await make()
        self._made_at = time.monotonic()
        return answer


class Making(Generic[Shareable]):
    """An answer that is made, and how to tell of each who waits for it whether they have left."""

    def __init__(self, make: "Callable[[Making[Shareable]], Awaitable[Shareable]]") -> None:
        self.tells: list[Callable[[], bool]] = []
        self.answer = asyncio.ensure_future(make(self))

    @property
    def is_for_nobody(self) -> bool:
        """Whether all have left."""
        return all(has_left() for has_left in self.tells)


class Once(Generic[Shareable]):
    """Answers that are made once for all who ask for the same one while it is made, and not to the end when nobody
    waits any more. Of one event loop.
    """

    def __init__(self) -> None:
        self._making: dict[str, Making[Shareable]] = {}

    async def get(
        self,
        name: str,
        has_left: Callable[[], bool],
        make: Callable[[Making[Shareable]], Awaitable[Shareable]],
    ) -> Shareable:
        """The answer of that name; raises as `make` does, to all who wait for it. `make` may ask its argument whether
        it is for nobody.
        """
        making = self._making.get(name)
        if making is None or making.answer.done():
            making = self._making[name] = Making(make)
            making.answer.add_done_callback(lambda _: self._forget(name, making))
        making.tells.append(has_left)
        try:
            return await asyncio.shield(making.answer)
        finally:
            making.tells.remove(has_left)
            if not making.tells:
                making.answer.cancel()

    def _forget(self, name: str, making: Making[Shareable]) -> None:
        if self._making.get(name) is making:
            del self._making[name]


class Watch:
    """Requests that wait until an experiment's status is another. Four times a second one look at the database tells
    for all of them.

    `look` returns the statuses of those experiments that are there. Of one event loop.
    """

    def __init__(self, look: Callable[[Collection[str]], Awaitable[dict[str, RunStatus]]]) -> None:
        self._look = look
        self._waiting: dict[str, dict[asyncio.Future[None], RunStatus]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def num_waiting(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._waiting.values()))

    async def change(
        self, request: Request, experiment_id: str, status: RunStatus, seconds: float
    ) -> None:
        """Return when the experiment has another status or is gone, the time is up, the client has left, or the service
        stops.
        """
        if self._is_closed:
            return
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(experiment_id, {})[changed] = status
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_again_and_again())
        left = asyncio.create_task(_left(request))
        try:
            await asyncio.wait(
                {changed, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            left.cancel()
            waiting = self._waiting[experiment_id]
            del waiting[changed]
            if not waiting:
                del self._waiting[experiment_id]

    def close(self) -> None:
        """Wake everybody: the service stops."""
        self._is_closed = True
        for waiting in self._waiting.values():
            for changed in waiting:
                _wake(changed)

    async def _look_again_and_again(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                found = await self._look(tuple(self._waiting))
            except (ServiceError, SQLAlchemyError) as error:
                log.warning("could not look for changes of status (%s); looking again", error)
                continue
            for experiment_id, waiting in self._waiting.items():
                for changed, status in waiting.items():
                    if found.get(experiment_id) is not status:
                        _wake(changed)


class Stopping:
    """Whoever stops the service says so at once, before open requests are waited for: those that wait for something
    answer then.
    """

    def __init__(self, *heeded_by: Callable[[], None]) -> None:
        self._heeded_by = heeded_by

    def set(self) -> None:
        """The service stops. To be called in the event loop."""
        for heed in self._heeded_by:
            heed()


def _wake(changed: "asyncio.Future[None]") -> None:
    if not changed.done():
        changed.set_result(None)


async def _left(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
