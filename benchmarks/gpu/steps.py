"""What a card does in this process: everything trains on it, with the same bits each time, and what a step takes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from benchmarks.gpu.checks import Check, Setting, below, holds, info
from lab_models.datasets.catalog import CIFAR10
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running import preparing
from lab_models.running.environment import make_deterministic
from lab_models.training.fitting import Stepped, fit
from lab_models.training.precision import forward_context
from lab_models.training.protocol import Order
from tests.gpus.cases import CASES, Case
from tests.gpus.comparing import founded, order_of
from tests.lab_models.conftest import order_in, train, weight_hashes

FEW = ("mlp with everything", "memory-mapped images", "hints")
EPOCHS = 6
"""Of five steps each."""
SLOWER_THAN_FLOOR = 1.15
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "MLP 4x512": ({"depth": 4, "width": 512}, 128),
    "student": ({"preset": "student"}, 128),
    "ResNet-18": ({"arch": "resnet18"}, 128),
    "ResNet-18 in large batches": ({"arch": "resnet18"}, 512),
}
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


def step_time(setting: Setting) -> Iterator[Check]:
    """G2: a step of the training loop, against the bare network on one batch that stands still."""
    for name, (network, batch) in NETWORKS.items():
        for precision in ("float32", "bfloat16"):
            rows = setting.sized(batch, 8)
            loop, floor = _loop_and_floor(setting, network, rows, precision)
            called = f"{name}, {rows} images, {precision}"
            yield info(f"{called}: a step", f"{loop * 1000:.3g} ms, {rows / loop:,.0f} images/s")
            yield info(f"{called}: bare", f"{floor * 1000:.3g} ms")
            yield below(f"{called}: share", loop / floor, SLOWER_THAN_FLOOR, setting, "times bare")
            if setting.is_short:
                break
        if setting.is_short:
            break


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
    splits = partial(preparing.device_splits, **case.splits)
    with mock.patch.object(preparing, "device_splits", splits):
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


def _loop_and_floor(
    setting: Setting, network: dict[str, Any], rows: int, precision: str
) -> tuple[float, float]:
    """Seconds a step."""
    steps, warm = setting.sized(200, 3), setting.sized(20, 2)
    spec = {
        "dataset": "cifar10",
        "model": network,
        "batch_size": rows,
        "epochs": 1000,
        "precision": precision,
        "optimizer": {"name": "sgd", "learning_rate": 0.001, "momentum": 0.9},
    }
    order = order_in(
        setting.folder, spec, run_folder=str(setting.folder / "run"), device=setting.device
    )
    make_deterministic(1)
    with mock.patch.object(preparing, "_opened", return_value=_noise(setting)):
        prepared = preparing.prepare(order)
    state, train_split = prepared.state, prepared.splits.train
    done, began = 0, 0.0
    for event in fit(state, order.spec, 0, train_split, prepared.splits.val):
        done += isinstance(event, Stepped)
        if done == warm and began == 0.0:
            began = _now()
        if done == warm + steps:
            break
    loop = (_now() - began) / steps
    batch = train_split.batch(torch.arange(rows, device=train_split.images.device))
    forward = forward_context(precision, state.device)
    for step in range(warm + steps):
        if step == warm:
            began = _now()
        with forward():
            loss = functional.cross_entropy(state.model(batch.images).float(), batch.labels)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
    return loop, (_now() - began) / steps


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _noise(setting: Setting) -> PreparedDataset:
    """As large as CIFAR-10's images, of which no files are needed."""
    generator = np.random.default_rng(0)
    train_images, test_images = (
        generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        for count in (setting.sized(20_000, 200), 100)
    )
    train_labels, test_labels = (
        np.arange(len(images), dtype=np.int64) % 10 for images in (train_images, test_images)
    )
    return PreparedDataset(CIFAR10, "noise", train_images, train_labels, test_images, test_labels)
