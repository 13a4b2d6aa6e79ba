"""Memory that is too little: a card that others fill, and several runs that share one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.devices import free_memory_of
from benchmarks.gpu.checks import Check, Setting, holds, info
from benchmarks.gpu.serving import MLP, RESNET, serving
from tests.e2e.service import Service, wait_until

FILLING = """
import sys, time, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(max(free - (1 << 30), 0), dtype=torch.uint8, device=sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""
LARGE = {
    "dataset": "digits",
    "model": {"arch": "resnet18", "image_size": 96},
    "batch_size": 1150,
    "epochs": 1,
}
"""Tens of GB of activations: more than a quarter of most cards."""
AT_ONCE = 4
GIVEN_BACK_SECONDS, GIVEN_BACK_BYTES = 5.0, 50 * 2**20


def memory(setting: Setting) -> Iterator[Check]:
    """G8: runs that do not fit, on a card that another program fills and on one that they share."""
    before = free_memory_of(setting.device)
    if setting.is_pretend:
        yield info("a full card", "a pretend card has no memory")
    else:
        with _filled(setting), serving(setting, workers=1, name="full") as service:
            yield from _on_a_full_card(service)
    with serving(setting, AT_ONCE, name="shared") as service:
        yield from _at_once(setting, service)
    if before is None:
        return
    deadline = time.monotonic() + GIVEN_BACK_SECONDS
    while (left := before - (free_memory_of(setting.device) or 0)) > GIVEN_BACK_BYTES:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    is_back = left <= GIVEN_BACK_BYTES
    yield holds("memory given back", is_back, f"{left / 1e6:.0f} MB less", "at most 50 MB in 5 s")


@contextmanager
def _filled(setting: Setting) -> Iterator[None]:
    filler = subprocess.Popen(
        [sys.executable, "-c", FILLING, setting.device], stdout=subprocess.PIPE, text=True
    )
    try:
        assert filler.stdout is not None
        filler.stdout.readline()
        yield
    finally:
        filler.kill()
        filler.wait()


def _on_a_full_card(service: Service) -> Iterator[Check]:
    for policy, expected in (("fail", "failed"), ("halve_batch", "succeeded")):
        experiment = service.submit({**LARGE, "on_out_of_memory": policy})
        status, code = _ended(service, experiment)
        is_so = status == expected and code != "internal"
        yield holds(f"on_out_of_memory {policy}", is_so, f"{status}, code {code}", expected)
    service.wait_for(service.submit(MLP), "succeeded")
    yield holds("a small run after them", True, "succeeded", "succeeded")


def _at_once(setting: Setting, service: Service) -> Iterator[Check]:
    """As many as there are workers, of which not all fit beside each other: none fails for its neighbors."""
    spec = MLP if setting.is_pretend else LARGE
    status, code = _ended(service, service.submit({**spec, "seeds": AT_ONCE}), 120)
    said = f"{status}, code {code}"
    yield holds(f"{AT_ONCE} at once that fill it", status == "succeeded", said, "succeeded")
    small = {**(MLP if setting.is_pretend else RESNET), "seeds": AT_ONCE, "epochs": 1}
    status, code = _ended(service, service.submit(small), 120)
    said = f"{status}, code {code}"
    yield holds(f"{AT_ONCE} small ones at once", status == "succeeded", said, "succeeded")


def _ended(service: Service, experiment: dict[str, Any], seconds: float = 60) -> tuple[str, str]:
    """Its status, and the code of its first error."""
    record = wait_until(
        lambda: (r := service.record(experiment))["is_terminal"] and r,
        seconds,
        f"a run has ended; {service.read_log()}",
    )
    return record["status"], (record.get("error") or {}).get("code", "none")
