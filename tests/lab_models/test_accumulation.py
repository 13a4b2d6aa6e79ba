"""A batch in parts: the same gradient, the same training up to rounding, and what remains whole."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_models.architectures.build import build_model
from lab_models.common.errors import OutOfMemory
from lab_models.datasets.batches import Batch, Splits, device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running import preparing
from lab_models.running.shortages import OUT_OF_MEMORY_WORDS
from lab_models.specs import TrainSpec
from lab_models.training.accumulation import Gradients
from lab_models.training.checkpoints import TrainState
from lab_models.training.evaluation import evaluate
from lab_models.training.micro_batches import (
    SMALLEST_PART,
    after_out_of_memory,
    num_parts,
    part_size,
)
from lab_models.training.objectives import CrossEntropy, Distillation, Loss, Objective
from lab_models.training.optimization import make_optimizer
from lab_models.training.protocol import Completed, EpochCompleted
from tests.lab_models.conftest import (
    EXAMPLES,
    TINY,
    OrderMaker,
    of_kind,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

CPU = torch.device("cpu")
CNN = {"model": {"arch": "cnn", "width": 8, "stages": 1, "dropout": 0.0}}


class Seen:
    """An objective that remembers how many images it was shown at a time."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.sizes: list[int] = []

    def __call__(self, model: torch.nn.Module, batch: Batch) -> Loss:
        self.sizes.append(len(batch.labels))
        return self.objective(model, batch)


def gradients_of(
    digits: PreparedDataset,
    micro_batches: int,
    num_rows: int = 48,
    objective: Objective | None = None,
    **fields: Any,
) -> tuple[torch.Tensor, Loss, Seen]:
    """The gradient (P,), the loss and what the objective saw of one batch of the first rows."""
    spec = TrainSpec.model_validate(TINY | fields)
    splits: Splits = device_splits(digits, spec.dataset, CPU)
    model = build_model(spec.model, digits.info.shape, 10, 0)
    state = TrainState(model, make_optimizer(spec.optimizer, model), CPU)
    seen = Seen(objective or CrossEntropy())
    loss, labels = Gradients(state, spec, splits.train, seen, micro_batches)(
        torch.arange(num_rows), None
    )
    assert labels.equal(splits.train.labels[:num_rows])
    assert loss.logits.shape == (num_rows, 10)
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]), loss, seen


@pytest.mark.parametrize("num_rows", [48, 49, 11, 2])
@pytest.mark.parametrize("micro_batches", [2, 4, 8])
def test_the_gradient_of_parts_is_that_of_the_whole_batch(
    digits: PreparedDataset, micro_batches: int, num_rows: int
) -> None:
    whole, loss, _ = gradients_of(digits, 1, num_rows)
    parts, sum_of_losses, seen = gradients_of(digits, micro_batches, num_rows)
    assert max(seen.sizes) <= 48 // micro_batches + (num_rows > 48)
    assert sum(seen.sizes) == num_rows
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(sum_of_losses.total, loss.total.detach())
    torch.testing.assert_close(sum_of_losses.logits, loss.logits.detach())


@pytest.mark.parametrize("weights", [None, torch.arange(10.0)])
def test_a_students_parts_of_the_loss_add_up_as_well(
    digits: PreparedDataset, weights: torch.Tensor | None
) -> None:
    table = torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
    objective = Distillation(
        lambda batch: table[batch.rows], temperature=4.0, alpha=0.7, class_weights=weights
    )
    whole, loss, _ = gradients_of(digits, 1, objective=objective)
    parts, sum_of_losses, _ = gradients_of(digits, 4, objective=objective)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert set(sum_of_losses.parts) == {"hard_loss", "soft_loss"}
    for name, value in sum_of_losses.parts.items():
        torch.testing.assert_close(value, loss.parts[name])
    labels = device_splits(digits, TrainSpec.model_validate(TINY).dataset, CPU).train.labels[:48]
    theirs = torch.nn.CrossEntropyLoss(weights)(loss.logits.detach(), labels)
    torch.testing.assert_close(sum_of_losses.parts["hard_loss"], theirs)


