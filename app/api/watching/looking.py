"""A look again and again, four times a second, while there is somebody to be told what it finds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.api.watching.watchers import Watcher
from app.errors import ServiceError

LOOK_SECONDS: Final = 0.25
CLOSE_SECONDS: Final = 1.0
"""How long the end of a look is waited for when the service stops."""

log = logging.getLogger("lab.api")


class Looking:
    """One task of a process, and of the event loop in which it begins. `look` says whether there is more to be seen at
    once; what fails is tried again.
    """

    def __init__(
        self,
        what: str,
        look: Callable[[], Awaitable[bool]],
        watchers: Callable[[], Collection[Watcher]],
    ) -> None:
        self._what, self._look, self._watchers = what, look, watchers
        self._is_closed, self._closing = False, asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Whether somebody looks."""
        return self._task is not None and not self._task.done()

    def begin(self) -> None:
        """There is somebody to be told."""
        if not self.is_on and not self._is_closed:
            self._closing = asyncio.Event()  # an event is of the loop that first waits for it
            self._task = asyncio.create_task(self._look_again_and_again())

    def close(self) -> None:
        """Look no more; the watchers have been told."""
        self._is_closed = True
        self._closing.set()

    async def closed(self) -> None:
        """Return when the last look is over."""
        self.close()
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _look_again_and_again(self) -> None:
        rest = LOOK_SECONDS
        try:
            while self._watchers():
                with suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._closing.wait()
                if self._is_closed:
                    return
                try:
                    rest = 0.0 if await self._look() else LOOK_SECONDS
                except (ServiceError, SQLAlchemyError) as error:
                    rest = LOOK_SECONDS
                    log.warning("could not look for %s (%s); looking again", self._what, error)
        finally:
            # there are some only after a fault: they must not believe that nothing changes
            if not self._is_closed:
                for watcher in self._watchers():
                    watcher.cut()
