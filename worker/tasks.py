"""The doorbell's task, and the poller that rings it, takes back lost runs and shows that the worker is there."""

import logging
import mmap
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down
from celery.worker import state as celery_state
from kombu.exceptions import OperationalError as BrokerDown
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError

from app.devices import memory_of
from app.doorbell import QUEUE, TASK
from app.logging import bind_process
from app.services.lifecycle import queued_runs, try_to_write, workers
from app.services.upkeep.reconcile import LeaseWatch, take_back
from app.settings import Settings
from app.storage.db import BUSY_SECONDS, Database
from app.storage.tables import Worker as WorkerRow
from app.storage.tables import new_id, utc_now
from worker.claiming import work_until_empty
from worker.slot import Slot

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


class SharedFlag:
    """One byte that parent and forked child see; set from signal handlers, so it takes no lock."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Raise the flag, for good."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Whether it is raised."""
        return self._byte[0] == 1


@dataclass(frozen=True)
class Identity:
    """What this worker is called and where it trains."""

    id: str
    device: str
    threads: int
    is_first: bool


def identify(device: str, threads: int, slot: int) -> Identity:
    """A name that is unique and tells host and process."""
    return Identity(
        id=f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:6]}",
        device=device,
        threads=threads,
        is_first=slot == 0,
    )


def install(celery: Celery, settings: Settings, identity: Identity) -> None:
    """Give the application its task, its poller and its way to stop."""
    bind_process(worker=identity.id)  # also in the child that the pool forks
    stopping = SharedFlag()
    slots: list[Slot] = []

    @celery.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def work() -> int:
        """SIGTERM is a wish while runs are carried out; set here, because billiard sets its own handler after
        `worker_process_init`.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        try:
            return work_until_empty(slots[0])
        finally:
            signal.signal(signal.SIGTERM, before)

    def begin_process(**_: Any) -> None:
        """In the pool's child: connections of its own and a warm trainer."""
        database = Database(
            settings.effective_database_url,
            busy_seconds=min(BUSY_SECONDS, settings.lease_seconds / 3),
        )
        slots[:] = [
            Slot(
                identity.id,
                identity.device,
                identity.threads,
                settings,
                database,
                stopping.is_set,
                identity.is_first,
            )
        ]
        slots[0].spare.prepare()

    def end_process(**_: Any) -> None:
        for slot in slots:
            slot.spare.drop()

    worker_process_init.connect(begin_process, weak=False)
    worker_process_shutdown.connect(end_process, weak=False)
    worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)

    class PollerStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts after the pool has forked, so that no child inherits its thread or connection."""

        requires = frozenset({"celery.worker.components:Pool"})

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self._poller = Poller(settings, identity, work, stopping)

        def start(self, parent: Any) -> None:  # noqa: ARG002
            self._poller.start()

        def stop(self, parent: Any) -> None:  # noqa: ARG002
            self._poller.stop()

    celery.steps["worker"].add(PollerStep)


class Poller:
    """A thread of the worker's main process: looks at the table a few times a second."""

    def __init__(
        self, settings: Settings, identity: Identity, work: Any, stopping: SharedFlag
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

    def _guarded(self, work: Any) -> None:
        """A busy database or an absent broker is no reason to end: the next look comes soon."""
        try:
            work()
        except OperationalError as error:
            self._watch.failed()
            log.warning("the database did not answer (%s); looking again", error.orig)
        except (BrokerDown, RedisError, OSError) as error:
            log.warning("the broker did not answer (%s); ringing again later", error)

    def _look(self) -> None:
        if self._stopping.is_set() and self._settings.embedded:
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
        return not celery_state.reserved_requests and not self._stopping.is_set()

    def _sign_on(self) -> None:
        identity, now = self._identity, utc_now()
        row = WorkerRow(
            id=identity.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=identity.device,
            threads=identity.threads,
            memory_bytes=memory_of(identity.device),
            started_at=now,
            seen_at=now,
        )
        with self._database.writing() as session:
            workers.register(session, row)
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
