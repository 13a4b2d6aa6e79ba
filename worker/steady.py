"""What comes out of Redis and is no message ends no worker: it is dropped with a word in the log. A doorbell says
nothing that is not in the database.
"""

import logging
from typing import Any, Final

from celery.worker.consumer import Consumer
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from app.logging import Rarely

UNREADABLE: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What reading bytes of strangers as a message can come to; connections that fail raise others, which kombu and Celery
see to.
"""

log = logging.getLogger("lab.worker")


_dropped = Rarely(log)


def drop(why: object) -> None:
    """Say what was dropped and why, however much it is."""
    _dropped.warn("dropped from the broker what is no message: %.200s", why)


class SteadyChannel(kombu_redis.Channel):
    """Takes bytes that cannot be parsed out of the queue, and goes on with the next."""

    def _brpop_read(self, **options: Any) -> Any:
        self.connection.has_parsed = False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except UNREADABLE as error:
            if self.connection.has_parsed:
                raise
            drop(repr(error))
            return True


class SteadyTransport(kombu_redis.Transport):
    """Delivers what has a message's form, and only that."""

    Channel = SteadyChannel
    has_parsed = False

    def _deliver(self, message: Any, queue: str) -> None:
        self.has_parsed = True
        fault = fault_of(message, self.channels[0] if self.channels else None)
        if fault is None:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        else:
            drop(fault)


class SteadyConsumer(Consumer):  # type: ignore[misc]
    """Goes on when Celery cannot make a task of a message: what it says of the task may be anything."""

    def create_task_handler(self, *arguments: Any, **options: Any) -> Any:
        """Celery's own, which lets some faults of a message through."""
        receive = super().create_task_handler(*arguments, **options)

        def receive_or_drop(message: Any) -> Any:
            try:
                return receive(message)
            except UNREADABLE as error:
                drop(f"{error!r} in a message for {str(message.headers)[:100]}")
                return message.reject_log_error(log, self.connection_errors)

        return receive_or_drop


def use_steady_transport() -> None:
    """For every connection to Redis of this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{SteadyTransport.__module__}:{SteadyTransport.__qualname__}"


def fault_of(message: Any, channel: Any) -> str | None:
    """Why parsed JSON is no message that kombu could deliver and put aside until it is done; None when it is one."""
    try:
        properties, headers = message["properties"], message.get("headers")
        delivery = properties["delivery_info"]
        texts = (properties["delivery_tag"], delivery["exchange"], delivery["routing_key"])
        if not all(isinstance(text, str) for text in texts) or not isinstance(headers, dict | None):
            return "a message with fields of the wrong type"
        if channel is not None:
            channel.Message(message, channel=channel)
    except UNREADABLE as error:
        return repr(error)
    return None
