"""Whose turn it is: requests wait in the event loop, in line and fairly, before they take a thread; beyond a bound they
are refused at once.

A lane lets a few passes go on at a time. Those that wait are taken client by client, so that whoever asks for much
waits behind what they have asked themselves. When a lane is full, the newest request of the client with the most in
line is refused: that is the one which has just come, if it is that client's.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.errors import Overloaded

Place = asyncio.Future[None]


@dataclass
class Turn:
    """A slot that is held. Whoever holds it may say how long it stays free afterwards, whether others are in line or
    not.
    """

    rest_seconds: float = 0.0


class Lane:
    """At most `slots` passes at a time, and at most `most_waiting` requests in line. Of one event loop.

    `rest` is the share of a pass's duration that its slot stays free afterwards while others are in line: SQLite keeps
    no line of writers, so other processes, the workers, come in only between two of ours.
    """

    def __init__(self, name: str, slots: int, most_waiting: int, rest: float = 0.0) -> None:
        self.name = name
        self.num_refused = 0
        self._free = self._slots = slots
        self._most_waiting, self._rest = most_waiting, rest
        self._waiting: OrderedDict[str, deque[Place]] = OrderedDict()
        self._passing: Counter[str] = Counter()

    @property
    def num_waiting(self) -> int:
        """Requests in line."""
        return sum(map(len, self._waiting.values()))

    @property
    def num_passing(self) -> int:
        """Passes that go on now."""
        return self._passing.total()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[Turn]:
        """Hold a slot within the block; raises Overloaded at once where too many are in line, or while in line, when
        another client has the better claim.
        """
        if self._may_pass(client) and not self._waiting:
            self._take(client)
        else:
            await self._stand_in_line(client)
        began, turn = time.monotonic(), Turn()
        try:
            yield turn
        finally:
            self._left(client)
            rest = max(
                turn.rest_seconds, self._rest * (time.monotonic() - began) if self._waiting else 0.0
            )
            if rest:
                asyncio.get_running_loop().call_later(rest, self._give_back)
            else:
                self._give_back()

    def _may_pass(self, client: str) -> bool:
        """One slot of several is left to other clients."""
        return self._free > 0 and (self._slots == 1 or self._passing[client] < self._slots - 1)

    def _take(self, client: str) -> None:
        self._free -= 1
        self._passing[client] += 1

    def _left(self, client: str) -> None:
        self._passing[client] -= 1
        if not self._passing[client]:
            del self._passing[client]

    def _give_back(self) -> None:
        self._free += 1
        self._admit()

    async def _stand_in_line(self, client: str) -> None:
        if self.num_waiting >= self._most_waiting:
            self._make_room(client)
        place: Place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        self._admit()  # a slot may be free that those in line may not have
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # admitted, and cancelled before it knew
                self._left(client)
                self._give_back()
            else:
                self._leave_line(client, place)
            raise

    def _make_room(self, client: str) -> None:
        self.num_refused += 1
        refusal = Overloaded(
            f"{self._most_waiting:,} requests wait for their turn at {self.name} (LAB_MAX_WAITING_REQUESTS); nothing"
            " was changed"
        )
        greediest = max(self._waiting, key=lambda name: len(self._waiting[name]))
        if len(self._waiting.get(client, ())) + 1 >= len(self._waiting[greediest]):
            raise refusal
        place = self._waiting[greediest].pop()
        self._forget_if_empty(greediest)
        if not place.done():
            place.set_exception(refusal)

    def _leave_line(self, client: str, place: Place) -> None:
        if place in self._waiting.get(client, ()):
            self._waiting[client].remove(place)
            self._forget_if_empty(client)

    def _forget_if_empty(self, client: str) -> None:
        if not self._waiting[client]:
            del self._waiting[client]

    def _admit(self) -> None:
        """Give the free slots to those in line, each client's first in turn."""
        while (
            client := next((name for name in self._waiting if self._may_pass(name)), None)
        ) is not None:
            place = self._waiting[client].popleft()
            self._waiting.move_to_end(client)
            self._forget_if_empty(client)
            if not place.done():  # else its request has gone
                self._take(client)
                place.set_result(None)
