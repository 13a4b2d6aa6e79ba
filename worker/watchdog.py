"""Notices a trainer that lives and does nothing: no step, no epoch, no file for longer than `LAB_STALL_SECONDS`."""

import time
from collections.abc import Callable

from lab_models.training.protocol import Progress
from worker.trainer import Exited, TrainerEvent


class Watchdog:
    """Measures, on this process's monotonic clock, how long ago training last went on.

    Going on is an event that says something new. A `Progress` that repeats the step before does not count, so that a
    loop that only talks is noticed as well.
    """

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._went_on = clock()
        self._place: tuple[int, int] | None = None

    def heard(self, event: TrainerEvent | Exited | None) -> None:
        """Take note of what the trainer said, if anything."""
        if event is None:
            return
        if isinstance(event, Progress):
            place = (event.epoch, event.step)
            if place == self._place:
                return
            self._place = place
        self._went_on = self._clock()

    @property
    def has_stalled(self) -> bool:
        """Whether nothing has gone on for longer than is allowed."""
        return self._clock() - self._went_on > self._stall_seconds

    @property
    def message(self) -> str:
        """What to write into the run's record."""
        seconds = f"{self._stall_seconds:g} s"
        return f"the trainer made no progress for {seconds} and was ended; LAB_STALL_SECONDS allows more"
