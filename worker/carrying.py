"""Files carried between this machine and a bucket, while the lease is kept: file first, row second.

A bucket that does not answer is asked again, however long it takes; meanwhile the trainer trains on. Where files lie in
the home nothing is carried.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from app.errors import StoreOutOfReach
from app.services.experiments.tasks import Task
from app.storage.files.store import FileStore
from lab_models.common.errors import LabError
from lab_models.datasets.built_in import KNOWN_BY_CONTENT
from lab_models.training.protocol import Checkpointed, Completed, EpochCompleted, FoundationFiles
from worker.ledger import Ledger

TICK_SECONDS = 0.05
FIRST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.5, 10.0

log = logging.getLogger("lab.attempt")


class NotCarried(Exception):
    """The attempt is to end before a file could be carried."""


class Carrier:
    """Carries the files of one attempt. `gives_up` says that the attempt is to end now."""

    def __init__(
        self, files: FileStore, ledger: Ledger, runs_folder: Path, gives_up: Callable[[], bool]
    ) -> None:
        self._files, self._ledger, self._gives_up = files, ledger, gives_up
        self._runs_folder = runs_folder
        self._run_id = ledger.lease.run_id

    def bring(self, task: Task) -> Task:
        """Have here what the task needs: its data set, checkpoints, foundation. What is gone is the trainer's to say.

        Raises NotCarried, LeaseLost and OutOfTouch, and StorageFull.
        """
        if not self._files.is_apart:
            return task
        found = [task]
        self._patiently(lambda: found.append(self._brought(task)))
        return found[-1]

    def keep(self, event: EpochCompleted | Checkpointed | Completed) -> None:
        """Carry what the event says has been written, before its row points to it. Raises as `bring` does."""
        if not self._files.is_apart:
            return
        match event:
            case Completed():
                paths = [saved.path for saved in event.artifacts]
            case _:
                paths = [event.checkpoint.path]
        self._patiently(lambda: self._files.keep(self._run_id, paths))

    def clear(self) -> None:
        """The attempt is over and not yet written down: what lies in the bucket need not lie here. Later another worker
        of this machine may have the run and its files.
        """
        self._files.clear(self._run_id)

    def _brought(self, task: Task) -> Task:
        name = task.spec.dataset.name
        if name not in KNOWN_BY_CONTENT:  # under the other names there may be imported ones
            self._files.bring_dataset(name)
        for saved in task.resume:
            self._files.bring(self._run_id, saved.path, saved.sha256)
        if task.foundation is None:
            return task
        return task.with_foundation(self._with_weights_here(task.foundation))

    def _with_weights_here(self, foundation: FoundationFiles) -> FoundationFiles:
        path = foundation.weights.relative_to(self._runs_folder / foundation.run_id)
        here = self._files.path_of(foundation.run_id, str(path), foundation.sha256)
        return foundation if here is None else foundation.model_copy(update={"weights": here})

    def _patiently(self, work: Callable[[], None]) -> None:
        """Work that takes a while, in a thread of its own, until it is done; what it raises is raised here."""
        left, over = threading.Event(), threading.Event()
        faults: list[Exception] = [
            RuntimeError("files could not be carried; standard error says why")
        ]

        def carry() -> None:
            try:
                self._until_answered(work, left)
                faults.clear()
            except (OSError, LabError) as error:
                faults[:] = [error]
            finally:
                over.set()

        threading.Thread(target=carry, name="carrier", daemon=True).start()
        try:
            while not over.wait(TICK_SECONDS):
                self._ledger.keep_lease()
                if self._gives_up():
                    raise NotCarried
        finally:
            left.set()
        if faults:
            raise faults[0]

    def _until_answered(self, work: Callable[[], None], left: threading.Event) -> None:
        """Again and again while the bucket does not answer, until nobody waits for it any more."""
        pause = FIRST_PAUSE_SECONDS
        while not left.is_set():
            try:
                work()
                return
            except StoreOutOfReach as error:
                log.warning("%s: %s; asking again", self._run_id, error)
                left.wait(pause)
                pause = min(2 * pause, MOST_PAUSE_SECONDS)
