"""What an attempt writes down: every durable word of it is a short transaction under the run's lease.

No transaction is open while the trainer trains. The lease is renewed from here as well: the trainer is another process,
so a long epoch cannot delay it.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from app.errors import StoreOutOfReach
from app.services import lifecycle
from app.services.experiments import progress, tasks
from app.services.experiments.tasks import Task
from app.services.lifecycle import Intent, Lease
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.places import file_store
from app.storage.states import RunStatus, StatusReason
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Probed,
    Progress,
    Started,
)
from worker.account import Account
from worker.limits import seconds_of_earlier

WISH_POLL_SECONDS = 0.5
PROGRESS_WRITE_SECONDS = 1.0
RETRY_SECONDS = 0.25
LEASE_MARGIN = 0.8
"""Share of the lease after which a holder that could not renew gives up by itself, before others may take over."""
RENEWALS_PER_LEASE = 5

Result = TypeVar("Result")

log = logging.getLogger("lab.attempt")


class OutOfTouch(Exception):
    """The database could not be reached for so long that the lease may be somebody else's by now."""


class Ledger:
    """The record of one attempt. Every write proves the lease and raises LeaseLost where it is somebody else's by now;
    a database that does not answer is tried again, and OutOfTouch is raised before the lease can be over.

    `asked` is what people want of the run, as it was when the database was last asked.
    """

    def __init__(
        self,
        database: Database,
        lease: Lease,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        claimed: float | None = None,
    ) -> None:
        self.lease = lease
        self.asked = Intent.NOTHING
        self._database = database
        self._settings = settings
        self._files = file_store(settings)
        self._clock = clock
        self._account = Account(clock, claimed)
        self._renewed = self._looked = self._progress_written = clock()

    def task(self) -> Task:
        """What there is to do."""
        return self._written(
            lambda session: tasks.load_task(session, self.lease, self._settings.runs_folder)
        )

    def seconds_before(self) -> float:
        """How long the run's attempts before this one lasted, all together."""
        return self._written(
            lambda session: seconds_of_earlier(
                progress.attempts_of(session, self.lease.run_id), self.lease.attempt
            )
        )

    def started(self, event: Started) -> None:
        """Data and model are in place."""
        self._account.heard(event.phases)
        phases = self._account.so_far()
        self._renew(lambda session: progress.record_started(session, self.lease, event, phases))

    def first_step(self) -> None:
        """The first optimizer step is done."""
        self._written(lambda session: progress.record_first_step(session, self.lease))

    def progress(self, event: Progress) -> None:
        """Where within an epoch training is; once a second is enough."""
        self._account.heard(event.phases)
        if self._clock() - self._progress_written >= PROGRESS_WRITE_SECONDS:
            self._progress_written = self._clock()
            phases = self._account.due()
            self._renew(
                lambda session: progress.record_progress(session, self.lease, event, phases)
            )

    def probed(self, event: Probed) -> None:
        """What a probe measured at initialization."""
        self._renew(lambda session: progress.record_probed(session, self.lease, event))

    def epoch(self, event: EpochCompleted) -> None:
        """An epoch's metrics and its checkpoint; files of older checkpoints go after the commit."""
        self._account.heard(event.phases)
        phases = self._account.due()
        self._renew_and_remove(
            lambda session: progress.record_epoch(session, self.lease, event, phases)
        )

    def checkpoint(self, event: Checkpointed) -> None:
        """A checkpoint within an epoch; files of older ones go after the commit."""
        self._account.heard(event.phases)
        self._renew_and_remove(
            lambda session: progress.record_checkpoint(session, self.lease, event)
        )

    def keep_lease(self) -> None:
        """Look for what people ask twice a second; write a sign of life every fifth of the lease."""
        now = self._clock()
        if now - self._renewed >= self._settings.lease_seconds / RENEWALS_PER_LEASE:
            self._renew(lambda session: lifecycle.renew(session, self.lease))
        elif now - self._looked >= WISH_POLL_SECONDS:
            self._looked = now
            self._look()

    def completed(self, event: Completed) -> None:
        """The run has succeeded; the files of its checkpoints go after the commit."""
        self._account.heard(event.phases)
        self._remove(
            self._ended(lambda session: progress.record_completed(session, self.lease, event))
        )

    def failed(self, event: Failed) -> None:
        """The run has failed for a reason that another try would meet again."""
        self._account.heard(event.phases)
        self._ended(lambda session: progress.record_failed(session, self.lease, event))

    def out_of_memory(self, note: str, micro_batches: int) -> RunStatus:
        """Memory ran out, and the next attempt computes each batch in so many parts; returns what the run became."""
        return self._ended(
            lambda session: progress.record_out_of_memory(session, self.lease, note, micro_batches)
        )

    def crashed(self, message: str, last_words: str = "") -> None:
        """The trainer is dead and has left no last word but those in its log; at the last allowed time the run has
        failed.
        """
        self._ended(
            lambda session: progress.record_crashed(
                session, self.lease, message, self._settings.max_crashes, last_words
            )
        )

    def has_neighbors(self) -> bool | None:
        """Whether other runs want this machine's CPU; None where the database does not answer."""
        try:
            with self._database.reading() as session:
                return lifecycle.has_neighbors(
                    session,
                    self.lease.run_id,
                    socket.gethostname(),
                    self._settings.max_running_per_owner,
                )
        except OperationalError:
            return None

    def begun_anew(self) -> RunStatus:
        """Back to the queue without what it has trained; returns what the run became. Files go after the commit."""
        became, obsolete = self._ended(
            lambda session: progress.record_begun_anew(session, self.lease)
        )
        self._remove(obsolete)
        return became

    def cancelled(self) -> None:
        """The trainer is dead, as was asked for."""
        self._ended(lambda session: lifecycle.confirm_cancel(session, self.lease))

    def released(self, reason: StatusReason) -> RunStatus:
        """Back to the queue, or paused: the run's row says which, for a pause may have been taken back since."""
        return self._ended(lambda session: lifecycle.release(session, self.lease, reason))

    def _ended(self, work: Callable[[Session], Result]) -> Result:
        """The attempt's end, with where all of its time went."""

        def ending(session: Session) -> Result:
            result = work(session)
            progress.record_phases(session, self.lease, self._account.whole())
            return result

        return self._written(ending)

    def _look(self) -> None:
        try:
            with self._database.reading() as session:
                self.asked = lifecycle.asked(session, self.lease)
        except OperationalError as error:
            log.warning(
                "%s: the database did not answer (%s); looking again",
                self.lease.run_id,
                error.orig,
            )

    def _renew(self, work: Callable[[Session], Intent]) -> None:
        self._renew_and_remove(lambda session: (work(session), []))

    def _renew_and_remove(self, work: Callable[[Session], tuple[Intent, list[str]]]) -> None:
        """A transaction that proves the lease, which counts from before it began; files go after the commit."""
        began = self._clock()
        self.asked, obsolete = self._written(work)
        self._renewed = self._looked = began
        self._remove(obsolete)

    def _written(self, work: Callable[[Session], Result]) -> Result:
        """One transaction, tried again while the database is busy and the lease can still be ours."""
        while True:
            try:
                with self._database.writing() as session:
                    return work(session)
            except OperationalError as error:
                if self._clock() - self._renewed > LEASE_MARGIN * self._settings.lease_seconds:
                    raise OutOfTouch from error
                log.warning(
                    "%s: the database did not answer (%s); trying again",
                    self.lease.run_id,
                    error.orig,
                )
                time.sleep(RETRY_SECONDS)

    def _remove(self, paths: list[str]) -> None:
        """Files that no row points to any more. A bucket is not waited for: it may hang for longer than the lease."""
        if not self._files.is_apart:
            self._files.remove(self.lease.run_id, paths)
        elif paths:
            threading.Thread(target=self._remove_there, args=(paths,), daemon=True).start()

    def _remove_there(self, paths: list[str]) -> None:
        """What cannot be removed now goes with `lab gc`."""
        try:
            self._files.remove(self.lease.run_id, paths)
        except StoreOutOfReach as error:
            log.warning(
                "%s: %d files stay until `lab gc`: %s", self.lease.run_id, len(paths), error
            )
