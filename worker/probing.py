"""Whether a worker can train: tried before it signs on, by the very trainer that its first run gets, and tried again
after longer and longer pauses while it cannot.
"""

import json
import logging
import mmap
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from app.devices import cpu_slots
from app.gpus import is_exclusive
from lab_models.training.protocol import Unfit
from worker.card import Card
from worker.identity import Identity
from worker.slot import Slot

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
LOOK_SECONDS = 0.1
MOST_BYTES = 16384

log = logging.getLogger("lab.worker")


@dataclass(frozen=True)
class Fitness:
    """How a worker stands: where it trains, why it cannot, and what people should know of where it does."""

    device: str
    trouble: str | None = None
    caution: str | None = None


class SharedFitness:
    """What a worker's child has found, for its main process; made before the child is forked. One writes, others read:
    a value is written beside the one before, then one byte says which counts.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1 + 2 * MOST_BYTES)

    def tell(self, fitness: Fitness) -> None:
        """Replace what was told before."""
        turn = self._memory[0] % 2 + 1
        text = json.dumps(
            {name: value and value[: MOST_BYTES // 16] for name, value in asdict(fitness).items()},
            ensure_ascii=False,
        ).encode()
        start = 1 + (turn - 1) * MOST_BYTES
        self._memory[start : start + MOST_BYTES] = text.ljust(MOST_BYTES)
        self._memory[0] = turn

    def read(self) -> Fitness | None:
        """What was told last; None while nothing was."""
        turn = self._memory[0]
        if turn == 0:
            return None
        start = 1 + (turn - 1) * MOST_BYTES
        return Fitness(**json.loads(self._memory[start : start + MOST_BYTES].decode()))


class Prober:
    """A thread of the worker's child. It outlives every trainer, since the kernel ties their server to it."""

    def __init__(self, slot: Slot, identity: Identity, tell: Callable[[Fitness], None]) -> None:
        self._slot, self._identity, self._tell = slot, identity, tell
        self._wanted, self._is_fit = threading.Event(), threading.Event()
        self._caution = identity.caution
        slot.spare.slow = self._is_slow
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        """Begin with the first try."""
        self._wanted.set()
        self._thread.start()

    def until_fit(self) -> bool:
        """Wait until a trainer is there, however long it takes; False if the worker is to stop."""
        while not self._is_fit.wait(LOOK_SECONDS):
            if self._slot.stopping():
                return False
        return True

    def look_again(self) -> bool:
        """A trainer was not to be had: try by itself until one is. True, since somebody does."""
        self._is_fit.clear()
        self._wanted.set()
        return True

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self._try_until_fit()

    def _try_until_fit(self) -> None:
        pause, was_unfit = FIRST_PAUSE, False
        while not self._slot.stopping():
            if self._slot.spare.probe(self._slot.stopping):
                if was_unfit:
                    log.info("%s can be trained on", self._slot.device)
                # asked before the first run begins: the driver's tool may take seconds
                self._slot.keeps_spare = not is_exclusive(self._slot.device)
                self._say(None, self._slot.spare.caution)
                self._is_fit.set()
                return
            unfit = self._slot.spare.unfit
            if self._slot.stopping() or unfit is None:
                continue
            was_unfit = True
            if not self._falls_back(unfit):
                self._say(unfit.reason)
                log.error(
                    "no trainer could be started on %s: %s. This worker claims nothing; it looks again in %g s",
                    self._slot.device,
                    unfit.reason,
                    pause,
                )
                self._pause(pause)
                self._slot.spare.renew()
                pause = min(2 * pause, LONGEST_PAUSE)

    def _falls_back(self, unfit: Unfit) -> bool:
        """Train on the CPU from now on, if nobody named the device, somebody must change the machine before it can be
        used, the same is true of all other GPUs, and the CPU is good for one more.
        """
        slot, identity = self._slot, self._identity
        if not (identity.gpus_found and unfit.lasting and slot.device != "cpu"):
            return False
        if identity.slot >= cpu_slots():
            return False
        others = [one for one in identity.gpus_found if one != slot.device]
        if any(slot.spare.can_use(one) for one in others):
            return False
        caution = f"GPU found and not usable: {unfit.reason}; trains on the CPU"
        log.warning("%s: %s", slot.device, caution)
        self._caution = "; ".join(filter(None, [self._caution, caution]))
        slot.spare.move_to("cpu")
        slot.device = "cpu"
        slot.card = Card("cpu", slot.settings.cards_folder)
        return True

    def _is_slow(self, unfit: Unfit | None) -> None:
        if unfit is None:
            self._say(None, self._slot.spare.caution)
            return
        log.warning("%s: %s", self._slot.device, unfit.reason)
        self._say(unfit.reason)

    def _say(self, trouble: str | None, caution: str | None = None) -> None:
        cautions = "; ".join(filter(None, [self._caution, caution]))
        self._tell(Fitness(self._slot.device, trouble, cautions or None))

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._slot.stopping():
            time.sleep(LOOK_SECONDS)
