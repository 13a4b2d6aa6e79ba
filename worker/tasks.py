"""The doorbell's task and what surrounds it: what a worker's processes begin with, and how they are asked to stop."""

import logging
import mmap
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

from celery import Celery, bootsteps
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down

from app.doorbell import TASK
from app.logging import bind_process
from app.settings import Settings
from app.storage.db import BUSY_SECONDS, Database
from lab_models.running.process import adopt_orphans
from worker.claiming import work_until_empty
from worker.identity import Identity
from worker.poller import Poller
from worker.probing import LOOK_SECONDS, Prober, SharedFitness
from worker.slot import Slot

BURIAL_SECONDS = 2.0


class SharedFlag:
    """One byte that parent and forked child see; set from signal handlers, so it takes no lock."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Raise the flag."""
        self._byte[0] = 1

    def clear(self) -> None:
        """Take it down."""
        self._byte[0] = 0

    def is_set(self) -> bool:
        """Whether it is raised."""
        return self._byte[0] == 1


def leave_to_the_starter() -> None:
    """Ignore SIGUSR1, which a batch system may send to every process of a job: `lab worker` hears it and asks its
    workers to leave. Celery would write stacks, and its pool's child end the run for a time limit.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def install(celery: Celery, settings: Settings, identity: Identity) -> None:
    """Give the application its task, its poller and its way to stop."""
    bind_process(worker=identity.id)  # also in the child that the pool forks
    # each side raises its own before it looks at the other's: a child that is not waited for claims nothing
    stopping, working, is_known = SharedFlag(), SharedFlag(), SharedFlag()
    fitness = SharedFitness()
    slots: list[Slot] = []

    @celery.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def work() -> int:
        """SIGTERM is a wish while runs are carried out, and SIGUSR1 nothing; set here, because billiard sets its own
        handlers after `worker_process_init`.
        """
        leave_to_the_starter()
        before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        working.set()
        try:
            # who claims is in the table
            while not (is_known.is_set() or stopping.is_set()):
                time.sleep(LOOK_SECONDS)
            return work_until_empty(slots[0])
        finally:
            working.clear()
            signal.signal(signal.SIGTERM, before)

    def begin_process(**_: Any) -> None:
        """In the pool's child: connections of its own and a warm trainer, which inherits what is ignored here."""
        leave_to_the_starter()
        working.clear()
        database = Database(
            settings.effective_database_url,
            busy_seconds=min(BUSY_SECONDS, settings.lease_seconds / 3),
        )
        slot = Slot(
            identity.id,
            identity.device,
            identity.threads,
            settings,
            database,
            stopping.is_set,
            identity.is_first,
            cores=identity.cores,
            sharers=identity.sharers,
            is_first_on_device=identity.is_first_on_device,
        )
        slots[:] = [slot]
        prober = Prober(slot, identity, fitness.tell)
        slot.until_fit, slot.look_again = prober.until_fit, prober.look_again
        prober.start()

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
            self._poller = Poller(
                settings,
                identity,
                fitness.read,
                is_known.set,
                work,
                stopping.is_set,
                working.is_set,
                lambda: _end_at_once(parent.pool.info["processes"]),
            )
            worker_shutting_down.connect(lambda **_: self._poller.hurry(), weak=False)

        def start(self, parent: Any) -> None:  # noqa: ARG002
            leave_to_the_starter()
            self._poller.start()

        def stop(self, parent: Any) -> None:  # noqa: ARG002
            self._poller.stop()

    celery.steps["worker"].add(PollerStep)


def leave(status: int) -> NoReturn:
    """End the process without what interpreter and pool do at an end, which takes a second and saves nothing."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _end_at_once(children: list[int]) -> NoReturn:
    """The end of a worker that is idle: nothing of it needs saving, and Celery would take seconds. The kernel ends the
    trainers with the child that they belong to; when this returns to whoever waits for it, none is left.
    """
    adopt_orphans()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + BURIAL_SECONDS
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.005)
    leave(0)
