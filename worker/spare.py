"""The warm spare: a trainer started ahead, and the server that forks it."""

import logging
from collections.abc import Callable

from worker.trainer import ServerGone, Trainer, TrainerServer

SERVER_STARTS = 3

log = logging.getLogger("lab.trainer")


class Spare:
    """A trainer kept warm, so that the next run need not wait for libraries or the device."""

    def __init__(self, device: str, threads: int, niceness: int = 0) -> None:
        self._device, self._threads, self._niceness = device, threads, niceness
        self._server: TrainerServer | None = None
        self._trainer: Trainer | None = None

    def prepare(self) -> None:
        """Have one warming up, and the server that forks it, if that is possible here."""
        if self._trainer is None or not self._trainer.is_alive:
            self._trainer = self._fork()

    def take(self, no_longer: Callable[[], bool] = lambda: False) -> Trainer | None:
        """The warm one, ready for its order; None if none can be started here, or it is `no_longer` waited for."""
        self.prepare()
        trainer, self._trainer = self._trainer, None
        return trainer if trainer is not None and trainer.wait_ready(no_longer) else None

    def put_back(self, trainer: Trainer) -> None:
        """It was not needed after all."""
        self._trainer = trainer

    def drop(self) -> None:
        """End them all."""
        if self._server is not None:
            self._server.kill()

    def _fork(self) -> Trainer | None:
        for _ in range(SERVER_STARTS):
            if self._server is None or not self._server.is_alive:
                self._server = TrainerServer(self._threads, self._niceness)
            try:
                return self._server.fork(self._device, self._threads)
            except ServerGone:
                log.warning("the trainers' server is gone; starting another")
                self._server.kill()
        log.error(
            "the trainers' server ended %d times; is the lab installed? try: python -P -m lab_models run spec.json",
            SERVER_STARTS,
        )
        return None
