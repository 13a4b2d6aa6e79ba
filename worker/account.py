"""Where an attempt's time went: what its trainer says, and what only its worker sees."""

import time
from collections.abc import Callable, Mapping

from lab_models.training.protocol import Phase

WRITE_SECONDS = 5.0
"""A worker that is killed loses so much of the account of its attempt, beside what its trainer had not told."""


class Account:
    """Seconds by phase since the claim. `starting` is until the trainer took the order up; `other` is what nobody has
    accounted for when it ends, such as the time since a killed trainer's last word.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, claimed: float | None = None
    ) -> None:
        """`claimed` is when the claim was made by that clock; now, if nobody says."""
        self._clock = clock
        self._began = clock() if claimed is None else claimed
        self._written = clock()
        self._starting: float | None = None
        self._told: dict[str, float] = {}

    def heard(self, phases: Mapping[Phase, float]) -> None:
        """What a trainer said of itself; an event without it changes nothing. What it had not begun by then is the most
        that starting can have taken: less than what the first word left, where that was heard late.
        """
        if not phases:
            return
        self._told = {str(phase): seconds for phase, seconds in phases.items()}
        left = max(0.0, self._clock() - self._began - sum(phases.values()))
        self._starting = left if self._starting is None else min(self._starting, left)

    def so_far(self) -> dict[str, float]:
        """As the trainer last told; nothing before its first word."""
        self._written = self._clock()
        if self._starting is None:
            return {}
        return {"starting": round(self._starting, 3), **self._told}

    def due(self) -> dict[str, float] | None:
        """The same when it was last asked for a while ago, else None."""
        return self.so_far() if self._clock() - self._written >= WRITE_SECONDS else None

    def whole(self) -> dict[str, float]:
        """All of the attempt until now, at its end."""
        lasted = self._clock() - self._began
        if self._starting is None:
            return {"starting": round(lasted, 3)}
        known = self.so_far()
        return {**known, "other": round(max(0.0, lasted - sum(known.values())), 3)}
