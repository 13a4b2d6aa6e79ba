"""One attempt at one claimed run: hand over to a trainer, record each event under the lease, finish.

All database work happens in this one thread, in short transactions; no transaction is open while the trainer trains.
The lease is renewed from here as well: the trainer is another process, so a long epoch cannot delay it.
"""

import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from app.services import lifecycle
from app.services.experiments import progress
from app.services.lifecycle import Intent, Lease, LeaseLost
from app.storage.states import StatusReason
from lab_models.running.threads import useful_threads
from lab_models.training.micro_batches import after_out_of_memory, part_size
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Order,
    Probed,
    Progress,
    Started,
)
from worker.limits import TimeLimit, seconds_of_earlier
from worker.slot import Slot
from worker.trainer import Exited, Trainer, TrainerEvent
from worker.watchdog import Watchdog

TICK_SECONDS = 0.1
WISH_POLL_SECONDS = 0.5
PAUSE_GRACE_SECONDS = 5.0
"""How long a run that is to pause may take to save itself; then it is killed and loses what came after its last
checkpoint.
"""
PROGRESS_WRITE_SECONDS = 1.0
RETRY_SECONDS = 0.25
TRACEBACK_TAIL = 4000
LEASE_MARGIN = 0.8
"""Share of the lease after which a holder that could not renew gives up by itself, before others may take over."""

Result = TypeVar("Result")

log = logging.getLogger("lab.attempt")


class OutOfTouch(Exception):
    """The database could not be reached for so long that the lease may be somebody else's by now."""


