"""Who a worker is: its name, and where it trains."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime

from app.devices import memory_of
from app.storage.tables import Worker, new_id, utc_now
from lab_models.common.revision import torch_version


@dataclass(frozen=True)
class Identity:
    """What this worker is called and where it trains, with how many threads a run for sure, and `cores` for one that is
    alone. `gpus_found` are the machine's where nobody named a device, else none; `caution` is what was noticed when
    they were listed. `sharers` are this machine's workers on its device.
    """

    id: str
    device: str
    threads: int
    is_first: bool
    threads_are_set: bool = False
    slot: int = 0
    gpus_found: tuple[str, ...] = ()
    caution: str | None = None
    cores: int = 1
    sharers: int = 1
    is_first_on_device: bool = True

    def row(
        self, device: str, trouble: str | None, caution: str | None, started_at: datetime
    ) -> Worker:
        """What the database is told of the worker, from the process that signs on."""
        return Worker(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device,
            threads=self.threads,
            memory_bytes=memory_of(device),
            torch=torch_version(),
            threads_are_set=self.threads_are_set,
            cores=self.cores,
            trouble=trouble,
            caution=caution,
            started_at=started_at,
            seen_at=utc_now(),
        )


def identify(
    device: str,
    threads: int,
    slot: int,
    *,
    threads_are_set: bool = False,
    gpus_found: tuple[str, ...] = (),
    caution: str | None = None,
    cores: int | None = None,
    on_device: tuple[int, ...] = (),
) -> Identity:
    """A name that is unique and tells host and process; `threads_are_set` where each run gets all of them; `on_device`
    are the slots that train on its device.
    """
    return Identity(
        id=f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:6]}",
        device=device,
        threads=threads,
        is_first=slot == 0,
        threads_are_set=threads_are_set,
        slot=slot,
        gpus_found=gpus_found,
        caution=caution,
        cores=cores or threads,
        sharers=max(1, len(on_device)),
        is_first_on_device=slot == min(on_device, default=slot),
    )
