"""What a worker looks after beside its runs: it rings the doorbell where runs wait, takes back those whose worker is
lost, and shows that it is there itself.
"""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress

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
from app.storage.tables import utc_now
from worker.identity import Identity
from worker.probing import Fitness

EMBEDDED_POLL_SECONDS = 0.1
BROKER_POLL_SECONDS = 0.5
QUIET_AFTER_SECONDS = 60.0
QUIET_TIMES = 2.5
"""How much longer the pauses are on a server where nothing has waited for so long."""
LOOK_SECONDS = 1.0
"""Longest time without a look at the tables themselves."""
START_SECONDS = 60.0
"""A trainer that takes longer to come up is trouble: its libraries may take a while to be read."""
LOOKS_PER_LEASE = 10
SHOW_SECONDS = 5.0
SIGN_OFF_SECONDS = 5.0
WRITES_PER_LEASE = 5
"""As many as a holder makes: a database that stops a holder from writing is seen by whoever watches it."""

log = logging.getLogger("lab.worker")


class Poller:
    """A thread of the worker's main process: looks a few times a second whether there is something to do.

    A look at the tables takes milliseconds, so that two idle workers would use a twentieth of a core. SQLite says in
    microseconds whether anything has changed since, and only then they are looked at, and now and then. A server does
    not say so, and is asked less often when all has been quiet for a minute.
    """

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        fitness: Callable[[], Fitness | None],
        has_signed_on: Callable[[], None],
        work: Task,
        stopping: Callable[[], bool],
        working: Callable[[], bool],
        end: Callable[[], None],
    ) -> None:
        """`fitness` says how the worker's child stands once that is known, and `has_signed_on` is told that the table
        has the worker. `working` says whether the child carries out runs. `end` ends the process at once; it is called
        when that was asked for and nothing is left to be saved.
        """
        self._settings = settings
        self._identity = identity
        self._fitness, self._has_signed_on = fitness, has_signed_on
        self._told: Fitness | None = None
        self._began, self._started_at = time.monotonic(), utc_now()
        self._work = work
        self._stopping = stopping
        self._working, self._end = working, end
        self._hurry: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_over = False
        self._has_signed_off = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._period = EMBEDDED_POLL_SECONDS if settings.embedded else BROKER_POLL_SECONDS
        self._ring_every = 0.0 if settings.embedded else settings.ring_seconds
        self._watch = LeaseWatch(settings.lease_seconds)
        self._look_every = min(LOOK_SECONDS, settings.lease_seconds / LOOKS_PER_LEASE)
        self._show_every = min(SHOW_SECONDS, settings.lease_seconds / WRITES_PER_LEASE)
        self._looked = self._rung = self._shown = -float("inf")
        self._last_waiting = time.monotonic()
        self._waiting = 0
        self._version: object = None

    def start(self) -> None:
        """Begin; it signs on as soon as it is known whether it can train."""
        self._database = Database(
            self._settings.effective_database_url,
            busy_seconds=min(BUSY_SECONDS, self._settings.lease_seconds / 3),
        )
        self._thread.start()

    def hurry(self) -> None:
        """Look around at once; may be called from a signal handler."""
        self._hurry.put(None)

    def stop(self) -> None:
        """Sign off and end; returns when the first is done."""
        self._is_over = True
        self.hurry()
        self._has_signed_off.wait(SIGN_OFF_SECONDS)

    def _run(self) -> None:
        while not (self._is_over or self._stopping()):
            self._guarded(self._look)
            with suppress(queue.Empty):
                self._hurry.get(timeout=self._pause())
        self._guarded(self._sign_off)
        self._has_signed_off.set()
        self._database.close()
        if self._stopping():
            while self._working():
                time.sleep(EMBEDDED_POLL_SECONDS)
            self._end()

    def _pause(self) -> float:
        """Seconds until the next look."""
        is_quiet = time.monotonic() - self._last_waiting > QUIET_AFTER_SECONDS
        if self._database.is_sqlite or not is_quiet:
            return self._period
        return max(self._period, min(self._period * QUIET_TIMES, self._look_every))

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
        self._note_fitness()
        if self._told is not None:
            self._show()
        is_idle = not celery_state.reserved_requests
        if not (self._has_changed() or (self._waiting and is_idle)):
            return
        self._looked = time.monotonic()
        with self._database.reading() as session:
            expired = self._watch.silent(session)
            self._waiting = queued_runs(session)
        if expired:
            with self._database.writing() as session:
                take_back(session, expired, self._settings.max_crashes)
        now = time.monotonic()
        if self._waiting:
            self._last_waiting = now
        if self._waiting and is_idle and now - self._rung >= self._ring_every:
            self._rung = now
            self._work.apply_async(queue=QUEUE)

    def _has_changed(self) -> bool:
        """Whether the tables may say something new: True where that cannot be known."""
        before, self._version = self._version, self._database_version()
        is_due = time.monotonic() - self._looked >= self._look_every
        return is_due or self._version is None or self._version != before

    def _database_version(self) -> object:
        """Another one whenever somebody else has written; None where there is no such thing."""
        if not self._database.is_sqlite:
            return None
        try:
            return self._database.glance("PRAGMA data_version")
        except sqlite3.Error:
            return None

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

    def _note_fitness(self) -> None:
        """Sign on, or say what has changed since: whether it can train, and where."""
        fitness = self._fitness()
        if fitness is None and time.monotonic() - self._began > START_SECONDS:
            fitness = Fitness(
                self._identity.device, f"no trainer has come up within {START_SECONDS:g} s", None
            )
        if fitness is None or fitness == self._told:
            return
        identity = self._identity
        with self._database.writing() as session:
            workers.register(
                session,
                identity.row(fitness.device, fitness.trouble, fitness.caution, self._started_at),
            )
        if self._told is None:
            log.info(
                "worker %s is online: %s, %d threads, %s broker",
                identity.id,
                fitness.device,
                identity.threads,
                "embedded" if self._settings.embedded else "Redis",
            )
        if fitness.caution:
            log.warning("worker %s on %s: %s", identity.id, fitness.device, fitness.caution)
        self._told = fitness
        self._has_signed_on()

    def _sign_off(self) -> None:
        log.info("worker %s leaves", self._identity.id)
        with self._database.writing() as session:
            workers.sign_off(session, self._identity.id)
