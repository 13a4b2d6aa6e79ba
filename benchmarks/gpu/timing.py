"""What a step takes on a card, how far from what the card could do, and whether a record's seconds are the card's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from benchmarks.gpu.checks import Check, Setting, below, info
from lab_models.datasets.catalog import CIFAR10
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running import preparing
from lab_models.running.environment import make_deterministic
from lab_models.running.preparing import PreparedRun
from lab_models.specs import AnySpec
from lab_models.training.fitting import EpochEnded, Stepped, fit
from lab_models.training.precision import forward_context, multiplied_in
from tests.lab_models.conftest import order_in

SLOWER_THAN_FLOOR = 1.15
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "MLP 4x512": ({"depth": 4, "width": 512}, 128),
    "student": ({"preset": "student"}, 128),
    "ResNet-18": ({"arch": "resnet18"}, 128),
    "ResNet-18 in large batches": ({"arch": "resnet18"}, 512),
}
PRECISIONS = ("float32", "tf32", "bfloat16")
IN_TF32 = ("MLP 4x512", "ResNet-18")
MANY_ROWS = 512
"""Of steps that take tens of milliseconds fewer are enough."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds a step: of the training loop, of the bare network on one batch that stands still, and of a CUDA graph of
    that, which no launch holds up; why there is no graph where there is none.
    """

    loop: float
    bare: float
    graph: float | None
    fault: str = ""


def step_time(setting: Setting) -> Iterator[Check]:
    """G2: a step of the training loop, against the bare network on one batch that stands still, launched kernel by
    kernel and as one CUDA graph; and whether an epoch's seconds are what the card has worked (G10).
    """
    for name, (network, batch) in NETWORKS.items():
        for precision in PRECISIONS:
            if precision == "tf32" and name not in IN_TF32:
                continue
            rows = setting.sized(batch, 8)
            found = _step_times(setting, network, rows, precision)
            called = f"{name}, {rows} images, {precision}"
            yield info(
                f"{called}: a step",
                f"{found.loop * 1000:.3g} ms, {rows / found.loop:,.0f} images/s",
            )
            yield info(f"{called}: bare", f"{found.bare * 1000:.3g} ms")
            share = found.loop / found.bare
            yield below(f"{called}: share", share, SLOWER_THAN_FLOOR, setting, "times bare")
            yield _floor(called, found)
            if setting.is_short:
                break
        if setting.is_short:
            break
    yield from _by_events(setting)


def _floor(called: str, found: StepTimes) -> Check:
    if found.graph is None:
        return info(f"{called}: graph", f"none: {found.fault}")
    gain = f", {found.loop / found.graph:.2f} times as fast as the loop" if found.graph else ""
    return info(f"{called}: graph", f"{found.graph * 1000:.3g} ms{gain}")


def _step_times(setting: Setting, network: dict[str, Any], rows: int, precision: str) -> StepTimes:
    steps = setting.sized(200 if rows < MANY_ROWS else 50, 3)
    warm = setting.sized(20, 2)
    spec, prepared = _prepared(setting, network, rows, precision)
    state, train_split = prepared.state, prepared.splits.train
    done, began = 0, 0.0
    for event in fit(state, spec, 0, train_split, prepared.splits.val):
        done += isinstance(event, Stepped)
        if done == warm and began == 0.0:
            began = _now()
        if done == warm + steps:
            break
    loop = (_now() - began) / steps
    batch = train_split.batch(torch.arange(rows, device=train_split.images.device))
    forward = forward_context(precision, state.device)

    def step() -> None:
        state.optimizer.zero_grad(set_to_none=True)
        with multiplied_in(precision, state.device):
            with forward():
                loss = functional.cross_entropy(state.model(batch.images).float(), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()

    bare = _timed(step, warm, steps)
    try:
        return StepTimes(loop, bare, _timed(_captured(step), warm, steps))
    except RuntimeError as error:
        return StepTimes(loop, bare, None, str(error).splitlines()[0])


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """The same as one launch: https://pytorch.org/docs/stable/notes/cuda.html#whole-network-capture."""
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _timed(step: Callable[[], None], warm: int, steps: int) -> float:
    for _ in range(warm):
        step()
    began = _now()
    for _ in range(steps):
        step()
    return (_now() - began) / steps


def _by_events(setting: Setting) -> Iterator[Check]:
    """G10, of a process that can ask the card: an epoch's seconds by its record, and by events on the card's stream."""
    spec, prepared = _prepared(
        setting,
        *NETWORKS["ResNet-18 in large batches" if not setting.is_short else "student"],
        "bfloat16",
    )
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    said, took = 0.0, 0.0
    began.record()
    for event in fit(prepared.state, spec, 0, prepared.splits.train, prepared.splits.val):
        match event:
            case Stepped(step=step, num_steps=num_steps) if step == num_steps:
                ended.record()
            case EpochEnded():
                ended.synchronize()
                said, took = event.metrics["train"]["seconds"], began.elapsed_time(ended) / 1000
                if event.epoch == 2:
                    break
                began.record()
    yield info("an epoch, by its record and by CUDA events", f"{said:.3g} s, {took:.3g} s")
    yield below("seconds of a record, off by", 100 * abs(said / took - 1), 5, setting, "%")


def _prepared(
    setting: Setting, network: dict[str, Any], rows: int, precision: str
) -> tuple[AnySpec, PreparedRun]:
    """All that a run of it has before its first step, on noise."""
    spec = {
        "dataset": "cifar10",
        "model": network,
        "batch_size": setting.sized(rows, 8),
        "epochs": 1000,
        "precision": precision,
        "optimizer": {"name": "sgd", "learning_rate": 0.001, "momentum": 0.9},
    }
    order = order_in(
        setting.folder, spec, run_folder=str(setting.folder / "run"), device=setting.device
    )
    make_deterministic(1)
    with mock.patch.object(preparing, "_opened", return_value=_noise(setting)):
        return order.spec, preparing.prepare(order)


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
