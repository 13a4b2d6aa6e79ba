"""Which device a worker trains on, decided without loading torch."""

import os
import re
import subprocess
from pathlib import Path

from app.errors import Misconfigured

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
NAMED = re.compile(r"cpu|cuda(:\d+)?")


def device_of_slot(devices: str, slot: int) -> str:
    """The device of `LAB_DEVICES` that this slot gets, dealt out in turn; `auto` asks the NVIDIA driver."""
    listed = _visible() if devices.strip() == "auto" else [name.strip() for name in devices.split(",") if name.strip()]
    if not listed or not all(NAMED.fullmatch(name) for name in listed):
        raise Misconfigured(f"LAB_DEVICES is {devices!r}; it must be 'auto', 'cpu', or a list such as 'cuda:0,cuda:1'")
    return listed[slot % len(listed)]


def memory_of(device: str) -> int | None:
    """Bytes of memory that a trainer on this device can have at the very most; None when the driver does not say."""
    if device == "cpu":
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        try:
            limit = int(CGROUP_LIMIT.read_text())
        except (OSError, ValueError):  # not in a container, or "max"
            return physical
        return min(physical, limit)
    number = int(device.partition(":")[2] or 0)
    mebibytes = _nvidia_smi("--query-gpu=memory.total", "--format=csv,noheader,nounits")
    return int(mebibytes[number]) * 2**20 if number < len(mebibytes) and mebibytes[number].strip().isdigit() else None


def _visible() -> list[str]:
    found = [line for line in _nvidia_smi("--list-gpus") if line.startswith("GPU ")]
    return [f"cuda:{number}" for number in range(len(found))] or ["cpu"]


def _nvidia_smi(*arguments: str) -> list[str]:
    """Its answer's lines; none where there is no NVIDIA driver."""
    try:
        answer = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.splitlines()
