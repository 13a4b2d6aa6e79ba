"""Pictures for requests: each is drawn once for all who want it at the same time, in a process of its own, and the
latest are kept.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect

from app.api.http.lanes import Lane
from app.api.http.sharing import Making, Once
from app.plots.appearance import USUAL, Appearance
from app.plots.artists import Artists

MOST_KEPT_BYTES: Final = 8 << 20
"""A hundred pictures or so; none that takes more than an eighth of it."""
MOST_CORES: Final = 0.1 * (os.cpu_count() or 1)
"""What pictures may take of the cores in the long run, a tenth: training has the others."""
MOST_AT_ONCE_SECONDS: Final = 50.0
"""Of it, which may be taken at once: a class that opens its pictures waits for none."""


@dataclass(frozen=True)
class Draw:
    """What comes next is a picture of `figure`, one of `app.plots.figures`; `then` makes the answer of its bytes, or
    says what comes after it.

    `name` stands for everything that the picture depends on: equal names, equal pictures. Rights are looked at before.
    """

    figure: Any
    extension: str
    name: str
    then: Callable[[bytes], Any]
    appearance: Appearance = USUAL


class Budget:
    """Seconds of a core that may be spent: `cores` of them come in each second, and at most those of `most_seconds` are
    saved.
    """

    def __init__(
        self, cores: float = MOST_CORES, most_seconds: float = MOST_AT_ONCE_SECONDS
    ) -> None:
        self._cores, self._most = cores, cores * most_seconds
        self._left, self._at = self._most, time.monotonic()

    def spend(self, seconds: float) -> float:
        """Spend them, there or not; returns for how many seconds nothing more is to be spent."""
        now = time.monotonic()
        self._left = min(self._most, self._left + self._cores * (now - self._at)) - seconds
        self._at = now
        return max(0.0, -self._left / self._cores)


class Drawings:
    """The pictures of one service; those who wait for one stand in the lane, which rests when the budget is spent. Of
    one event loop.
    """

    def __init__(
        self,
        lane: Lane,
        artists: Artists,
        budget: Budget | None = None,
        most_bytes: int = MOST_KEPT_BYTES,
    ) -> None:
        self._lane, self._artists, self._budget, self._most_bytes = (
            lane,
            artists,
            budget or Budget(),
            most_bytes,
        )
        self._once: Once[bytes] = Once()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._num_bytes = 0

    async def get(self, client: str, wanted: Draw, has_left: Callable[[], bool]) -> bytes:
        """The picture, drawn unless it is kept; raises Overloaded, Busy, DrawingFailed, or ClientDisconnect where all
        who wanted it have left before.
        """
        if wanted.name in self._kept:
            self._kept.move_to_end(wanted.name)
            return self._kept[wanted.name]
        return await self._once.get(
            wanted.name, has_left, lambda making: self._drawn(client, wanted, making)
        )

    def close(self) -> None:
        """End whatever draws."""
        self._artists.close()

    async def _drawn(self, client: str, wanted: Draw, making: Making[bytes]) -> bytes:
        async with self._lane.turn(client) as turn:
            if making.is_for_nobody:
                raise ClientDisconnect
            drawn = await asyncio.wrap_future(
                self._artists.draw(wanted.figure, wanted.extension, wanted.appearance)
            )
            turn.rest_seconds = self._budget.spend(drawn.seconds)
        self._keep(wanted.name, drawn.picture)
        return drawn.picture

    def _keep(self, name: str, picture: bytes) -> None:
        if len(picture) > self._most_bytes // 8:
            return
        self._kept[name] = picture
        self._num_bytes += len(picture)
        while self._num_bytes > self._most_bytes:
            self._num_bytes -= len(self._kept.popitem(last=False)[1])