class Supervision:
    """A claimed run and the trainer it is given to."""

    def __init__(self, slot: Slot, lease: Lease) -> None:
        self._slot = slot
        self._settings = slot.settings
        self._lease = lease
        self._folder = slot.settings.runs_folder / lease.run_id
        self._renewed = self._looked = self._progress_written = time.monotonic()
        self._leave_before: float | None = None
        self._asked = Intent.NOTHING
        self._stepped = False
        self._order: Order

    def carry_out(self, trainer: Trainer) -> None:
        """From order to the end of the attempt, whatever it is. The trainer is dead afterwards; where the database
        could not be told, the slot owes it that.
        """
        try:
            self._supervise_or_fail(trainer)
        except LeaseLost:
            log.warning(
                "%s: the lease is lost; attempt %d leaves and writes nothing",
                self._lease.run_id,
                self._lease.attempt,
            )
        except OutOfTouch:
            self._slot.owed = self._lease
            log.error(
                "%s: the database was out of reach for %.0f s; attempt %d leaves",
                self._lease.run_id,
                self._settings.lease_seconds,
                self._lease.attempt,
            )
        finally:
            trainer.kill()

    def _supervise_or_fail(self, trainer: Trainer) -> None:
        """The worker's edge: an error of our own ends the run with its traceback, instead of taking the worker down."""
        try:
            self._supervise(trainer)
        except (LeaseLost, OutOfTouch):
            raise
        except Exception as error:
            log.exception("%s: attempt %d failed", self._lease.run_id, self._lease.attempt)
            trainer.kill()
            event = Failed(
                code="internal",
                message=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc()[-TRACEBACK_TAIL:],
            )
            self._persist(lambda session: progress.record_failed(session, self._lease, event))

    def _supervise(self, trainer: Trainer) -> None:
        limit = self._persist(self._time_limit)
        self._order = self._make_order()
        trainer.train(self._order, self._folder / f"attempt-{self._lease.attempt}" / "log.txt")
        watchdog = Watchdog(self._settings.stall_seconds)
        while True:
            event = trainer.next_event(TICK_SECONDS)
            watchdog.heard(event)
            if isinstance(event, Exited):
                self._trainer_died(event)
                return
            if event is not None and self._record(event):
                return
            self._keep_lease()
            if self._is_to_end(trainer, watchdog, limit):
                return

    def _time_limit(self, session: Session) -> TimeLimit:
        earlier = seconds_of_earlier(
            progress.attempts_of(session, self._lease.run_id), self._lease.attempt
        )
        return TimeLimit(self._settings.max_run_seconds, earlier)

    def _is_to_end(self, trainer: Trainer, watchdog: Watchdog, limit: TimeLimit) -> bool:
        """End the attempt where somebody or something asks for it; True when it is over."""
        if self._asked is Intent.CANCEL:
            trainer.kill()
            self._persist(lambda session: lifecycle.confirm_cancel(session, self._lease))
            log.info("%s: cancelled", self._lease.run_id)
        elif limit.is_over:
            trainer.kill()
            self._persist(
                lambda session: progress.record_failed(session, self._lease, limit.failure)
            )
            log.warning("%s: failed, time_limit", self._lease.run_id)
        elif watchdog.has_stalled:
            trainer.kill()
            self._crashed(watchdog.message)
        elif self._leave_before is not None and time.monotonic() > self._leave_before:
            trainer.kill()
            self._release()
        else:
            if self._asked is Intent.PAUSE or self._slot.stopping():
                self._ask_to_leave(trainer)
            return False
        return True

    def _ask_to_leave(self, trainer: Trainer) -> None:
        """Once: the trainer is to save itself and end, within the time that is left for it."""
        if self._leave_before is None:
            grace = self._settings.stop_grace_seconds
            self._leave_before = time.monotonic() + (
                grace if self._slot.stopping() else min(grace, PAUSE_GRACE_SECONDS)
            )
            trainer.stop()

    def _make_order(self) -> Order:
        task = self._persist(
            lambda session: progress.load_task(session, self._lease, self._settings.runs_folder)
        )
        return Order(
            spec=task.spec,
            seed=task.seed,
            run_folder=str(self._folder),
            attempt=self._lease.attempt,
            search_folders=tuple(str(folder) for folder in self._settings.search_folders),
            download_folder=str(self._settings.download_folder),
            prepared_folder=str(self._settings.prepared_folder),
            imported_folder=str(self._settings.imported_folder),
            archives_folder=str(self._settings.archives_folder),
            device=self._slot.device,
            threads=self._settings.threads or useful_threads(task.spec, self._slot.threads),
            micro_batches=task.micro_batches,
            checkpoint_seconds=self._settings.checkpoint_seconds,
            min_free_bytes=self._settings.min_free_bytes,
            resume=task.resume,
            teacher=task.built_on if task.spec.kind == "distill" else None,
            source=task.built_on if task.spec.kind == "transfer" else None,
        )

    def _record(self, event: TrainerEvent) -> bool:
        """Write what the trainer said; True when the attempt is over."""
        match event:
            case Started():
                for note in event.notes:
                    log.warning("%s: %s", self._lease.run_id, note)
                self._asked = self._renewing(
                    lambda session: progress.record_started(session, self._lease, event)
                )
            case Progress():
                self._record_progress(event)
            case Probed():
                self._asked = self._renewing(
                    lambda session: progress.record_probed(session, self._lease, event)
                )
            case EpochCompleted():
                self._asked = self._with_files(
                    lambda session: progress.record_epoch(session, self._lease, event)
                )
            case Checkpointed():
                self._asked = self._with_files(
                    lambda session: progress.record_checkpoint(session, self._lease, event)
                )
                if event.stopped:
                    self._release()
                return event.stopped
            case Completed():
                self._remove(
                    self._persist(
                        lambda session: progress.record_completed(session, self._lease, event)
                    )
                )
                log.info(
                    "%s: succeeded, test accuracy %.4f", self._lease.run_id, event.test["accuracy"]
                )
                return True
            case Failed():
                self._failed(event)
                return True
        return False

    def _record_progress(self, event: Progress) -> None:
        if not self._stepped:
            self._stepped = True
            self._persist(lambda session: progress.record_first_step(session, self._lease))
            self._slot.spare.prepare()
        if time.monotonic() - self._progress_written >= PROGRESS_WRITE_SECONDS:
            self._progress_written = time.monotonic()
            self._asked = self._renewing(
                lambda session: progress.record_progress(session, self._lease, event)
            )

    def _failed(self, event: Failed) -> None:
        """For good, unless memory ran out and the spec allows to go on with fewer images at a time."""
        spec, micro_batches = self._order.spec, self._order.micro_batches
        smaller = (
            after_out_of_memory(spec, micro_batches) if event.code == "out_of_memory" else None
        )
        if smaller is None:
            self._persist(lambda session: progress.record_failed(session, self._lease, event))
            log.warning("%s: failed, %s: %s", self._lease.run_id, event.code, event.message)
            return
        note = f"memory ran out with {part_size(spec.batch_size, micro_batches)} images at a time: {event.message}"
        became = self._persist(
            lambda session: progress.record_out_of_memory(session, self._lease, note, smaller)
        )
        log.warning(
            "%s: %s, %s; next with %d",
            self._lease.run_id,
            became,
            note,
            part_size(spec.batch_size, smaller),
        )

    def _trainer_died(self, exited: Exited) -> None:
        """It left without a last word: killed from outside, out of memory, a crash of native code."""
        if self._leave_before is not None and exited.status == 0:
            self._release()
            return
        how = f"signal {-exited.status}" if exited.status < 0 else f"exit status {exited.status}"
        self._crashed(f"the trainer ended with {how}")

    def _crashed(self, message: str) -> None:
        self._persist(
            lambda session: lifecycle.crashed(
                session, self._lease, message, self._settings.max_crashes
            )
        )
        log.warning("%s: attempt %d crashed: %s", self._lease.run_id, self._lease.attempt, message)

    def _release(self) -> None:
        """Back to the queue, or paused: the run's row says which, for a pause may have been taken back since."""
        reason = (
            StatusReason.WORKER_SHUTDOWN
            if self._slot.stopping()
            else StatusReason.WAITING_FOR_WORKER
        )
        became = self._persist(lambda session: lifecycle.release(session, self._lease, reason))
        log.info("%s: %s, progress kept", self._lease.run_id, became)

    def _keep_lease(self) -> None:
        """Look for what people ask twice a second; write a sign of life every fifth of the lease."""
        now = time.monotonic()
        if now - self._renewed >= self._settings.lease_seconds / 5:
            self._asked = self._renewing(lambda session: lifecycle.renew(session, self._lease))
        elif now - self._looked >= WISH_POLL_SECONDS:
            self._looked = now
            self._asked = self._look()

    def _look(self) -> Intent:
        try:
            with self._slot.database.reading() as session:
                return lifecycle.asked(session, self._lease)
        except OperationalError as error:
            log.warning(
                "%s: the database did not answer (%s); looking again",
                self._lease.run_id,
                error.orig,
            )
            return self._asked

    def _renewing(self, work: Callable[[Session], Result]) -> Result:
        """A transaction that proves the lease; it counts from before it began."""
        began = time.monotonic()
        result = self._persist(work)
        self._renewed = self._looked = began
        return result

    def _with_files(self, work: Callable[[Session], tuple[Intent, list[str]]]) -> Intent:
        asked, obsolete = self._renewing(work)
        self._remove(obsolete)
        return asked

    def _persist(self, work: Callable[[Session], Result]) -> Result:
        """One transaction, tried again while the database is busy and the lease can still be ours."""
        while True:
            try:
                with self._slot.database.writing() as session:
                    return work(session)
            except OperationalError as error:
                if time.monotonic() - self._renewed > LEASE_MARGIN * self._settings.lease_seconds:
                    raise OutOfTouch from error
                log.warning(
                    "%s: the database did not answer (%s); trying again",
                    self._lease.run_id,
                    error.orig,
                )
                time.sleep(RETRY_SECONDS)

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            Path(self._folder / path).unlink(missing_ok=True)
