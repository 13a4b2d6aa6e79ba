"""The bell of a worker without Redis: Celery's broker in memory, which waits for a ring, where kombu's own looks fifty
times a second whether there is one.
"""

import queue
from contextlib import suppress
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, memory

_rings: "queue.SimpleQueue[None]" = queue.SimpleQueue()
"""One for each message of this process; its one listener is the thread of the worker's loop."""


class RingingChannel(memory.Channel):
    """Wakes up whoever waits for a message."""

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)  # type: ignore[no-untyped-call]
        _rings.put(None)


class WaitingTransport(memory.Transport):
    """Sleeps until a message comes."""

    Channel = RingingChannel

    def drain_events(  # type: ignore[override]
        self,
        connection: Any,  # noqa: ARG002
        timeout: float | None = None,
    ) -> None:
        """Deliver a message. Raises TimeoutError where there was none at first: the caller looks around and comes
        back.
        """
        try:
            self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
        except queue.Empty:
            with suppress(queue.Empty):
                _rings.get(timeout=timeout)
            raise TimeoutError from None


def use_inner_bell() -> None:
    """For every connection to `memory://` of this process."""
    TRANSPORT_ALIASES["memory"] = f"{WaitingTransport.__module__}:{WaitingTransport.__qualname__}"
