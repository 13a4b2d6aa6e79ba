"""Streams, events and graphs of the pretend CUDA device, on which nothing is ever under way."""

import time


class Graph:
    """What is captured has been computed, and is not computed again."""

    def replay(self) -> None:
        """Nothing."""


class Moment:
    """A stream, or an event on the one that there is: what is asked for is done already."""

    def __init__(self, **_: object) -> None:
        self._at = 0.0

    def wait_stream(self, other: "Moment") -> None:
        """Nothing is under way."""

    def record(self) -> None:
        """Now."""
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        """It is over."""

    def elapsed_time(self, later: "Moment") -> float:
        """Milliseconds."""
        return 1000 * (later._at - self._at)
