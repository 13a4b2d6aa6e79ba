"""Where attempts run: what a worker gives each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.services.lifecycle import Lease
from app.settings import Settings
from app.storage.db import Database
from worker.card import Card
from worker.spare import Spare


@dataclass
class Slot:
    """Where an attempt runs: a worker's identity, its device, and the flag that asks it to stop.

    The first slot of a machine takes any run, so that all are taken; the others only what fits into the memory that is
    free. `threads` is how many cores each run of convolutions has for sure, `cores` how many one that is alone may
    take. `owed` is the lease of a run that was left while the database was out of reach, and that is given back before
    another is claimed. `until_fit` waits until the device can be trained on, False if that is for nothing; `look_again`
    says that it could not, and answers whether somebody tries on. With `keeps_spare` the next trainer is warmed up
    while one trains. `sharers` are the workers of this machine on its device, it among them, of which one is the first.
    """

    worker_id: str
    device: str
    threads: int
    settings: Settings
    database: Database
    stopping: Callable[[], bool]
    is_first: bool = True
    cores: int = 1
    owed: Lease | None = None
    until_fit: Callable[[], bool] = lambda: True
    look_again: Callable[[], bool] = lambda: False
    keeps_spare: bool = True
    sharers: int = 1
    is_first_on_device: bool = True
    card: Card = field(init=False)
    spare: Spare = field(init=False)

    def __post_init__(self) -> None:
        self.card = Card(
            self.device,
            self.settings.cards_folder,
            self.sharers,
            is_first=self.is_first_on_device,
        )
        self.spare = Spare(self.device, self.threads, self.settings.trainer_niceness)
