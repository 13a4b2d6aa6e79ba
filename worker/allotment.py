"""How many of its machine's cores an attempt computes on: its share, or, where it is alone, all of them, until others
come. See `docs/decisions/0047-cores-are-dealt-out.md`.
"""

import time
from collections.abc import Callable
from enum import Enum, auto

from app.services.experiments.tasks import Task
from lab_models.running.threads import useful_threads
from lab_models.training.protocol import Started
from worker.endings import BeginsAnew
from worker.slot import Slot

LOOK_SECONDS = 3.0
NARROW_AFTER, WIDEN_AFTER = 10.0, 60.0
"""Seconds for which there must be others, or none, before an attempt gives cores back, or takes them again."""
YOUNG_SECONDS = 60.0
"""An attempt that has trained no longer than that begins anew, so that its bits are those of one number of threads."""
MOST_CHANGES = 6


class Wish(Enum):
    """What an attempt should do about its cores."""

    BEGIN_ANEW = auto()
    NARROW = auto()
    WIDEN = auto()


class Allotment:
    """The cores of one attempt.

    Only a run by itself, which is compared with no other (`by_itself`), may take more than its share: what is compared
    is computed alike. Only its first attempt begins so, so that it begins anew once at most. On a GPU threads decide
    nothing. `has_neighbors` says whether others run here or wait; None where nobody can say.
    """

    def __init__(
        self,
        slot: Slot,
        task: Task,
        attempt: int,
        has_neighbors: Callable[[], bool | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = useful_threads(task.spec, slot.threads)
        self.all = useful_threads(task.spec, slot.cores)
        self.may_widen = slot.device == "cpu" and task.is_by_itself and self.all > self.share
        self._is_first_attempt = attempt == 1
        self._has_neighbors, self._clock = has_neighbors, clock
        self._kept = task.threads if task.threads in range(1, slot.cores + 1) else None
        self._now: int | None = None
        self._began_at = self._looked = self._since = clock()
        self._crowded: bool | None = None
        self._is_young = False
        self._changes = 0

    def first(self) -> int:
        """The threads to begin with: those of the attempt before or of the run that is repeated, where there is one."""
        if self._kept is not None:
            return self._kept
        if self.may_widen and self._is_first_attempt and self._has_neighbors() is False:
            return self.all
        return self.share

    def started(self, event: Started) -> None:
        """The attempt has begun, with the threads that its checkpoint or order names."""
        threads = event.environment.get("threads")
        self._now = threads if self.may_widen and threads == self.all else None
        self._is_young = event.resumed_from is None
        self._began_at = self._since = self._clock()

    def deal(self, use_threads: Callable[[int], object]) -> BeginsAnew | None:
        """Let a trainer use what is its own now; BeginsAnew where it has trained too little to go on otherwise."""
        wish = self.due()
        if wish is Wish.BEGIN_ANEW:
            return BeginsAnew()
        if wish is not None:
            use_threads(self.share if wish is Wish.NARROW else self.all)
        return None

    def due(self) -> Wish | None:
        """What to do now. What is returned is taken as done."""
        now = self._clock()
        if self._now is None or self._changes >= MOST_CHANGES or now - self._looked < LOOK_SECONDS:
            return None
        self._looked = now
        crowded = self._has_neighbors()
        if crowded is None or crowded is not self._crowded:
            self._crowded, self._since = crowded, now
        is_wide = self._now == self.all
        if crowded is None or crowded is not is_wide:
            return None
        if now - self._since < (NARROW_AFTER if is_wide else WIDEN_AFTER):
            return None
        self._changes += 1
        self._now = self.share if is_wide else self.all
        if is_wide and self._is_young and self._since - self._began_at < YOUNG_SECONDS:
            return Wish.BEGIN_ANEW
        self._is_young = False
        return Wish.NARROW if is_wide else Wish.WIDEN
