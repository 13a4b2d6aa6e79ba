"""Where an attempt's time goes: each moment belongs to one phase, so that all phases add up to the whole."""

from collections.abc import Callable
from time import monotonic

from lab_models.training.protocol import Phase, Phases


class Stopwatch:
    """Seconds by phase. It is asked where one phase ends and another begins, never at a step: a step costs nothing."""

    def __init__(self, phase: Phase, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._phase = phase
        self._since = clock()
        self._seconds: Phases = {}

    def enter(self, phase: Phase) -> None:
        """What comes from now on counts as this."""
        self._settle()
        self._phase = phase

    def attribute(self, seconds: float, phase: Phase) -> None:
        """So many of the seconds that have just counted as the present phase were another's."""
        self._settle()
        moved = min(seconds, self._seconds[self._phase])
        self._seconds[self._phase] -= moved
        self._seconds[phase] = self._seconds.get(phase, 0.0) + moved

    def phases(self) -> Phases:
        """Until now, to the millisecond."""
        self._settle()
        return {phase: round(seconds, 3) for phase, seconds in self._seconds.items()}

    def _settle(self) -> None:
        now = self._clock()
        self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._since = now
