"""One attempt at one claimed run: give it to a trainer, listen until it is over, and write down how it ended.

All that lasts is written by the `Ledger`. This is about the process: what it says, how long it may be silent or train
at all, and when it is to save itself or to die.
"""

import logging
import time
from typing import assert_never

from app.services.experiments.tasks import Task
from app.services.lifecycle import Intent, LeaseLost
from app.storage.files.places import file_store
from app.storage.states import StatusReason
from lab_models.common.errors import DeviceFault, LabError, OutOfMemory
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
from worker.allotment import Allotment
from worker.carrying import Carrier, NotCarried
from worker.endings import BeginsAnew, Cancelled, Crashed, Ending, Left, failed_by
from worker.ledger import Ledger, OutOfTouch
from worker.limits import TimeLimit
from worker.orders import make_order
from worker.slot import Slot
from worker.trainer import Exited, Trainer, TrainerEvent
from worker.watchdog import Watchdog

TICK_SECONDS = 0.1
PAUSE_GRACE_SECONDS = 5.0
"""How long a run that is to pause may take to save itself; then it is killed and loses what came after its last
checkpoint.
"""

log = logging.getLogger("lab.attempt")


class Supervision:
    """A claimed run's trainer, watched from its order to its end."""

    def __init__(self, slot: Slot, ledger: Ledger) -> None:
        self._slot = slot
        self._settings = slot.settings
        self._ledger = ledger
        self._run_id, self._attempt = ledger.lease.run_id, ledger.lease.attempt
        self._leave_before: float | None = None
        self._stepped = False
        self._trainer: Trainer | None = None
        self._allotment: Allotment | None = None
        self._carrier = Carrier(
            file_store(slot.settings), ledger, slot.settings.runs_folder, self._gives_up
        )

    def carry_out(self, trainer: Trainer) -> None:
        """From order to the end of the attempt, whatever it is. The trainer is dead afterwards; where the database
        could not be told, the slot owes it that.
        """
        try:
            self._carry_out_or_fail(trainer)
        except LeaseLost:
            log.warning(
                "%s: the lease is lost; attempt %d leaves and writes nothing",
                self._run_id,
                self._attempt,
            )
        except OutOfTouch:
            self._slot.owed = self._ledger.lease
            log.error(
                "%s: the database was out of reach for %.0f s; attempt %d leaves",
                self._run_id,
                self._settings.lease_seconds,
                self._attempt,
            )
        finally:
            trainer.kill()

    def watch(self, trainer: Trainer, limit: TimeLimit) -> Ending:
        """Listen to a trainer that has its order until the attempt is over, and say how. All but the end itself is
        written down on the way.

        A trainer that is to end is dead when this returns; one that ended by itself may still be leaving. Raises
        LeaseLost and OutOfTouch, as the ledger does.
        """
        self._trainer = trainer
        watchdog = Watchdog(self._settings.stall_seconds)
        while True:
            event = trainer.next_event(TICK_SECONDS)
            ending = self._ended_by(event)
            watchdog.heard(
                event
            )  # after what was noted: the trainer is not to blame for how long that took
            if ending is not None:
                return ending
            self._ledger.keep_lease()
            ending = self._due(watchdog, limit) or self._dealt(trainer)
            if ending is not None:
                trainer.kill()
                return ending
            if self._ledger.asked is Intent.PAUSE or self._slot.stopping():
                self._ask_to_leave(trainer)

    def _carry_out_or_fail(self, trainer: Trainer) -> None:
        """The worker's edge: an error of our own ends the run with its traceback, instead of taking the worker down."""
        try:
            self._trainer = trainer
            task = self._carrier.bring(self._ledger.task())
            self._wait_for_room(task)
            limit = TimeLimit(self._settings.max_run_seconds, self._ledger.seconds_before())
            self._allotment = Allotment(self._slot, task, self._attempt, self._ledger.has_neighbors)
            order = make_order(self._slot, self._ledger.lease, task, self._allotment.first())
            trainer.train(order, order.run_folder / f"attempt-{self._attempt}" / "log.txt")
            self._write(self.watch(trainer, limit), order, task)
        except (LeaseLost, OutOfTouch):
            raise
        except NotCarried:
            trainer.kill()
            self._carrier.clear()
            self._end(Cancelled() if self._ledger.asked is Intent.CANCEL else Left())
        except Exception as error:
            if not isinstance(error, LabError):
                log.exception("%s: attempt %d failed", self._run_id, self._attempt)
            trainer.kill()
            self._ledger.failed(failed_by(error))

    def _wait_for_room(self, task: Task) -> None:
        """Until it has the card for itself, where it does not fit into a part. Raises NotCarried where it is to end."""
        card = self._slot.card
        if not card.must_be_alone(task.experiment_id, task.memory_bytes):
            return
        log.info("%s: it needs all of %s, and waits for it", self._run_id, self._slot.device)
        while not card.try_alone():
            self._ledger.keep_lease()
            if self._gives_up():
                raise NotCarried
            time.sleep(TICK_SECONDS)

    def _ended_by(self, event: TrainerEvent | Exited | None) -> Ending | None:
        """Note what the trainer said; the ending where that was its last word."""
        match event:
            case None:
                return None
            case Started():
                for note in event.notes:
                    log.warning("%s: %s", self._run_id, note)
                self._ledger.started(event)
                if self._allotment is not None:
                    self._allotment.started(event)
            case Progress():
                self._note_progress(event)
            case Probed():
                self._ledger.probed(event)
            case EpochCompleted():
                self._carrier.keep(event)
                self._ledger.epoch(event)
            case Checkpointed():
                self._carrier.keep(event)
                self._ledger.checkpoint(event)
                return Left() if event.stopped else None
            case Completed():
                self._carrier.keep(event)
                return event
            case Failed():
                return event
            case Exited():
                return self._after_exit(event)
            case _:
                assert_never(event)
        return None

    def _note_progress(self, event: Progress) -> None:
        if not self._stepped:
            self._stepped = True
            self._ledger.first_step()
            if self._slot.keeps_spare:
                self._slot.spare.prepare()
        self._ledger.progress(event)

    def _after_exit(self, exited: Exited) -> Ending:
        """It left without a last word: killed from outside, out of memory, a crash of native code."""
        if self._leave_before is not None and exited.status == 0:
            return Left()
        how = f"signal {-exited.status}" if exited.status < 0 else f"exit status {exited.status}"
        return Crashed(f"the trainer ended with {how}")

    def _due(self, watchdog: Watchdog, limit: TimeLimit) -> Ending | None:
        """How the attempt is to end now because somebody or something asks for it; None while it may go on."""
        if self._ledger.asked is Intent.CANCEL:
            return Cancelled()
        if limit.is_over:
            return limit.failure
        if watchdog.has_stalled:
            return Crashed(watchdog.message)
        if self._leave_before is not None and time.monotonic() > self._leave_before:
            return Left()
        return None

    def _dealt(self, trainer: Trainer) -> BeginsAnew | None:
        """Let it have the cores that are its own now, unless it is about to leave."""
        if self._allotment is None or self._leave_before is not None:
            return None
        return self._allotment.deal(trainer.use_threads)

    def _gives_up(self) -> bool:
        """Whether what is carried for the run is to be left, since it is to end, or has had its time to save itself."""
        if self._ledger.asked is Intent.CANCEL:
            return True
        if self._trainer is not None and (
            self._ledger.asked is Intent.PAUSE or self._slot.stopping()
        ):
            self._ask_to_leave(self._trainer)
        return self._leave_before is not None and time.monotonic() > self._leave_before

    def _ask_to_leave(self, trainer: Trainer) -> None:
        """Once: the trainer is to save itself and end, within the time that is left for it."""
        if self._leave_before is None:
            grace = self._settings.stop_grace_seconds
            self._leave_before = time.monotonic() + (
                grace if self._slot.stopping() else min(grace, PAUSE_GRACE_SECONDS)
            )
            trainer.stop()

    def _write(self, ending: Ending, order: Order, task: Task) -> None:
        """The end of the attempt, once for all."""
        self._carrier.clear()
        match ending:
            case Completed():
                self._ledger.completed(ending)
                log.info("%s: succeeded, test accuracy %.4f", self._run_id, ending.test["accuracy"])
            case Failed():
                self._write_failure(ending, order, task)
            case _:
                self._end(ending)

    def _end(self, ending: Cancelled | Crashed | Left | BeginsAnew) -> None:
        """An end that the run has not come to by itself."""
        match ending:
            case Cancelled():
                self._ledger.cancelled()
                log.info("%s: cancelled", self._run_id)
            case Crashed():
                words = "" if self._trainer is None else self._trainer.last_words
                self._ledger.crashed(ending.message, words)
                log.warning(
                    "%s: attempt %d crashed: %s", self._run_id, self._attempt, ending.message
                )
            case BeginsAnew():
                became = self._ledger.begun_anew()
                log.info("%s: %s, to begin anew on its share of the cores", self._run_id, became)
            case Left():
                became = self._ledger.released(
                    StatusReason.WORKER_SHUTDOWN
                    if self._slot.stopping()
                    else StatusReason.WAITING_FOR_WORKER
                )
                log.info("%s: %s, progress kept", self._run_id, became)
            case _:
                assert_never(ending)

    def _write_failure(self, failed: Failed, order: Order, task: Task) -> None:
        """For good, unless the device has failed, which is a crash, or memory ran out where others have a part of it,
        or the spec allows to go on with fewer images at a time.
        """
        if failed.code == DeviceFault.code:
            self._ledger.crashed(f"the device has failed: {failed.message}", failed.traceback)
            log.warning("%s: attempt %d crashed: %s", self._run_id, self._attempt, failed.message)
            return
        is_out_of_memory = failed.code == OutOfMemory.code
        spec, micro_batches = order.spec, order.micro_batches
        if (
            is_out_of_memory
            and order.memory_fraction
            and self._slot.card.remember(task.experiment_id)
        ):
            note = f"{order.memory_fraction:.0%} of the GPU's memory is too little; next it has all of it"
            self._ledger.out_of_memory(note, micro_batches)
            log.warning("%s: %s", self._run_id, note)
            return
        smaller = after_out_of_memory(spec, micro_batches) if is_out_of_memory else None
        if smaller is None:
            self._ledger.failed(failed)
            log.warning("%s: failed, %s: %s", self._run_id, failed.code, failed.message)
            return
        note = f"memory ran out with {part_size(spec.batch_size, micro_batches)} images at a time: {failed.message}"
        became = self._ledger.out_of_memory(note, smaller)
        log.warning(
            "%s: %s, %s; next with %d",
            self._run_id,
            became,
            note,
            part_size(spec.batch_size, smaller),
        )
