"""Which device a worker trains on, decided without loading torch."""

import re
import subprocess

from app.errors import Misconfigured

NAMED = re.compile(r"cpu|cuda(:\d+)?")


def device_of_slot(devices: str, slot: int) -> str:
    """The device of `LAB_DEVICES` that this slot gets, dealt out in turn; `auto` asks the NVIDIA driver."""
    listed = _visible() if devices.strip() == "auto" else [name.strip() for name in devices.split(",") if name.strip()]
    if not listed or not all(NAMED.fullmatch(name) for name in listed):
        raise Misconfigured(f"LAB_DEVICES is {devices!r}; it must be 'auto', 'cpu', or a list such as 'cuda:0,cuda:1'")
    return listed[slot % len(listed)]


def _visible() -> list[str]:
    try:
        answer = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return ["cpu"]
    found = [line for line in answer.stdout.splitlines() if line.startswith("GPU ")]
    return [f"cuda:{number}" for number in range(len(found))] or ["cpu"]
