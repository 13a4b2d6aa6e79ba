"""The loop and its parts: what is minimised, what is measured, which epoch counts as best, and when it gives up."""

import dataclasses
import hashlib
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.checkpoints import TrainState
from lab_models.datasets.batches import Batch, Splits, device_splits, epoch_batches
from lab_models.datasets.preparation import PreparedDataset
from lab_models.errors import Diverged
from lab_models.evaluation import evaluate
from lab_models.fitting import EpochEnded, Stepped, fit
from lab_models.objectives import CrossEntropy, make_objective
from lab_models.optimization import make_optimizer, set_learning_rate
from lab_models.seeding import derived_seed, epoch_seed, initialisation_seed
from lab_models.specs import AdamSpec, SGDSpec, TrainSpec
from tests.lab_models.conftest import TINY

CPU = torch.device("cpu")


class Fitting:
    """A tiny training on digits, ready to be iterated over."""

    def __init__(self, digits: PreparedDataset, **fields: Any) -> None:
        self.spec = TrainSpec.model_validate(TINY | fields)
        self.splits: Splits = device_splits(digits, self.spec.dataset, CPU)
        model = build_model(self.spec.model, digits.info.shape, 10, 0)
        self.state = TrainState(model, make_optimizer(self.spec.optimizer, model), CPU)
        self.events = fit(self.state, self.spec, 0, self.splits.train, self.splits.val)

    def to_the_end(self) -> list[EpochEnded]:
        return [event for event in self.events if isinstance(event, EpochEnded)]


def flat(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_the_loss_falls_on_digits(digits: PreparedDataset) -> None:
    epochs = Fitting(digits, epochs=10, optimizer={"learning_rate": 0.01}).to_the_end()
    for split in ("train", "val"):
        losses = [event.metrics[split]["loss"] for event in epochs]
        assert losses[-1] < losses[0] / 2
        assert epochs[-1].metrics[split]["accuracy"] > 0.8


def test_steps_and_epochs_are_counted_from_1(digits: PreparedDataset) -> None:
    seen = [(event.epoch, event.step, event.num_steps) if isinstance(event, Stepped) else event.epoch for event in Fitting(digits, epochs=2).events]
    assert seen == [*((1, step, 5) for step in range(1, 6)), 1, *((2, step, 5) for step in range(1, 6)), 2]


def test_leaving_the_loop_early_leaves_the_state_of_the_last_whole_step(digits: PreparedDataset) -> None:
    left, whole = Fitting(digits), Fitting(digits)
    for _ in range(3):
        next(left.events)
        next(whole.events)
    left.events.close()  # type: ignore[attr-defined]
    assert (left.state.epochs_done, left.state.step, left.state.num_seen) == (0, 3, 144)
    assert torch.equal(flat(left.state.model), flat(whole.state.model))


def test_one_step_is_the_gradient_step_that_sgd_names(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, optimizer={"name": "sgd", "learning_rate": 0.5}, label_smoothing=0.1)
    model = fitting.state.model
    batch = fitting.splits.train.batch(epoch_batches(200, 48, 0, 1, CPU)[0])
    gradients = torch.autograd.grad(functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.1), list(model.parameters()))
    expected = flat(model) - 0.5 * nn.utils.parameters_to_vector(gradients)
    next(fitting.events)
    torch.testing.assert_close(flat(model), expected)


def test_train_metrics_are_means_over_images_and_not_over_batches(digits: PreparedDataset) -> None:
    standing_still = Fitting(digits, epochs=1, optimizer={"name": "sgd", "learning_rate": 1e-30})
    (epoch,) = standing_still.to_the_end()
    scores = evaluate(standing_still.state.model, standing_still.splits.train)
    assert epoch.metrics["train"]["loss"] == pytest.approx(scores.loss, rel=1e-6)
    assert epoch.metrics["train"]["accuracy"] == scores.accuracy


def test_metrics_name_loss_accuracy_learning_rate_and_seconds(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, epochs=1)
    (epoch,) = fitting.to_the_end()
    assert {split: sorted(values) for split, values in epoch.metrics.items()} == {
        "train": ["accuracy", "learning_rate", "loss", "seconds"],
        "val": ["accuracy", "loss", "seconds"],
    }
    assert epoch.metrics["train"]["learning_rate"] == 0.001
    assert dataclasses.asdict(evaluate(fitting.state.model, fitting.splits.val)) == {key: epoch.metrics["val"][key] for key in ("loss", "accuracy")}


