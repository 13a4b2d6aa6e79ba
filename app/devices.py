"""Devices of this machine: how many runs at a time, which worker trains where, and how much memory there is. Decided
without loading torch.
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import Misconfigured
from app.gpus import list_gpus, memory_of_gpu, visible_devices, visible_entries, visible_entry

CGROUP_LIMIT, CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
MEMORY_INFO = Path("/proc/meminfo")
MOST_WORKERS = 64
MOST_SLOTS = 4
"""Workers that are started without being asked for: more runs at a time than that leave little of a laptop to its
owner.
"""

BYTES_PER_SLOT = 2 * 2**30
"""A worker with its warm trainer takes 0.7 GiB before it has read an image."""
NAMED = re.compile(r"cpu|cuda(:\d+)?")
BY_UUID = re.compile(r"(?:cuda:)?((?:GPU|MIG)-[\w./-]+)")


@dataclass(frozen=True)
class Dealt:
    """What `LAB_DEVICES` comes to on this machine, the driver asked once. Whoever said `auto` may get the CPU where no
    GPU can be used; `caution` says what of that people should know.
    """

    devices: tuple[str, ...]
    is_auto: bool = False
    caution: str | None = None

    def line(self) -> str:
        """As one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> "Dealt":
        """Back from `line`."""
        fields = json.loads(line)
        return cls(tuple(fields["devices"]), fields["is_auto"], fields["caution"])

    def of_slot(self, slot: int) -> str:
        """The device that this slot gets, dealt out in turn."""
        return self.devices[slot % len(self.devices)]

    def of_slots(self, slots: int) -> list[str]:
        """The device of each slot."""
        return [self.of_slot(slot) for slot in range(slots)]

    @property
    def slots(self) -> int:
        """How many runs at a time this machine is good for: one per GPU listed or found, on the CPU `cpu_slots`."""
        return cpu_slots() if self.devices == ("cpu",) else len(self.devices)


def deal(devices: str) -> Dealt:
    """By `LAB_DEVICES`; `auto` asks the NVIDIA driver. Raises Misconfigured for what is no list of devices."""
    if devices.strip() == "auto":
        return _found()
    named = tuple(name.strip() for name in devices.split(",") if name.strip())
    dealt = tuple(
        f"cuda:{found[1]}" if (found := BY_UUID.fullmatch(name)) else name for name in named
    )
    if not dealt or not all(NAMED.fullmatch(name) or BY_UUID.fullmatch(name) for name in dealt):
        raise Misconfigured(
            f"LAB_DEVICES is {devices!r}; it must be 'auto', 'cpu', or a list such as 'cuda:0,cuda:1' or"
            " 'GPU-8f2c…,MIG-41d0…', with UUIDs as `nvidia-smi -L` shows them"
        )
    return Dealt(dealt)


def num_cores() -> int:
    """Cores that this process may use: those that it is bound to, and as many as its container's quota of time is
    worth.
    """
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_CPU.read_text().split()
        return max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):  # not in a container, or "max"
        return bound


def cpu_slots() -> int:
    """How many runs at a time the CPU is good for: one per core, as far as memory goes, at most 4."""
    memory = memory_of("cpu") or BYTES_PER_SLOT
    return max(1, min(num_cores(), MOST_SLOTS, memory // BYTES_PER_SLOT))


def visible_to_trainer(device: str) -> str:
    """The CUDA_VISIBLE_DEVICES of a trainer on this device, which then sees its own card alone, as `cuda:0`; on the CPU
    none. Raises NoSuchGpu.
    """
    return "" if device == "cpu" else visible_entry(device)


def free_memory_of(device: str) -> int | None:
    """Bytes of memory that a further run could have now; None when nobody says."""
    if device != "cpu":
        return memory_of_gpu(device, "free")
    try:
        available = next(
            int(line.split()[1]) * 1024
            for line in MEMORY_INFO.read_text().splitlines()
            if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):
        return None
    try:
        return min(available, int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text()))
    except (OSError, ValueError):  # not in a container, or "max"
        return available


def memory_of(device: str) -> int | None:
    """Bytes of memory that a trainer on this device can have at the very most; None when the driver does not say."""
    if device == "cpu":
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        try:
            limit = int(CGROUP_LIMIT.read_text())
        except (OSError, ValueError):  # not in a container, or "max"
            return physical
        return min(physical, limit)
    return memory_of_gpu(device, "total")


def _found() -> Dealt:
    listing = list_gpus()
    if listing.fault is not None:
        return Dealt(("cpu",), True, f"{listing.fault}; trains on the CPU")
    visible = tuple(visible_devices(listing))
    if listing.gpus and not visible and (entries := visible_entries()):
        said = f"CUDA_VISIBLE_DEVICES={','.join(entries)} names none of the {len(listing.gpus)} GPUs of nvidia-smi"
        return Dealt(("cpu",), True, f"{said}; trains on the CPU")
    return Dealt(visible or ("cpu",), True)
