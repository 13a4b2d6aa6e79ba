"""The doorbell: tells workers that something is queued. A ring may be lost or doubled without harm, so it never fails.

The queue itself is the table of runs (`app.services.lifecycle.queueing`); the broker carries rings alone.
"""

import logging
import threading
from contextlib import nullcontext
from typing import Any, Protocol

import celery.utils.imports
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TASK = "lab.work"
QUEUE = "train"
"""What the broker calls the list that rings lie in."""
MOST_RINGS_AT_ONCE = 16

# What whoever rings and whoever answers have in common. No result backend; short time-outs, because a broker that hangs
# must not hold a request. What concerns workers alone: worker/celery.py.
CELERY_SETTINGS: dict[str, Any] = {
    "result_backend": None,
    "task_ignore_result": True,
    "task_serializer": "json",
    "task_default_queue": QUEUE,
    "broker_connection_timeout": 2,
    "broker_pool_limit": 2,
    "task_publish_retry": True,
    "task_publish_retry_policy": {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.2,
    },
}
REDIS_TRANSPORT: dict[str, Any] = {
    "visibility_timeout": 300,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    # also after how long, at most twice this, a connection that died without a word is noticed
    "health_check_interval": 10,
    "global_keyprefix": "lab:",
}

log = logging.getLogger("lab.doorbell")

# Celery puts the current folder before all others while it imports by name, so that it finds a project's tasks. We name
# nothing of that kind, and a file there called like one of Python's own modules would be run in its place.
celery.utils.imports.cwd_in_path = nullcontext


class Doorbell(Protocol):
    """Something that can be rung."""

    def ring(self, times: int = 1) -> None:
        """Wake up to `times` workers; returns at once and never raises."""


class SilentDoorbell:
    """The embedded default: workers watch the table themselves."""

    def ring(self, times: int = 1) -> None:
        """Do nothing."""


class BrokerDoorbell:
    """Rings through Celery's broker, from a thread of its own, so that a broker that is down or hangs delays nobody."""

    def __init__(self, broker_url: str) -> None:
        self._celery = Celery("lab", broker=broker_url, set_as_current=False, fixups=())
        self._celery.conf.update(**CELERY_SETTINGS, broker_transport_options=REDIS_TRANSPORT)
        self._wanted = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._ring_for_ever, name="doorbell", daemon=True).start()

    def ring(self, times: int = 1) -> None:
        """Ask the thread to."""
        with self._changed:
            self._wanted = min(self._wanted + times, MOST_RINGS_AT_ONCE)
            self._changed.notify()

    def _ring_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted > 0)
                times, self._wanted = self._wanted, 0
            try:
                for _ in range(times):
                    self._celery.send_task(TASK, queue=QUEUE)
            except (OSError, OperationalError, RedisError) as error:
                log.warning(
                    "could not ring the broker (%s); idle workers ring again by themselves when it is back",
                    error,
                )


def broker_answers(broker_url: str, seconds: float = 1.0) -> bool:
    """Whether Redis answers a PING; connecting and waiting take at most `seconds` each."""
    patience = {
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        with Redis.from_url(broker_url, **patience) as redis:
            return bool(redis.ping())
    except (RedisError, OSError, ValueError):
        return False


def make_doorbell(broker_url: str) -> Doorbell:
    """The doorbell for these settings."""
    return BrokerDoorbell(broker_url) if broker_url else SilentDoorbell()