def test_val_loss_is_never_smoothed(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, epochs=1, label_smoothing=0.5)
    (epoch,) = fitting.to_the_end()
    batch = next(fitting.splits.val.in_order(1000))
    with torch.inference_mode():
        loss = functional.cross_entropy(fitting.state.model.eval()(batch.images), batch.labels).item()
    assert epoch.metrics["val"]["loss"] == pytest.approx(loss, rel=1e-6)


def test_evaluation_drops_nothing_and_learns_nothing(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, model={"depth": 2, "width": 16, "norm": "batch", "dropout": 0.5})
    next(fitting.events)
    model = fitting.state.model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert evaluate(model, fitting.splits.val) == evaluate(model.train(), fitting.splits.val)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_earliest_epoch_of_lowest_val_loss_is_best_and_its_weights_are_kept() -> None:
    model = nn.Linear(1, 1)
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1), CPU)
    for epoch, loss in enumerate((3.0, 1.0, 2.0, 1.0), start=1):
        nn.init.constant_(model.weight, epoch)
        state.end_epoch({"train": {"loss": 0.0}, "val": {"loss": loss, "accuracy": 0.1 * epoch, "seconds": 1.0}})
    assert state.best is not None
    assert (state.best.epoch, state.best.val) == (2, {"loss": 1.0, "accuracy": 0.2})
    assert state.best.weights["weight"].item() == 2
    assert (state.epochs_done, len(state.history)) == (4, 4)


def test_a_loss_that_is_no_number_ends_training_and_names_epoch_and_learning_rate(digits: PreparedDataset) -> None:
    with pytest.raises(Diverged, match=r"the training loss of epoch 1 is nan at learning rate 1e\+06") as caught:
        Fitting(digits, optimizer={"name": "sgd", "learning_rate": 1e6}).to_the_end()
    assert caught.value.code == "diverged"
    assert caught.value.hint == "lower the learning rate"


def test_smoothed_cross_entropy_is_that_of_the_paper() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    smoothed = 0.9 * torch.eye(3, dtype=torch.float64)[labels] + 0.1 / 3
    loss = CrossEntropy(0.1)(nn.Identity(), Batch(logits, labels))
    assert loss.total.item() == pytest.approx(-(smoothed * logits.log_softmax(1)).sum(1).mean().item())
    assert torch.equal(loss.logits, logits)
    assert make_objective(TrainSpec(label_smoothing=0.1)) == CrossEntropy(0.1)


def test_optimizers_are_torchs_with_the_numbers_of_the_spec() -> None:
    model = nn.Linear(2, 2)
    sgd = make_optimizer(SGDSpec(learning_rate=0.3, momentum=0.9, nesterov=True, weight_decay=0.01), model)
    assert isinstance(sgd, torch.optim.SGD)
    assert {key: sgd.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.3,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.01,
    }
    adam = make_optimizer(AdamSpec(learning_rate=0.3, weight_decay=0.01), model)
    assert type(adam) is torch.optim.Adam
    assert {key: adam.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")} == {"lr": 0.3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
    assert sum(parameter.numel() for group in adam.param_groups for parameter in group["params"]) == 6


def test_each_epoch_begins_with_the_learning_rate_of_the_spec() -> None:
    optimizer = make_optimizer(SGDSpec(learning_rate=7.0), nn.Linear(2, 2))
    assert set_learning_rate(optimizer, TrainSpec(optimizer=AdamSpec(learning_rate=0.25))) == 0.25
    assert [group["lr"] for group in optimizer.param_groups] == [0.25]


def test_derived_seeds_are_what_they_always_were_and_differ_by_purpose() -> None:
    assert derived_seed(0, "initialisation") == initialisation_seed(0)
    assert initialisation_seed(0) == int(hashlib.sha256(b"training-lab/0/initialisation").hexdigest()[:16], 16) // 2
    assert epoch_seed(1, 2, "shuffle") == int(hashlib.sha256(b"training-lab/1/epoch/2/shuffle").hexdigest()[:16], 16) // 2
    seeds = [initialisation_seed(seed) for seed in range(5)]
    seeds += [epoch_seed(seed, epoch, purpose) for seed in range(5) for epoch in range(1, 6) for purpose in ("shuffle", "dropout")]
    assert len(set(seeds)) == 55
    assert all(0 <= seed < 2**63 and math.isfinite(seed) for seed in seeds)