@EXAMPLES
@given(batch_size=st.integers(1, 65536), num_rows=st.integers(2, 65537), data=st.data())
def test_halving_ends_and_no_part_is_a_single_image(
    batch_size: int, num_rows: int, data: st.DataObject
) -> None:
    """Batch norm cannot train on one."""
    spec = TrainSpec(batch_size=batch_size, on_out_of_memory="halve_batch")
    micro_batches, tried = 1, [1]
    while (smaller := after_out_of_memory(spec, micro_batches)) is not None:
        assert part_size(batch_size, smaller) < part_size(batch_size, micro_batches)
        micro_batches = smaller
        tried.append(smaller)
    assert len(tried) <= 15
    num_rows = min(num_rows, batch_size + 1)  # a single last image joins the batch before it
    parts = torch.arange(num_rows).tensor_split(
        num_parts(num_rows, batch_size, wanted := data.draw(st.sampled_from(tried)))
    )
    assert batch_size < SMALLEST_PART or num_rows < 2 or min(map(len, parts)) >= 2
    assert len(parts) <= wanted, "a batch that an image has joined is not cut for it"
    assert max(map(len, parts)) <= part_size(batch_size, wanted) + 1
    assert after_out_of_memory(TrainSpec(batch_size=batch_size), 1) is None, "unless it is allowed"


@pytest.mark.parametrize(("num_train", "batch_size"), [(3, 2), (11, 10), (53, 52)])
def test_a_batch_that_the_last_image_has_joined_is_trained_as_one(
    make_order: OrderMaker, num_train: int, batch_size: int
) -> None:
    """Half of three images would be a single one, on which batch norm cannot train."""
    spec = {
        "dataset": {"name": "digits", "train_limit": num_train},
        "batch_size": batch_size,
        "epochs": 1,
        "model": {"hidden": [8], "norm": "batch"},
    }
    assert len(of_kind(Completed, train(make_order(spec)))) == 1


@pytest.mark.parametrize(
    "fields", [{}, CNN, {"optimizer": "sgd", "label_smoothing": 0.1}, {"probes": ["gradient_flow"]}]
)
def test_a_run_in_parts_learns_what_the_whole_one_does(
    make_order: OrderMaker, tmp_path: Any, fields: dict[str, Any]
) -> None:
    whole = train(make_order({**TINY, **fields}))
    parts = train(
        make_order({**TINY, **fields}, run_folder=str(tmp_path / "parts"), micro_batches=4)
    )
    for before, after in zip(
        of_kind(EpochCompleted, whole), of_kind(EpochCompleted, parts), strict=True
    ):
        # batch norm sees a quarter of the images at a time
        tolerance = 0.15 if "model" in fields else 1e-3
        assert after.metrics["train"]["loss"] == pytest.approx(
            before.metrics["train"]["loss"], rel=tolerance
        )
    assert of_kind(Completed, parts)[0].test["accuracy"] == pytest.approx(
        of_kind(Completed, whole)[0].test["accuracy"], abs=0.1 if "model" in fields else 0.02
    )


def test_an_interrupted_run_in_parts_ends_with_the_same_bits(
    make_order: OrderMaker, tmp_path: Any
) -> None:
    spec = {**TINY, "model": {"depth": 2, "width": 16, "dropout": 0.3}}
    undisturbed = make_order(spec, run_folder=str(tmp_path / "undisturbed"), micro_batches=2)
    scores = scores_of(train(undisturbed))
    _, checkpoint = train_until(make_order(spec, micro_batches=2), 1, 3)
    resumed = make_order(spec, micro_batches=2, attempt=2, resume=(checkpoint,))
    assert scores_of(train(resumed))[-1] == scores[-1]
    assert weight_hashes(resumed) == weight_hashes(undisturbed)


def test_evaluation_takes_fewer_images_at_a_time_too(
    digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainSpec.model_validate(TINY)
    model = build_model(spec.model, digits.info.shape, 10, 0)
    test = device_splits(digits, spec.dataset, CPU).test
    sizes: list[int] = []
    model.register_forward_hook(lambda _module, _inputs, logits: sizes.append(len(logits)))
    scores = [dataclasses.astuple(evaluate(model, test, micro_batches=parts)) for parts in (1, 8)]
    assert scores[1] == pytest.approx(scores[0])
    assert sizes[0] == len(test)
    assert max(sizes[1:]) <= 125


@pytest.mark.parametrize("message", OUT_OF_MEMORY_WORDS)
def test_what_libraries_say_of_it_is_understood(
    make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(preparing, "build_model", no_memory)
    with pytest.raises(OutOfMemory, match=message):
        train(make_order(TINY))


def test_without_leave_it_fails_and_the_hint_names_the_option(
    make_order: OrderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(preparing, "build_model", no_memory)
    with pytest.raises(OutOfMemory) as caught:
        train(make_order(TINY))
    assert "on_out_of_memory" in (caught.value.hint or "")
    with pytest.raises(OutOfMemory) as caught:
        train(make_order({**TINY, "on_out_of_memory": "halve_batch"}))
    assert "on_out_of_memory" not in (caught.value.hint or ""), (
        "what was allowed already is no advice"
    )
