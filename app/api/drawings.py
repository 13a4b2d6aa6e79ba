"""Pictures for requests: each is drawn once for all who want it at the same time, in a process of its own, and the latest are kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect

from app.api.lanes import Lane
from app.api.sharing import Making, Once
from app.drawing import Artists

MOST_KEPT_BYTES: Final = 8 << 20
"""A hundred pictures or so; none that takes more than an eighth of it."""


@dataclass(frozen=True)
class Draw:
    """What comes next is a picture of `figure`, one of `app.plots.figures`; `then` makes the answer of its bytes, or says what comes after it.

    `name` stands for everything that the picture depends on: equal names, equal pictures. Rights are looked at before.
    """

    figure: Any
    extension: str
    name: str
    then: Callable[[bytes], Any]


class Drawings:
    """The pictures of one service; those who wait for one stand in the lane. Of one event loop."""

    def __init__(self, lane: Lane, artists: Artists, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._lane, self._artists, self._most_bytes = lane, artists, most_bytes
        self._once: Once[bytes] = Once()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._num_bytes = 0

    async def get(self, client: str, wanted: Draw, has_left: Callable[[], bool]) -> bytes:
        """The picture, drawn unless it is kept; raises Overloaded, Busy, DrawingFailed, or ClientDisconnect where all who wanted it have left before."""
        if wanted.name in self._kept:
            self._kept.move_to_end(wanted.name)
            return self._kept[wanted.name]
        return await self._once.get(wanted.name, has_left, lambda making: self._drawn(client, wanted, making))

    def close(self) -> None:
        """End whatever draws."""
        self._artists.close()

    async def _drawn(self, client: str, wanted: Draw, making: Making[bytes]) -> bytes:
        async with self._lane.turn(client):
            if making.is_for_nobody:
                raise ClientDisconnect
            picture = await asyncio.wrap_future(self._artists.draw(wanted.figure, wanted.extension))
        self._keep(wanted.name, picture)
        return picture

    def _keep(self, name: str, picture: bytes) -> None:
        if len(picture) > self._most_bytes // 8:
            return
        self._kept[name] = picture
        self._num_bytes += len(picture)
        while self._num_bytes > self._most_bytes:
            self._num_bytes -= len(self._kept.popitem(last=False)[1])
