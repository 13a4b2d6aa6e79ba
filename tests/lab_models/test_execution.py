"""An attempt from order to test scores: its events, its files, its bits, and how each way to fail is named."""

import errno
import hashlib
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lab_models.architectures.build import build_model
from lab_models.architectures.sizes import model_size
from lab_models.common.errors import DatasetUnavailable, Diverged, OutOfMemory, StorageFull
from lab_models.datasets.batches import device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running import preparing
from lab_models.running.environment import resolve_device
from lab_models.running.execution import Execution
from lab_models.specs import MLPSpec, fingerprint
from lab_models.training.evaluation import evaluate
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Order,
    Progress,
    Started,
    read_event,
    to_line,
)
from tests.lab_models.conftest import (
    TINY,
    OrderMaker,
    files_below,
    of_kind,
    scores_of,
    train,
    weight_hashes,
)

OVERFITTING = {
    "dataset": {"train_limit": 50},
    "model": {"depth": 1, "width": 32},
    "optimizer": {"learning_rate": 0.05},
    "batch_size": 10,
    "epochs": 20,
}


def test_a_small_net_learns_digits_and_tells_of_it_in_order(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    spec = {
        "model": {"depth": 1, "width": 64},
        "optimizer": {"learning_rate": 0.005},
        "batch_size": 32,
        "epochs": 6,
    }
    order = make_order(spec)
    started, *middle, completed = train(order)

    assert isinstance(started, Started)
    assert (started.resumed_from, started.notes) == (None, ())
    assert started.environment["dataset_sha256"] == digits.sha256
    assert started.environment["threads"] == 1
    assert started.environment["device"].startswith("cpu: ")
    assert started.environment["torch"] == torch.__version__

    assert isinstance(middle[0], Progress)
    assert (middle[0].epoch, middle[0].step, middle[0].num_steps) == (1, 1, 36)
    epochs = of_kind(EpochCompleted, middle)
    assert [event.epoch for event in epochs] == [1, 2, 3, 4, 5, 6]
    assert [(event.checkpoint.epoch, event.checkpoint.step) for event in epochs] == [
        (epoch, 0) for epoch in range(1, 7)
    ]
    places = [
        (event.epoch, event.step if isinstance(event, Progress) else event.epoch * 1000)
        for event in middle
    ]
    assert places == sorted(places)

    assert isinstance(completed, Completed)
    assert completed.test["accuracy"] > 0.9
    losses = [event.metrics["val"]["loss"] for event in epochs]
    assert completed.best_val["loss"] == min(losses)
    assert completed.best_epoch == losses.index(min(losses)) + 1


def test_everything_said_survives_its_line(make_order: OrderMaker) -> None:
    for event in train(make_order(TINY, checkpoint_seconds=0.0)):
        assert read_event(to_line(event)) == event


def test_the_published_files_are_those_that_the_events_name(make_order: OrderMaker) -> None:
    order = make_order(TINY, attempt=3)
    events = train(order)
    folder = Path(order.run_folder)
    named = [
        *events[-1].artifacts,
        *(event.checkpoint for event in of_kind(EpochCompleted, events)),
    ]
    assert sorted(file.path for file in named) == files_below(folder)
    assert all(file.path.startswith("attempt-3/") for file in named)
    for file in named:
        content = (folder / file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.size_bytes)
    assert [file.name for file in events[-1].artifacts] == [
        "weights.safetensors",
        "weights-last.safetensors",
        "spec.json",
        "evaluation.json",
        "predictions.safetensors",
    ]
    document = json.loads((folder / "attempt-3" / "spec.json").read_bytes())
    assert document == {
        "fingerprint": fingerprint(order.spec),
        "seed": 0,
        "spec": order.spec.model_dump(mode="json"),
    }


def test_the_best_epoch_is_the_one_of_lowest_val_loss_and_its_weights_are_the_ones_tested(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order(OVERFITTING)
    events = train(order)
    completed = events[-1]
    losses = [event.metrics["val"]["loss"] for event in of_kind(EpochCompleted, events)]
    assert completed.best_epoch == losses.index(min(losses)) + 1
    assert 1 < completed.best_epoch < 20, "the setting must overfit, or best and last are one"

    model = build_model(order.spec.model, digits.info.shape, 10, seed=99)
    splits = device_splits(digits, order.spec.dataset, torch.device("cpu"))
    folder = Path(order.run_folder) / "attempt-1"
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    tested, chosen = evaluate(model, splits.test), evaluate(model, splits.val)
    assert completed.test["accuracy"] == tested.accuracy
    assert completed.test["loss"] == pytest.approx(tested.loss, rel=1e-6)
    assert completed.best_val == {"loss": chosen.loss, "accuracy": chosen.accuracy}
    model.load_state_dict(load_file(folder / "weights-last.safetensors"))
    assert evaluate(model, splits.test) != tested
    assert evaluate(model, splits.val).loss == losses[-1]


def test_published_weights_have_the_size_of_the_closed_form(make_order: OrderMaker) -> None:
    order = make_order(TINY)
    train(order)
    weights = load_file(Path(order.run_folder) / "attempt-1" / "weights.safetensors")
    assert (
        sum(tensor.numel() for tensor in weights.values())
        == model_size(MLPSpec(depth=2, width=16), (1, 8, 8), 10).parameters
    )


def test_equal_seeds_give_equal_bits_and_other_seeds_others(
    make_order: OrderMaker, tmp_path: Path
) -> None:
    spec = TINY | {"model": {"depth": 2, "width": 16, "norm": "batch", "dropout": 0.2}}
    hashes, scores = [], []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(hashes))  # what was random before must not matter
        order = make_order(spec, seed=seed, run_folder=str(tmp_path / place))
        scores.append(scores_of(train(order)))
        hashes.append(weight_hashes(order))
    assert hashes[0] == hashes[1]
    assert scores[0] == scores[1]
    assert hashes[0]["weights.safetensors"] != hashes[2]["weights.safetensors"]
    assert hashes[0]["weights-last.safetensors"] != hashes[2]["weights-last.safetensors"]


def test_checkpoints_within_an_epoch_come_by_the_clock_alone(
    make_order: OrderMaker, tmp_path: Path
) -> None:
    always = of_kind(
        Checkpointed,
        train(make_order(TINY, checkpoint_seconds=0.0, run_folder=str(tmp_path / "always"))),
    )
    assert [(event.checkpoint.epoch, event.checkpoint.step) for event in always] == [
        (epoch, step) for epoch in range(3) for step in range(1, 6)
    ]
    assert not any(event.stopped for event in always)
    assert of_kind(Checkpointed, train(make_order(TINY, run_folder=str(tmp_path / "never")))) == []


def test_saving_often_changes_no_bit(make_order: OrderMaker, tmp_path: Path) -> None:
    often, seldom = (
        make_order(TINY, checkpoint_seconds=0.0, run_folder=str(tmp_path / "often")),
        make_order(TINY, run_folder=str(tmp_path / "seldom")),
    )
    assert scores_of(train(often)) == scores_of(train(seldom))
    assert weight_hashes(often) == weight_hashes(seldom)


def test_divergence_names_epoch_and_learning_rate(make_order: OrderMaker) -> None:
    with pytest.raises(Diverged, match=r"epoch 1, learning rate 1e\+06"):
        train(make_order(TINY | {"optimizer": {"name": "sgd", "learning_rate": 1e6}}))


def test_a_missing_data_set_is_said_before_anything_is_written(
    make_order: OrderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    order = make_order(
        TINY | {"dataset": "mnist"},
        folders={"prepared": tmp_path / "p", "download": tmp_path / "d"},
    )
    with pytest.raises(DatasetUnavailable):
        next(Execution(order).events())
    assert not Path(order.run_folder).exists()


def test_too_little_memory_is_called_so(
    make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "build_model", lambda *_: torch.empty(1 << 56))
    with pytest.raises(OutOfMemory) as caught:
        train(make_order(TINY))
    assert caught.value.code == "out_of_memory"
    assert "batch_size" in (caught.value.hint or "")


def test_an_error_that_is_no_shortage_stays_what_it_is(
    make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake in the code")

    monkeypatch.setattr(preparing, "build_model", broken)
    with pytest.raises(RuntimeError, match="a mistake in the code"):
        train(make_order(TINY))


@contextmanager
def small_files_only() -> Iterator[None]:
    """The kernel refuses to let this process write a file past 4 KiB, as a full disk would; pytest's own output too, so
    keep it short.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_storage_full(order: Order) -> None:
    with pytest.raises(StorageFull) as caught:
        train(order)
    assert caught.value.code == "storage_full"
    assert "free disk space" in (caught.value.hint or "")


def test_a_file_that_does_not_fit_leaves_nothing_behind(make_order: OrderMaker) -> None:
    order = make_order(TINY)
    with small_files_only():
        assert_storage_full(order)
    assert files_below(Path(order.run_folder)) == []


@pytest.mark.parametrize(
    ("writes_before", "left"),
    [
        (0, []),
        (1, ["attempt-1/checkpoint-00001-000000.pt"]),
        (
            4,
            [
                *(f"attempt-1/checkpoint-0000{epoch}-000000.pt" for epoch in (1, 2, 3)),
                "attempt-1/weights-last.safetensors",
            ],
        ),
    ],
)
def test_a_disk_that_fills_up_leaves_what_was_whole(
    writes_before: int, left: list[str], make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, written = os.fsync, 0

    def full_after_a_while(descriptor: int) -> None:
        nonlocal written
        if Path(f"/proc/self/fd/{descriptor}").is_file():
            if written == writes_before:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += 1
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_a_while)
    order = make_order(TINY)
    assert_storage_full(order)
    assert files_below(Path(order.run_folder)) == left


@pytest.mark.parametrize(
    ("asked_before", "left"),
    [
        (0, []),
        (2, ["attempt-1/checkpoint-00001-000000.pt", "attempt-1/checkpoint-00002-000000.pt"]),
        (
            4,
            [
                *(f"attempt-1/checkpoint-0000{epoch}-000000.pt" for epoch in (1, 2, 3)),
                "attempt-1/weights-last.safetensors",
            ],
        ),
    ],
)
def test_a_disk_that_is_low_takes_no_checkpoint_and_no_weights(
    asked_before: int,
    left: list[str],
    make_order: OrderMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order says how much is to stay free, and it is asked before each file; the data set is prepared already."""
    train(make_order(TINY, run_folder=str(tmp_path / "before")))
    asked = 0

    def less_after_a_while(_: Path) -> SimpleNamespace:
        nonlocal asked
        asked += 1
        return SimpleNamespace(free=10**9 if asked <= asked_before else 10**6)

    monkeypatch.setattr(shutil, "disk_usage", less_after_a_while)
    order = make_order(TINY, min_free_bytes=10**6)
    assert_storage_full(order)
    assert files_below(Path(order.run_folder)) == left


def test_automatic_devices_are_resolved_and_named_ones_kept() -> None:
    assert resolve_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"
    for wanted in ("cuda:99", "cuda:x", "gpu"):
        with pytest.raises(ValueError, match=f"there is no device '{wanted}'"):
            resolve_device(wanted)
