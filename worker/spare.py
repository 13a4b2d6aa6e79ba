"""The warm spare: a trainer started ahead, and the server that forks it; and whether the device can be trained on."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.devices import visible_to_trainer
from app.gpus import NoSuchGpu
from lab_models.training.protocol import Unfit
from worker.trainer import LOOK_SECONDS, MUST_SPAWN, ServerGone, Trainer, TrainerServer

SERVER_STARTS = 3
PATIENCE_SECONDS = 40.0 if MUST_SPAWN else 8.0
"""After so long a trainer that is not ready is said to be slow; its libraries are loaded already, unless it is spawned,
so that this is the device's time.
"""
GIVE_UP_SECONDS = 60.0
POISONED = "Cannot re-initialize CUDA in forked subprocess"
"""What PyTorch says in a fork of a process that has used the driver."""

log = logging.getLogger("lab.trainer")


class Spare:
    """A trainer kept warm, so that the next run need not wait for libraries or the device. May be used by two threads;
    whoever starts a server must live as long as that.

    `unfit` says why the last trainer was not to be had, and `caution` what is slow where there is one. `slow` is told
    of one that takes long and is still waited for, and None once that is ready after all.
    """

    def __init__(
        self,
        device: str,
        threads: int,
        niceness: int = 0,
        slow: Callable[[Unfit | None], None] = lambda _: None,
    ) -> None:
        self.device = device
        self.slow = slow
        self.unfit: Unfit | None = None
        self.caution: str | None = None
        self._threads, self._niceness, self._spawns = threads, niceness, False
        self._lock = threading.Lock()
        self._server: TrainerServer | None = None
        self._trainer: Trainer | None = None

    def prepare(self) -> None:
        """Have one warming up, and the server that forks it, if that is possible here."""
        with self._lock:
            self._prepare()

    def take(self, no_longer: Callable[[], bool] = lambda: False) -> Trainer | None:
        """The warm one, ready for its order; None if none can be started here, which `unfit` explains, or it is
        `no_longer` waited for.
        """
        with self._held(no_longer) as is_held:
            if not (is_held and self._warm(no_longer)):
                return None
            trainer, self._trainer = self._trainer, None
            return trainer

    def probe(self, no_longer: Callable[[], bool] = lambda: False) -> bool:
        """Whether one is there that has taken a step on its device; waits until that is known."""
        with self._held(no_longer) as is_held:
            return is_held and self._warm(no_longer)

    def can_use(self, device: str) -> bool:
        """Whether a trainer on another device becomes ready; it is ended at once."""
        with self._lock:
            trainer = self._fork(device)
            if trainer is None:
                return False
            is_ready = trainer.wait_ready(seconds=PATIENCE_SECONDS)
            trainer.give_up()
            return is_ready

    def move_to(self, device: str) -> None:
        """From now on they are started on another device."""
        with self._lock:
            if self._trainer is not None:
                self._trainer.give_up()
                self._trainer = None
            self.device = device

    def renew(self) -> None:
        """Let the next trainer come from a server of its own, which loads all libraries again: of a driver that was
        replaced the old one keeps the old.
        """
        with self._lock:
            self._trainer = None
            if self._server is not None:
                self._server.kill()

    def put_back(self, trainer: Trainer) -> None:
        """It was not needed after all."""
        with self._lock:
            self._trainer = trainer

    def drop(self) -> None:
        """End them all."""
        if self._server is not None:
            self._server.kill()

    @contextmanager
    def _held(self, no_longer: Callable[[], bool]) -> Iterator[bool]:
        """The lock, or False if it is `no_longer` waited for."""
        while not (is_held := self._lock.acquire(timeout=LOOK_SECONDS)):
            if no_longer():
                break
        try:
            yield is_held
        finally:
            if is_held:
                self._lock.release()

    def _prepare(self) -> None:
        if self._trainer is None or not self._trainer.is_alive:
            self._trainer = self._fork(self.device)

    def _warm(self, no_longer: Callable[[], bool]) -> bool:
        self._prepare()
        trainer = self._trainer
        if trainer is None:
            return False
        if self._becomes_ready(trainer, no_longer):
            self.unfit, self.caution = None, trainer.caution
            return True
        if trainer.is_alive and no_longer():
            return False
        self._trainer = None
        if trainer.is_alive:
            trainer.give_up()
            self.unfit = _slow(GIVE_UP_SECONDS)
        else:
            self.unfit = trainer.unfit
            if not self._spawns and POISONED in self.unfit.reason:
                return self._warm_spawned(no_longer)
        return False

    def _warm_spawned(self, no_longer: Callable[[], bool]) -> bool:
        """From now on each is a process of its own, as where something in the server has asked the driver."""
        log.warning(
            "%s: a fork cannot use it; trainers are spawned, each loading torch", self.device
        )
        self._spawns = True
        if self._server is not None:
            self._server.kill()
        return self._warm(no_longer)

    def _becomes_ready(self, trainer: Trainer, no_longer: Callable[[], bool]) -> bool:
        began = time.monotonic()
        if trainer.wait_ready(no_longer, PATIENCE_SECONDS):
            return True
        if not trainer.is_alive or no_longer():
            return False
        self.slow(_slow(PATIENCE_SECONDS))
        is_ready = trainer.wait_ready(no_longer, GIVE_UP_SECONDS - (time.monotonic() - began))
        if is_ready:
            self.caution = trainer.caution
            self.slow(None)
        return is_ready

    def _fork(self, device: str) -> Trainer | None:
        try:
            visible = visible_to_trainer(device)
        except NoSuchGpu as error:
            self.unfit = Unfit(reason=str(error))
            return None
        how = ""
        for _ in range(SERVER_STARTS):
            if self._server is None or not self._server.is_alive:
                self._server = TrainerServer(self._threads, self._niceness, spawn=self._spawns)
            try:
                # it sees its own card alone, which is its first
                return self._server.fork(
                    "cpu" if device == "cpu" else "cuda:0", self._threads, visible
                )
            except ServerGone:
                self._server.kill()
                how = self._server.end
                log.warning("the trainers' server is gone, %s; starting another", how)
        self.unfit = Unfit(
            reason=f"the trainers' server ended {SERVER_STARTS} times, {how}: is the lab installed? Try: python -P -m"
            " lab_models run spec.json"
        )
        log.error("%s", self.unfit.reason)
        return None


def _slow(seconds: float) -> Unfit:
    return Unfit(
        reason=f"a trainer is not ready {seconds:g} s after its start: the driver may hang; does `nvidia-smi` answer?"
    )
