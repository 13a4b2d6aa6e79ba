"""Who a worker is: its name, and where it trains."""

import os
import socket
from dataclasses import dataclass

from app.devices import memory_of
from app.storage.tables import Worker, new_id, utc_now


@dataclass(frozen=True)
class Identity:
    """What this worker is called and where it trains."""

    id: str
    device: str
    threads: int
    is_first: bool

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
            started_at=now,
            seen_at=now,
        )


def identify(device: str, threads: int, slot: int) -> Identity:
    """A name that is unique and tells host and process."""
    return Identity(
        id=f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:6]}",
        device=device,
        threads=threads,
        is_first=slot == 0,
    )
