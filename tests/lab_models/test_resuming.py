"""Interrupted and resumed is the same as never interrupted, to the bit; damaged checkpoints are passed over and said to
be.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from lab_models.common.errors import CheckpointDamaged
from lab_models.running.execution import Execution
from lab_models.training.checkpoints import read_checkpoint
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Order,
    SavedCheckpoint,
    Started,
)
from tests.lab_models.conftest import (
    TINY,
    OrderMaker,
    of_kind,
    order_in,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

OPTIMIZERS = {
    "adam": {"name": "adam", "learning_rate": 0.01},
    "sgd": {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
    },
    "rmsprop": {"name": "rmsprop", "learning_rate": 0.001, "momentum": 0.9, "centered": True},
}
"""Of `adamw` it is `every option` below."""
MODELS = {
    "plain": {"depth": 2, "width": 16},
    "norm and dropout": {
        "depth": 2,
        "width": 16,
        "norm": "batch",
        "dropout": 0.2,
        "residual": True,
    },
}
PLACES = {
    "within an epoch": (1, 2),
    "in the first epoch": (0, 4),
    "between epochs": (2, 0),
    "before an evaluation": (1, 5),
    "after the end": (3, 0),
}


@dataclass(frozen=True)
class Reference:
    """A run that nothing interrupted."""

    spec: dict[str, Any]
    weights: dict[str, str]
    scores: list[Any]


SPECS: dict[str, dict[str, Any]] = {
    **{
        f"{optimizer}, {model}": {"optimizer": OPTIMIZERS[optimizer], "model": MODELS[model]}
        for optimizer in OPTIMIZERS
        for model in MODELS
    },
    "every option": {
        "dataset": {
            "train_limit": 200,
            "augmentation": {"shift": 1, "rotation": 10.0, "cutout": 2},
        },
        "model": MODELS["norm and dropout"],
        "optimizer": "adamw",
        "schedule": {"name": "cosine", "warmup_epochs": 1.0},
        "gradient_clip": 1.0,
        "ema_decay": 0.9,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "early_stopping": {"patience": 50},
        "best_by": "accuracy",
        "probes": ["gradient_flow"],
    },
    "plateau, bfloat16": {
        "schedule": {"name": "plateau", "patience": 0, "min_delta": 0.5},
        "precision": "bfloat16",
    },
    "convolutions": {
        "model": {
            "arch": "cnn",
            "stages": 2,
            "width": 4,
            "stem": "3x3",
            "residual": True,
            "dropout": 0.1,
        },
        "dataset": {"train_limit": 200},
    },
}


@pytest.fixture(scope="module", params=SPECS)
def reference(
    request: pytest.FixtureRequest, lab_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    return reference_of(TINY | SPECS[request.param], lab_home, tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def with_dropout(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(
        TINY | {"model": MODELS["norm and dropout"]}, lab_home, tmp_path_factory.mktemp("reference")
    )


def reference_of(spec: dict[str, Any], lab_home: Path, folder: Path) -> Reference:
    order = order_in(lab_home, spec, run_folder=str(folder))
    scores = scores_of(train(order))
    return Reference(spec, weight_hashes(order), scores)


def resumed(
    order: Order, *checkpoints: SavedCheckpoint, **differing: Any
) -> tuple[Order, list[Any]]:
    """A second attempt from the newest checkpoint that is whole, in surroundings left by something else."""
    torch.manual_seed(12345)
    again = order.model_copy(update={"attempt": 2, "resume": checkpoints, **differing})
    return again, train(again)


@pytest.mark.parametrize("place", PLACES)
def test_a_resumed_run_gives_the_same_bits_as_an_uninterrupted_one(
    place: str, reference: Reference, make_order: OrderMaker
) -> None:
    before, checkpoint = train_until(make_order(reference.spec), *PLACES[place])
    order, after = resumed(make_order(reference.spec), checkpoint)
    assert of_kind(Started, after)[0].resumed_from == PLACES[place]
    assert of_kind(Started, after)[0].notes == ()
    assert weight_hashes(order) == reference.weights
    assert scores_of(before + after) == reference.scores


def test_a_run_interrupted_at_every_step_still_gives_the_same_bits(
    with_dropout: Reference, make_order: OrderMaker
) -> None:
    checkpoints: tuple[SavedCheckpoint, ...] = ()
    for attempt in range(1, 50):
        order = make_order(
            with_dropout.spec, attempt=attempt, resume=checkpoints, checkpoint_seconds=0.0
        )
        for event in Execution(order).events():
            if isinstance(event, Completed):
                assert attempt == 3 * (5 + 1) + 1
                assert weight_hashes(order) == with_dropout.weights
                return
            if isinstance(event, Checkpointed | EpochCompleted):
                checkpoints = (event.checkpoint,)
                break
    raise AssertionError("the run never ended")


def test_a_stop_saves_the_step_just_done(with_dropout: Reference, make_order: OrderMaker) -> None:
    execution = Execution(make_order(with_dropout.spec, checkpoint_seconds=0.0))
    for event in execution.events():
        if isinstance(event, Checkpointed) and (event.checkpoint.epoch, event.checkpoint.step) == (
            1,
            3,
        ):
            stopped = execution.checkpoint(stopped=True)
            break
    assert stopped.stopped
    assert (stopped.checkpoint.epoch, stopped.checkpoint.step) == (1, 3)
    order, _ = resumed(make_order(with_dropout.spec), stopped.checkpoint)
    assert weight_hashes(order) == with_dropout.weights


def rewritten(
    order: Order, checkpoint: SavedCheckpoint, change: Callable[[dict[str, Any]], None]
) -> SavedCheckpoint:
    """The checkpoint with a changed document, whole as far as its SHA-256 tells."""
    path = Path(order.run_folder) / checkpoint.path
    document = torch.load(path, weights_only=True)
    change(document)
    torch.save(document, path)
    return checkpoint.model_copy(update={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def forget_nothing(document: dict[str, Any]) -> None:
    assert document["generators"] is not None


def forget_optimizer(document: dict[str, Any]) -> None:
    document["optimizer"]["state"] = {}


def forget_generators(document: dict[str, Any]) -> None:
    document["generators"] = None


def forget_running_statistics(document: dict[str, Any]) -> None:
    for name, tensor in document["model"].items():
        if "running" in name:
            tensor.fill_(1)


def forget_step(document: dict[str, Any]) -> None:
    document["step"] -= 1


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (forget_nothing, True),
        (forget_optimizer, False),
        (forget_generators, False),
        (forget_running_statistics, False),
        (forget_step, False),
    ],
)
def test_leaving_anything_out_of_a_checkpoint_changes_the_bits(
    change: Callable[[dict[str, Any]], None],
    same: bool,
    with_dropout: Reference,
    make_order: OrderMaker,
) -> None:
    order = make_order(with_dropout.spec)
    _, checkpoint = train_until(order, 1, 2)
    again, _ = resumed(order, rewritten(order, checkpoint, change))
    assert (weight_hashes(again) == with_dropout.weights) is same


@pytest.mark.parametrize("counter", ["loss_sum", "num_correct", "num_seen"])
def test_leaving_a_counter_out_of_a_checkpoint_changes_the_metrics(
    counter: str, with_dropout: Reference, make_order: OrderMaker
) -> None:
    order = make_order(with_dropout.spec)
    before, checkpoint = train_until(order, 1, 2)
    _, after = resumed(
        order, rewritten(order, checkpoint, lambda document: document.update({counter: 0}))
    )
    assert scores_of(before + after) != with_dropout.scores


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short, empty, Path.unlink])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: Callable[[Path], None], with_dropout: Reference, make_order: OrderMaker
) -> None:
    order = make_order(with_dropout.spec)
    before, newest = train_until(order, 2, 0)
    older = of_kind(EpochCompleted, before)[0].checkpoint
    damage(Path(order.run_folder) / newest.path)
    again, after = resumed(order, newest, older)
    started = of_kind(Started, after)[0]
    assert started.resumed_from == (1, 0)
    assert len(started.notes) == 1
    assert "epoch 2 is damaged and was passed over" in started.notes[0]
    assert weight_hashes(again) == with_dropout.weights


def test_with_every_checkpoint_damaged_training_starts_anew_and_says_so(
    with_dropout: Reference, make_order: OrderMaker
) -> None:
    order = make_order(with_dropout.spec)
    before, newest = train_until(order, 2, 0)
    checkpoints = [newest, of_kind(EpochCompleted, before)[0].checkpoint]
    for checkpoint in checkpoints:
        flip_a_byte(Path(order.run_folder) / checkpoint.path)
    again, after = resumed(order, *checkpoints)
    assert of_kind(Started, after)[0].resumed_from is None
    assert len(of_kind(Started, after)[0].notes) == 2
    assert weight_hashes(again) == with_dropout.weights
    assert scores_of(after) == with_dropout.scores


@pytest.mark.parametrize("other", [{"seed": 1}, {"batch_size": 50}])
def test_a_checkpoint_of_another_spec_or_seed_is_passed_over(
    other: dict[str, Any], with_dropout: Reference, make_order: OrderMaker
) -> None:
    differing, spec = ({"seed": other["seed"]}, {}) if "seed" in other else ({}, other)
    _, foreign = train_until(make_order(with_dropout.spec | spec, **differing), 1, 0)
    again, after = resumed(make_order(with_dropout.spec), foreign)
    started = of_kind(Started, after)[0]
    assert started.resumed_from is None
    assert "another spec or seed" in started.notes[0]
    assert weight_hashes(again) == with_dropout.weights


def test_a_resumed_run_keeps_the_threads_it_began_with(
    with_dropout: Reference, make_order: OrderMaker
) -> None:
    _, checkpoint = train_until(make_order(with_dropout.spec), 1, 2)
    again, after = resumed(make_order(with_dropout.spec), checkpoint, threads=2)
    started = of_kind(Started, after)[0]
    assert started.environment["threads"] == 1
    assert "with the 1 threads of the attempt before" in started.notes[0]
    assert weight_hashes(again) == with_dropout.weights


def test_what_changes_its_threads_goes_on_from_there_to_equal_bits(
    make_order: OrderMaker, tmp_path: Path
) -> None:
    spec = TINY | SPECS["convolutions"]
    order = make_order(spec, threads=2, run_folder=str(tmp_path / "undisturbed"))
    execution = Execution(order)
    for event in execution.events():
        if isinstance(event, EpochCompleted) and event.epoch == 1:
            changed = execution.use_threads(1)
    assert (changed.threads, changed.stopped) == (1, False)
    assert torch.get_num_threads() == 1
    again, after = resumed(order, changed.checkpoint)
    assert of_kind(Started, after)[0].environment["threads"] == 1
    assert weight_hashes(again) == weight_hashes(order)


def test_a_checkpoint_of_another_format_is_damaged(
    with_dropout: Reference, make_order: OrderMaker
) -> None:
    order = make_order(with_dropout.spec)
    _, checkpoint = train_until(order, 1, 0)
    newer = rewritten(order, checkpoint, lambda document: document.update(format=1))
    with pytest.raises(CheckpointDamaged, match="format 1 is not 3"):
        read_checkpoint(Path(order.run_folder) / newer.path, newer.sha256)


def test_a_checkpoint_can_hold_no_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 3, "model": print}, path)
    with pytest.raises(CheckpointDamaged):
        read_checkpoint(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_best_epoch_survives_being_resumed_after_it(
    lab_home: Path, make_order: OrderMaker, tmp_path: Path
) -> None:
    spec = {
        "dataset": {"train_limit": 50},
        "model": {"depth": 1, "width": 32},
        "optimizer": {"learning_rate": 0.05},
        "batch_size": 10,
        "epochs": 12,
    }
    reference = reference_of(spec, lab_home, tmp_path / "reference")
    best = reference.scores[-1][0]
    assert 1 < best < 11
    for place in ((best, 0), (best, 1), (best + 1, 0)):
        _, checkpoint = train_until(make_order(spec), *place)
        order, after = resumed(make_order(spec), checkpoint)
        assert after[-1].best_epoch == best
        assert weight_hashes(order) == reference.weights
