"""Whose turn it is to send: of all processes that could, one at a time, until it leaves or gives no sign of life.

The rule is that of runs (`app/services/upkeep/reconcile.py`): a heartbeat that stands still for the lease's length by
the watcher's own monotonic clock; a fence that grows with each holder, without which nothing is written.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import update
from sqlmodel import Session, col

from app.services.webhooks.webhooks import THE_SENDER
from app.storage.tables import WebhookSender


class NotItsTurn(Exception):
    """Another process sends now: write nothing, send nothing."""


@dataclass(frozen=True)
class SeenTurn:
    """The row as somebody who waits has read it."""

    holder: str | None
    fence: int
    heartbeat: int


class TurnWatch:
    """What one process that waits has seen of the row."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds, self._clock = lease_seconds, clock
        self._last: SeenTurn | None = None
        self._since = 0.0

    def is_free(self, seen: SeenTurn) -> bool:
        """Whether it may be taken: nobody holds it, or who does has been silent for the lease's length."""
        if seen.holder is None:
            return True
        if seen != self._last:
            self._last, self._since = seen, self._clock()
        return self._clock() - self._since >= self._lease_seconds

    def forget(self) -> None:
        """Begin to count anew: while the database was out of reach nobody could give a sign of life."""
        self._last = None


def look(session: Session) -> SeenTurn:
    """Who sends."""
    row = session.get_one(WebhookSender, THE_SENDER)
    return SeenTurn(row.holder, row.fence, row.heartbeat)


def told(session: Session) -> int:
    """Up to which change all is told."""
    return session.get_one(WebhookSender, THE_SENDER).told


def take(session: Session, seen: SeenTurn, holder: str) -> int:
    """Become the sender in the place of what was seen; returns the fence. Raises NotItsTurn where that has changed."""
    taken = session.execute(
        update(WebhookSender)
        .where(
            col(WebhookSender.id) == THE_SENDER,
            col(WebhookSender.fence) == seen.fence,
            col(WebhookSender.heartbeat) == seen.heartbeat,
        )
        .values(holder=holder, fence=WebhookSender.fence + 1, heartbeat=WebhookSender.heartbeat + 1)
        .returning(col(WebhookSender.fence))
    ).scalar_one_or_none()
    if taken is None:
        raise NotItsTurn
    return int(taken)


def hold(session: Session, fence: int) -> int:
    """Give a sign of life, and hold the row until the transaction ends; returns up to which change all is told. To be
    said first in every transaction of a sender. Raises NotItsTurn.
    """
    told = session.execute(
        update(WebhookSender)
        .where(col(WebhookSender.id) == THE_SENDER, col(WebhookSender.fence) == fence)
        .values(heartbeat=WebhookSender.heartbeat + 1)
        .returning(col(WebhookSender.told))
    ).scalar_one_or_none()
    if told is None:
        raise NotItsTurn
    return int(told)


def has_told(session: Session, number: int) -> None:
    """All up to that change is told, or going to be; of who holds the row."""
    session.execute(
        update(WebhookSender).where(col(WebhookSender.id) == THE_SENDER).values(told=number)
    )


def leave(session: Session, fence: int) -> None:
    """Let another one send at once; of who is not the sender any more nothing."""
    session.execute(
        update(WebhookSender)
        .where(col(WebhookSender.id) == THE_SENDER, col(WebhookSender.fence) == fence)
        .values(holder=None)
    )
