"""Devices of this machine: how many runs at a time, which worker trains where, and how much memory there is. Decided
without loading torch.
"""

import os
import re
import subprocess
from pathlib import Path

from app.errors import Misconfigured

CGROUP_LIMIT, CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
MEMORY_INFO = Path("/proc/meminfo")
MOST_WORKERS = 64
MOST_SLOTS = 4
"""Workers that are started without being asked for: more runs at a time than that leave little of a laptop to its
owner.
"""

BYTES_PER_SLOT = 2 * 2**30
"""A worker with its warm trainer takes 0.7 GiB before it has read an image."""
NAMED = re.compile(r"cpu|cuda(:\d+)?")


def device_of_slot(devices: str, slot: int) -> str:
    """The device of `LAB_DEVICES` that this slot gets, dealt out in turn; `auto` asks the NVIDIA driver."""
    listed = _listed(devices)
    return listed[slot % len(listed)]


def devices_of(devices: str, slots: int) -> list[str]:
    """The device of each slot, the driver asked once."""
    listed = _listed(devices)
    return [listed[slot % len(listed)] for slot in range(slots)]


def slots_of(devices: str) -> int:
    """How many runs at a time this machine is good for: one per GPU listed or found; on the CPU one per core, as far as
    memory goes, at most 4.
    """
    listed = _listed(devices)
    if listed != ["cpu"]:
        return len(listed)
    memory = memory_of("cpu") or BYTES_PER_SLOT
    return max(1, min(os.cpu_count() or 1, MOST_SLOTS, memory // BYTES_PER_SLOT))


def free_memory_of(device: str) -> int | None:
    """Bytes of memory that a further run could have now; None when nobody says."""
    if device != "cpu":
        free = _nvidia_smi("--query-gpu=memory.free", "--format=csv,noheader,nounits")
        return _mebibytes(free, device)
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
    return _mebibytes(
        _nvidia_smi("--query-gpu=memory.total", "--format=csv,noheader,nounits"), device
    )


def _listed(devices: str) -> list[str]:
    listed = (
        _visible()
        if devices.strip() == "auto"
        else [name.strip() for name in devices.split(",") if name.strip()]
    )
    if not listed or not all(NAMED.fullmatch(name) for name in listed):
        raise Misconfigured(
            f"LAB_DEVICES is {devices!r}; it must be 'auto', 'cpu', or a list such as 'cuda:0,cuda:1'"
        )
    return listed


def _mebibytes(lines: list[str], device: str) -> int | None:
    """The driver's number for a device, in bytes."""
    number = int(device.partition(":")[2] or 0)
    return (
        int(lines[number]) * 2**20
        if number < len(lines) and lines[number].strip().isdigit()
        else None
    )


def _visible() -> list[str]:
    found = [line for line in _nvidia_smi("--list-gpus") if line.startswith("GPU ")]
    return [f"cuda:{number}" for number in range(len(found))] or ["cpu"]


def _nvidia_smi(*arguments: str) -> list[str]:
    """Its answer's lines; none where there is no NVIDIA driver."""
    try:
        answer = subprocess.run(  # noqa: S603
            ["nvidia-smi", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.splitlines()
