"""Calls of a tracker's code, which may hang or raise anything."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from training_lab.errors import LabError
from training_lab.sync.sink import TrackerAway

CALL_SECONDS: Final = 120.0
MOST_HANGING: Final = 5


class Hopeless(LabError):
    """The tracker's code hangs or fills the memory: only another process is of use."""


class Calls:
    """One thread that makes the calls, since packages keep what they know by thread; one that hangs is left behind, and
    another takes its place.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = CALL_SECONDS if seconds is None else seconds
        self._waiting: queue.Queue[Any] | None = None
        self.num_hanging = 0

    def make(self, call: Callable[..., None], *args: Any) -> None:
        """Make a call and wait for it. Raises what it raises if that is a LabError, TrackerAway for whatever else it
        raises and when it hangs, Hopeless when it is the last straw.
        """
        if self._waiting is None:
            self._waiting = queue.Queue()
            threading.Thread(
                target=_work, args=(self._waiting,), name="tracker", daemon=True
            ).start()
        done: queue.Queue[BaseException | None] = queue.Queue()
        self._waiting.put((call, args, done))
        try:
            error = done.get(timeout=self._seconds)
        except queue.Empty:
            self._waiting = None
            self.num_hanging += 1
            if self.num_hanging >= MOST_HANGING:
                raise Hopeless(
                    f"the tracker has not answered {self.num_hanging} times within {self._seconds:g} s"
                ) from None
            raise TrackerAway(f"the tracker has not answered within {self._seconds:g} s") from None
        if isinstance(error, LabError):
            raise error
        if isinstance(error, MemoryError):
            raise Hopeless("the tracker's code has filled the memory that there is") from error
        if error is not None:
            raise TrackerAway(f"{type(error).__name__}: {error}") from error


def _work(waiting: "queue.Queue[Any]") -> None:
    while True:
        call, args, done = waiting.get()
        try:
            call(*args)
        except BaseException as error:  # noqa: BLE001  # also a SystemExit of the tracker's, which is no end of ours
            done.put(error)
        else:
            done.put(None)
