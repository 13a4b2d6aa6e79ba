"""Who a worker is: its name, and where it trains."""

import os
import socket
from dataclasses import dataclass

from app.devices import memory_of
from app.storage.tables import Worker, new_id, utc_now
from lab_models.common.revision import torch_version


@dataclass(frozen=True)
class Identity:
    """What this worker is called and where it trains."""

    id: str
    device: str
    threads: int
    is_first: bool
    threads_are_set: bool = False

    def row(self) -> Worker:
        """What the database is told when the worker signs on, from the process that does."""
        now = utc_now()
        return Worker(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self.device,
            threads=self.threads,
            memory_bytes=memory_of(self.device),
            torch=torch_version(),
            threads_are_set=self.threads_are_set,
            started_at=now,
            seen_at=now,
        )


def identify(device: str, threads: int, slot: int, *, threads_are_set: bool = False) -> Identity:
    """A name that is unique and tells host and process; `threads_are_set` where each run gets all of them."""
    return Identity(
        id=f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:6]}",
        device=device,
        threads=threads,
        is_first=slot == 0,
        threads_are_set=threads_are_set,
    )
