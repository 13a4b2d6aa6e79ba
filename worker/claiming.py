"""One run after the other: a warm trainer, a claim, an attempt, until the queue is empty."""

import logging
import time

from sqlalchemy.exc import OperationalError

from app.devices import free_memory_of
from app.logging import bound
from app.services import lifecycle
from app.services.lifecycle import Lease, LeaseLost
from app.services.lifecycle.workers import kind_of_device
from app.storage.states import StatusReason
from worker.attempt import Supervision
from worker.ledger import RETRY_SECONDS, Ledger
from worker.slot import Slot

log = logging.getLogger("lab.attempt")


def work_until_empty(slot: Slot) -> int:
    """Claim and carry out runs until none is queued or the worker is asked to stop; returns how many were tried.

    The trainer is there before the claim: a worker that cannot train claims nothing and leaves the runs to others, and
    stays here until it can, so that it hears no further doorbell in place of those others. A
    run that was left because the database was out of reach is given back before that, however long it takes.
    """
    tried = 0
    while _settle(slot) and slot.until_fit() and not slot.stopping():
        trainer = slot.spare.take(slot.stopping)
        if trainer is None:
            if slot.stopping() or not slot.look_again():
                break
            continue
        with slot.card.held(slot.stopping) as has_room:
            claimed = _claim(slot) if has_room else None
            if claimed is None:
                slot.spare.put_back(trainer)
                break
            lease, at = claimed
            with bound(run=lease.run_id, attempt=lease.attempt):
                log.info("%s: attempt %d begins", lease.run_id, lease.attempt)
                ledger = Ledger(slot.database, lease, slot.settings, claimed=at)
                Supervision(slot, ledger).carry_out(trainer)
        tried += 1
    return tried


def _most_to_take(slot: Slot) -> int | None:
    """Bytes of memory that a run may need for certain to be taken here; None: any. On a GPU the first of those that
    share it takes what needs all of it. Who shares nothing asks nobody: an answer of the driver's tool takes it locks.
    """
    if slot.card.share_bytes is not None:
        return None if slot.card.is_first else slot.card.share_bytes
    return None if slot.is_first or slot.device != "cpu" else free_memory_of(slot.device)


def _settle(slot: Slot) -> bool:
    """Give back what the slot owes as soon as the database answers; False if it still does not when the worker is asked
    to stop.

    Whoever is silent for a lease while others can write is taken for dead, and then a crash is counted.
    """
    while slot.owed is not None:
        lease = slot.owed
        try:
            with slot.database.writing() as session:
                became = lifecycle.release(session, lease, StatusReason.DATABASE_UNREACHABLE)
            log.info("%s: %s, now that the database answers again", lease.run_id, became)
        except LeaseLost:
            log.warning("%s: it was taken back while the database was out of reach", lease.run_id)
        except OperationalError:
            if slot.stopping():
                return False
            time.sleep(RETRY_SECONDS)
            continue
        slot.owed = None
    return True


def _claim(slot: Slot) -> tuple[Lease, float] | None:
    """A run, and when it was claimed by the monotonic clock: its attempt begins before the commit, which may take."""
    try:
        with slot.database.writing() as session:
            lease = lifecycle.claim(
                session,
                slot.worker_id,
                _most_to_take(slot),
                slot.settings.max_running_per_owner,
                kind_of_device(slot.device),
            )
            return None if lease is None else (lease, time.monotonic())
    except OperationalError as error:
        log.warning("the database did not answer (%s); claiming later", error.orig)
        return None
