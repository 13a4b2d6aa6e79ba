"""Steps: what has to be done beyond this process, as values.

What the client does is written once, as plans: generators that yield steps, are sent what came of them, and return the
result. They do no input or output over the network themselves, so the blocking client and the asynchronous one carry
out the same plans (`blocking.py`, `awaiting.py`).
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
IDEMPOTENCY_KEY = "Idempotency-Key"


@dataclass(frozen=True)
class Request:
    """A request to the service; the plan is sent the `Reply` of its success, whatever tries that took."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    """What is sent in place of `content`, a piece at a time."""
    told: Callable[[int], None] | None = None
    """Hears of the bytes of each piece of `file` that was sent."""
    into: Path | None = None
    """Where the answer's body is stored in place of the reply; it is whole or not there."""
    patience: float | None = 0.0
    """Seconds beyond the client's timeout that the answer may take; None: however long."""

    changes_nothing: bool = False
    """Whether a POST only asks."""

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again when nobody knows what has become of it."""
        reads = self.method in ("GET", "HEAD") or self.changes_nothing
        return reads or IDEMPOTENCY_KEY in self.headers


@dataclass(frozen=True)
class Reply:
    """An answer of the service."""

    status: int
    reason: str
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True)
class Failure:
    """No answer."""

    reason: str
    was_sent: bool
    """Whether the request may have reached the service."""


@dataclass(frozen=True)
class Send:
    """One try of a request; the plan is sent a `Reply` or a `Failure`."""

    request: Request


@dataclass(frozen=True)
class Open:
    """The same for an answer that is read a piece at a time; what was open before is closed."""

    request: Request


@dataclass(frozen=True)
class Read:
    """The next piece of what is open, as bytes; None where there is no more, or the line is cut."""


@dataclass(frozen=True)
class Sleep:
    """A pause."""

    seconds: float


@dataclass(frozen=True)
class Later:
    """A function that carries out another plan when it is called and returns what that ends with; the plan is sent None
    where that would have to be awaited.
    """


@dataclass(frozen=True)
class Item(Generic[T]):
    """Something that a flow hands out; it goes on when the next is asked for."""

    value: T


Step = Request | Send | Open | Read | Sleep | Later
Plan = Generator[Step, Any, T]
"""Ends with a result."""
Flow = Generator[Step | Item[T], Any, None]
"""Hands out one item after the other."""


def gathered(flow: Flow[T]) -> Plan[list[T]]:
    """What a flow hands out, all of it."""
    found: list[T] = []
    reply: Any = None
    while True:
        try:
            step = flow.send(reply)
        except StopIteration:
            return found
        if isinstance(step, Item):
            found.append(step.value)
            reply = None
        else:
            reply = yield step
