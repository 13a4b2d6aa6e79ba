"""What a card does in this process: everything trains on it, with the same bits each time, and what a step takes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from benchmarks.gpu.checks import Check, Setting, holds, info
from lab_models.running import preparing
from lab_models.training.protocol import Order
from tests.gpus.cases import CASES, Case
from tests.gpus.comparing import founded, order_of
from tests.lab_models.conftest import train, weight_hashes

FEW = ("mlp with everything", "memory-mapped images", "hints")
EPOCHS = 6
"""Of five steps each."""
NEIGHBOR = "import torch; a = torch.rand(4096, 4096, device='{device}')\nwhile True: a = (a @ a).clamp(0, 1)"


def everything_trains(setting: Setting) -> Iterator[Check]:
    """G5: every architecture, augmentation and objective, 30 steps, and an error where torch has no deterministic
    form.
    """
    _found(setting)
    for case in _cases(setting):
        try:
            with _loud():
                train(_order(setting, case, "once"))
        except RuntimeError as error:
            yield holds(case.name, False, str(error).splitlines()[0], "trains")
        else:
            yield holds(case.name, True, "trains", "trains")


def same_bits(setting: Setting) -> Iterator[Check]:
    """G6: each of them twice, and once beside three programs that load the card."""
    _found(setting)
    cases = [case for case in _cases(setting) if case.spec.get("strategy") != "features"]
    hashes = {case.name: _hashes(setting, case, "once") for case in cases}
    for case in cases:
        again = _hashes(setting, case, "again")
        yield holds(case.name, again == hashes[case.name], "twice", "equal SHA-256")
    if setting.is_pretend:
        yield info("under load", "a pretend card has no neighbors")
        return
    with _neighbors(setting.device):
        for case in cases:
            beside = _hashes(setting, case, "beside")
            yield holds(case.name, beside == hashes[case.name], "under load", "equal SHA-256")


def lanes(setting: Setting) -> Iterator[Check]:
    """G9: whether one of eight stacked products has the same bits whatever stands in the others."""
    generator = torch.Generator().manual_seed(0)
    left, right, bias = (
        torch.randn(8, *shape, generator=generator) for shape in ((128, 512), (512, 512), (1, 512))
    )
    changed = torch.full_like(left, 3.0)
    changed[2] = left[2]
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        first, second = (
            torch.baddbmm(*(one.to(setting.device) for one in (bias, lanes, right)))[2].cpu()
            for lanes in (left, changed)
        )
        yield info(f"lanes, precision {precision}", f"equal bits: {torch.equal(first, second)}")


def _cases(setting: Setting) -> list[Case]:
    return [case for case in CASES if not setting.is_short or case.name in FEW]


def _found(setting: Setting) -> None:
    """What others build on, trained on the CPU."""
    case = next(case for case in CASES if case.name == "cnn").document()
    founded(setting.folder, case, order_of(setting.folder, case, "cpu"))


def _order(setting: Setting, case: Case, folder: str) -> Order:
    document = case.document()
    document["spec"]["epochs"] = setting.sized(EPOCHS, 1)
    order = order_of(setting.folder, document, setting.device)
    return order.model_copy(update={"run_folder": order.run_folder.with_name(folder)})


def _hashes(setting: Setting, case: Case, folder: str) -> dict[str, str]:
    order = _order(setting, case, folder)
    with mock.patch.object(preparing, "resident_bytes", return_value=case.resident_bytes):
        train(order)
    return weight_hashes(order)


@contextmanager
def _loud() -> Iterator[None]:
    """What has no deterministic form is an error, and not a warning."""
    told = torch.use_deterministic_algorithms

    def loud(mode: bool, **_: bool) -> None:
        told(mode)

    with mock.patch.object(torch, "use_deterministic_algorithms", loud):
        yield


@contextmanager
def _neighbors(device: str) -> Iterator[None]:
    running = [
        subprocess.Popen([sys.executable, "-c", NEIGHBOR.format(device=device)]) for _ in range(3)
    ]
    try:
        time.sleep(5)  # until they have loaded torch
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
