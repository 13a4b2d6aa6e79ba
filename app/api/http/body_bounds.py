"""A request's body: whole in time, and with room for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from app.api.http.connection_bounds import Connections
from app.errors import BodyTooSlow, NoRoomForBody

BODY_BYTES_PER_SECOND: Final = 100_000
"""What has come of a body earns it time at this rate: a slow line may send an image, and a silent one nothing for long.
"""

ASGIMessage = Any
Receive = Callable[[], Awaitable[ASGIMessage]]


class BoundedBody:
    """A request's body, which must be whole in time and have room. Raises BodyTooSlow and NoRoomForBody; where the
    former could not be answered, the client counts as gone.
    """

    def __init__(
        self,
        receive: Receive,
        connections: Connections,
        address: str | None,
        gives_up: Callable[[], bool],
    ) -> None:
        self._receive, self._connections, self._address, self._gives_up = (
            receive,
            connections,
            address,
            gives_up,
        )
        self._num_held = 0
        self._deadline = asyncio.get_running_loop().time() + connections.settings.body_seconds
        self._is_whole = self._is_late = False

    async def __call__(self) -> ASGIMessage:
        """The next part."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._connections.num_too_slow["body"] += not self._is_late
            self._is_late = True
            if self._gives_up():
                return {"type": "http.disconnect"}
            seconds = self._connections.settings.body_seconds
            raise BodyTooSlow(
                f"the body was not whole after {seconds:g} s and a second more for each {BODY_BYTES_PER_SECOND:,} bytes"
            ) from None
        self._is_whole = not message.get("more_body", False)
        num_bytes = len(message.get("body", b""))
        if not self._connections.held.hold(self._address, num_bytes):
            raise NoRoomForBody(
                "so many bytes of bodies and of answers that nobody reads are held that there is no room for this body"
                " (LAB_MAX_HELD_BYTES)"
            )
        self._num_held += num_bytes
        self._deadline += num_bytes / BODY_BYTES_PER_SECOND
        return message

    def let_go(self) -> None:
        """The request is over."""
        self._connections.held.let_go(self._address, self._num_held)
        self._num_held = 0
