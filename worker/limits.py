"""How long a run may train, over all its attempts: `LAB_MAX_RUN_SECONDS`."""

import time
from collections.abc import Callable, Sequence

from app.storage.tables import Attempt
from lab_models.training.protocol import Failed


class TimeLimit:
    """What is left of a run's time. This attempt is measured on the monotonic clock; a limit of 0 s is none."""

    def __init__(
        self, max_seconds: float, seconds_before: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_seconds = max_seconds
        self._seconds_before = seconds_before
        self._clock = clock
        self._began = clock()

    @property
    def is_over(self) -> bool:
        """Whether the run has had its time."""
        return (
            self._max_seconds > 0
            and self._seconds_before + self._clock() - self._began >= self._max_seconds
        )

    @property
    def failure(self) -> Failed:
        """How the run ends then."""
        return Failed(
            code="time_limit",
            message=(
                f"the run has trained for as long as one run may, {self._max_seconds:g} s over all its attempts"
                " (LAB_MAX_RUN_SECONDS)"
            ),
            hint=(
                "ask for fewer epochs or a smaller network; where the limit is raised, a retry goes on from the last"
                " checkpoint"
            ),
        )


def seconds_of_earlier(attempts: Sequence[Attempt], number: int) -> float:
    """Seconds that attempts before this one lasted, by their rows; what a clock that was set back makes negative counts
    as nothing.
    """
    ended = [
        (attempt.started_at, attempt.finished_at) for attempt in attempts if attempt.number < number
    ]
    return sum(
        max(0.0, (finished_at - started_at).total_seconds())
        for started_at, finished_at in ended
        if finished_at is not None
    )
