"""How those workers fare that the API's own process starts: while they start, and when they cannot, no table has them.

Kept in that process and not in a row, because it is about its children alone, begins anew with each start, and must be
known when the database is the very reason why no worker comes up.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

STARTING_SECONDS: Final = 60.0
"""A worker that has not shown itself by then is not merely starting."""
LIVED_SECONDS: Final = 10.0
"""A worker that ends earlier has ended at once."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
OK: Final = "ok"


@dataclass(frozen=True)
class Place:
    """Of one worker: since when it runs, or when it will; how many before it have ended at once, and how the last of
    them did.
    """

    begins: float
    faults: int = 0
    how: str = ""


class LocalWorkers:
    """Told by the thread that starts them; asked by any other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[int, Place] = {}

    def starts(self, slot: int) -> None:
        """A worker has just been started in this place."""
        before = self._places.get(slot, Place(0.0))
        self._places[slot] = Place(self._clock(), before.faults, before.how)

    def has_ended(self, slot: int, how: str) -> float:
        """The worker has ended; `how` has its last words. Returns the seconds until another is to be started: twice as
        many each time that one ends at once.
        """
        now, before = self._clock(), self._places[slot]
        at_once = now - before.begins < LIVED_SECONDS
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**before.faults) if at_once else FIRST_PAUSE
        self._places[slot] = Place(now + pause, before.faults + 1 if at_once else 0, how)
        return pause

    @property
    def trouble(self) -> str | None:
        """Which worker ends at once, and how, as a clause; None when none does."""
        now = self._clock()
        for slot, place in sorted(self._places.items()):
            if place.faults and now - place.begins < LIVED_SECONDS:
                wait = math.ceil(place.begins - now)
                then = (
                    f"the next one starts in {wait} s" if wait > 0 else "the next one is starting"
                )
                return f"worker {slot} ended at once, {place.how}; {then}"
        return None

    @property
    def are_starting(self) -> bool:
        """Whether one is, or will soon."""
        now = self._clock()
        return any(now - place.begins < STARTING_SECONDS for place in self._places.values())

    def absence(self, unfit: str | None = None) -> str:
        """Why a run waits while no worker can train, as a sentence; `unfit` says which are there, and why not."""
        if unfit is not None:
            return f"Queued, but nobody can train it. {unfit[0].upper()}{unfit[1:].rstrip('.')}."
        trouble = self.trouble
        if trouble is not None:
            return f"Queued, but no worker of this service comes up: {trouble}."
        if self.are_starting:
            return "Queued; the workers of this service are starting."
        if self._places:
            return "Queued, but no worker of this service has shown itself lately: its log may say why."
        return "Queued, but no worker is online: start one with `lab worker`."

    def state(self, num_online: int, unfit: str | None = None) -> str:
        """`ok`, or in a few words what is wrong with them, or that there are none; `unfit` as for `absence`."""
        if unfit is not None:
            return unfit
        if self.trouble is None and num_online:
            return OK
        return self.trouble or ("starting" if self.are_starting else "none is online")
