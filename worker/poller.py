"""What a worker looks after beside its runs: it rings the doorbell where runs wait, takes back those whose worker is
lost, and shows that it is there itself.
"""

import logging
import threading
import time
from collections.abc import Callable

from celery import Task
from celery.worker import state as celery_state
from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from app.doorbell import QUEUE
from app.services.lifecycle import queued_runs, try_to_write, workers
from app.services.upkeep.reconcile import LeaseWatch, take_back
from app.settings import Settings
from app.storage.db import BUSY_SECONDS, Database
from worker.identity import Identity

EMBEDDED_POLL_SECONDS = 0.1
BROKER_POLL_SECONDS = 0.5
SHOW_SECONDS = 5.0
WRITES_PER_LEASE = 5
"""As many as a holder makes: a database that stops a holder from writing is seen by whoever watches it."""
NO_TIME = 1e-6
"""Seconds until a message to a worker that stops expires. On memory:// Celery looks at its stop flag when a message
comes, else every two seconds; an expired one it throws away, where a task would race with the end of its pool, whose
child then waits half a minute for an answer to it.
"""

log = logging.getLogger("lab.worker")


class Poller:
    """A thread of the worker's main process: looks at the table a few times a second."""

    def __init__(
        self, settings: Settings, identity: Identity, work: Task, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._work = work
        self._stopping = stopping
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._period = EMBEDDED_POLL_SECONDS if settings.embedded else BROKER_POLL_SECONDS
        self._ring_every = 0.0 if settings.embedded else settings.ring_seconds
        self._watch = LeaseWatch(settings.lease_seconds)
        self._show_every = min(SHOW_SECONDS, settings.lease_seconds / WRITES_PER_LEASE)
        self._rung = self._shown = -float("inf")

    def start(self) -> None:
        """Sign on and begin."""
        self._database = Database(
            self._settings.effective_database_url,
            busy_seconds=min(BUSY_SECONDS, self._settings.lease_seconds / 3),
        )
        self._thread.start()

    def stop(self) -> None:
        """Sign off and end."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._guarded(self._sign_on)
        while not self._ended.wait(self._period):
            self._guarded(self._look)
        self._guarded(self._sign_off)
        self._database.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A busy database or an absent broker is no reason to end: the next look comes soon."""
        try:
            work()
        except OperationalError as error:
            self._watch.failed()
            log.warning("the database did not answer (%s); looking again", error.orig)
        except (BrokerDown, RedisError, OSError) as error:
            log.warning("the broker did not answer (%s); ringing again later", error)

    def _look(self) -> None:
        if self._stopping() and self._settings.embedded:
            self._work.apply_async(queue=QUEUE, expires=NO_TIME)
        self._show()
        with self._database.reading() as session:
            expired = self._watch.silent(session)
            waiting = queued_runs(session)
        if expired:
            with self._database.writing() as session:
                take_back(session, expired, self._settings.max_crashes)
        now = time.monotonic()
        if waiting and self._is_idle() and now - self._rung >= self._ring_every:
            self._rung = now
            self._work.apply_async(queue=QUEUE)

    def _show(self) -> None:
        """Say now and then that this worker is there, which also shows whether the database can be written to."""
        now = time.monotonic()
        if now - self._shown < self._show_every:
            return
        self._shown = now
        with self._database.writing() as session:
            try_to_write(session)
            workers.show(session, self._identity.id)
        self._watch.wrote()

    def _is_idle(self) -> bool:
        return not celery_state.reserved_requests and not self._stopping()

    def _sign_on(self) -> None:
        identity = self._identity
        with self._database.writing() as session:
            workers.register(session, identity.row())
        log.info(
            "worker %s is online: %s, %d threads, %s broker",
            identity.id,
            identity.device,
            identity.threads,
            "embedded" if self._settings.embedded else "Redis",
        )

    def _sign_off(self) -> None:
        log.info("worker %s leaves", self._identity.id)
        with self._database.writing() as session:
            workers.sign_off(session, self._identity.id)
