"""One run after the other: a warm trainer, a claim, an attempt, until the queue is empty."""

import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from app.devices import free_memory_of
from app.logging import bound
from app.services import lifecycle
from app.services.lifecycle import Lease
from worker.attempt import Attempt
from worker.slot import Slot

UNFIT_SECONDS = 5.0
LOOK_SECONDS = 0.1

log = logging.getLogger("lab.attempt")


def work_until_empty(slot: Slot) -> int:
    """Claim and carry out runs until none is queued or the worker is asked to stop; returns how many were tried.

    The trainer is there before the claim: a worker that cannot train claims nothing and leaves the runs to others.
    """
    tried = 0
    while not slot.stopping():
        trainer = slot.spare.take()
        if trainer is None:
            log.error("no trainer could be started on %s; this worker claims nothing for %.0f s", slot.device, UNFIT_SECONDS)
            _wait(UNFIT_SECONDS, slot.stopping)
            break
        lease = _claim(slot)
        if lease is None:
            slot.spare.put_back(trainer)
            break
        with bound(run=lease.run_id, attempt=lease.attempt):
            log.info("%s: attempt %d begins", lease.run_id, lease.attempt)
            Attempt(slot, lease).carry_out(trainer)
        tried += 1
    return tried


def _claim(slot: Slot) -> Lease | None:
    free = None if slot.is_first else free_memory_of(slot.device)
    try:
        with slot.database.writing() as session:
            return lifecycle.claim(session, slot.worker_id, free, slot.settings.max_running_per_owner)
    except OperationalError as error:
        log.warning("the database did not answer (%s); claiming later", error.orig)
        return None


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not stopping():
        time.sleep(LOOK_SECONDS)
