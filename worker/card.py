"""A GPU that several workers of a machine share: each of its runs may take an equal part of the memory, or, one at a
time, all of it.

Equal parts that are together no more than the card has are the margin: no run can take what another was promised, so
none fails for its neighbors. What does not fit into a part waits until the others have ended, while no further run
begins, and then has the card for itself; only then is it said that memory has run out.
"""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from app.devices import memory_of
from app.gpus import NoSuchGpu, visible_entry

CONTEXT_BYTES: Final = 600 * 2**20
"""What a process takes of a card beside what the allocator's limit counts: 450 to 600 MB by the literature, measured by
G1 of `make gpu-proof`.
"""
CONTEXTS_PER_WORKER: Final = 2
"""The trainer and the warm spare."""
UNKNOWN_SHARE: Final = 0.8
"""Of all memory, for all runs together, where nobody says how much there is."""
LEAST_FRACTION: Final = 0.01
LOOK_SECONDS: Final = 0.1
REMEMBERED_SECONDS: Final = 7 * 86400.0

log = logging.getLogger("lab.attempt")


class Card:
    """One worker's hold on its device; `sharers` are the workers of this machine that train on it. Alone on it, or on a
    CPU, nothing is locked and nothing is limited.

    Locks are of the kernel, so that they end with the process. Who begins shares the lock `use`; who must be alone has
    it exclusively, and keeps `gate` meanwhile, through which everybody begins: so it waits for those under way alone.
    """

    def __init__(
        self, device: str, folder: Path, sharers: int = 1, *, is_first: bool = True
    ) -> None:
        self.share_bytes: int | None = None
        self.is_first = is_first
        self._share: float | None = None
        self._is_alone = False
        self._gate = self._use = -1
        if sharers < 2 or device == "cpu":
            return
        self._share, self.share_bytes = _share(memory_of(device), sharers)
        place = folder / socket.gethostname()
        self._marks = place / f"{_called(device)}.alone"
        self._marks.mkdir(parents=True, exist_ok=True)
        self._forget()
        self._gate, self._use = (
            os.open(place / f"{_called(device)}.{name}", os.O_RDWR | os.O_CREAT, 0o600)
            for name in ("gate", "use")
        )

    @property
    def fraction(self) -> float | None:
        """How much of the device's memory a run may take that begins now; None: all."""
        return None if self._is_alone else self._share

    @contextmanager
    def held(self, stopping: Callable[[], bool]) -> Iterator[bool]:
        """A part of it, as soon as nobody has it alone or waits for that; False if the worker is to stop."""
        if self._share is None:
            yield True
            return
        try:
            while not (has_part := self._begins()):
                if stopping():
                    break
                time.sleep(LOOK_SECONDS)
            yield has_part
        finally:
            self._leave()

    def must_be_alone(self, experiment_id: str, least_bytes: int) -> bool:
        """Whether a run does not fit into a part: by what it takes at least, or since one like it did not."""
        if self._share is None:
            return False
        is_large = self.share_bytes is not None and least_bytes > self.share_bytes
        return is_large or (self._marks / experiment_id).exists()

    def try_alone(self) -> bool:
        """Give the part back, and have all of it if nobody else has a part; asked again and again until it is so."""
        if self._is_alone:
            return True
        fcntl.flock(self._use, fcntl.LOCK_UN)
        if not (_locked(self._gate, fcntl.LOCK_EX) and _locked(self._use, fcntl.LOCK_EX)):
            return False  # the gate stays shut, once it is
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._is_alone = True
        return True

    def remember(self, experiment_id: str) -> bool:
        """A run of the experiment did not fit into a part; False where that cannot be kept."""
        try:
            (self._marks / experiment_id).touch()
        except OSError as error:
            log.warning("%s: %s", self._marks, error)
            return False
        return True

    def _begins(self) -> bool:
        if not _locked(self._gate, fcntl.LOCK_EX):
            return False
        has_part = _locked(self._use, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return has_part

    def _leave(self) -> None:
        self._is_alone = False
        for lock in (self._use, self._gate):
            fcntl.flock(lock, fcntl.LOCK_UN)

    def _forget(self) -> None:
        for mark in self._marks.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - mark.stat().st_mtime > REMEMBERED_SECONDS:
                    mark.unlink()


def _share(total: int | None, sharers: int) -> tuple[float, int | None]:
    """The fraction and the bytes that each of so many runs may take."""
    if total is None:
        return UNKNOWN_SHARE / sharers, None
    left = total - sharers * CONTEXTS_PER_WORKER * CONTEXT_BYTES
    fraction = max(left / total / sharers, LEAST_FRACTION)
    return fraction, int(fraction * total)


def _called(device: str) -> str:
    """The same for all workers on a card, however they name it."""
    with suppress(NoSuchGpu):
        device = visible_entry(device)
    return device.replace("/", "_").replace(":", "-")


def _locked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
