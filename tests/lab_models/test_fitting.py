"""The loop and its parts: what is minimised, what is measured, which epoch counts as best, and when it gives up."""

import dataclasses
import hashlib
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.common.errors import Diverged
from lab_models.common.seeding import derived_seed, epoch_seed, initialisation_seed
from lab_models.datasets.batches import Batch, Splits, device_splits, epoch_batches
from lab_models.datasets.preparation import PreparedDataset
from lab_models.specs import AdamSpec, SGDSpec, TrainSpec
from lab_models.training.averaging import averaged_copy, update_average
from lab_models.training.checkpoints import FOLD_STEPS, TrainState
from lab_models.training.evaluation import evaluate
from lab_models.training.fitting import EpochEnded, Stepped, fit
from lab_models.training.objectives import CrossEntropy, balanced_weights, make_objective
from lab_models.training.optimization import make_optimizer
from tests.lab_models.conftest import TINY

CPU = torch.device("cpu")


class Fitting:
    """A tiny training on digits, ready to be iterated over."""

    def __init__(self, digits: PreparedDataset, **fields: Any) -> None:
        self.spec = TrainSpec.model_validate(TINY | fields)
        self.splits: Splits = device_splits(digits, self.spec.dataset, CPU)
        model = build_model(self.spec.model, digits.info.shape, 10, 0)
        average = None if self.spec.ema_decay is None else averaged_copy(model)
        self.state = TrainState(model, make_optimizer(self.spec.optimizer, model), CPU, average)
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
    seen = [
        (event.epoch, event.step, event.num_steps) if isinstance(event, Stepped) else event.epoch
        for event in Fitting(digits, epochs=2).events
    ]
    assert seen == [
        *((1, step, 5) for step in range(1, 6)),
        1,
        *((2, step, 5) for step in range(1, 6)),
        2,
    ]


def test_leaving_the_loop_early_leaves_the_state_of_the_last_whole_step(
    digits: PreparedDataset,
) -> None:
    left, whole = Fitting(digits), Fitting(digits)
    for _ in range(3):
        next(left.events)
        next(whole.events)
    left.events.close()  # type: ignore[attr-defined]
    assert (left.state.epochs_done, left.state.step) == (0, 3)
    assert torch.equal(flat(left.state.model), flat(whole.state.model))


def test_one_step_is_the_gradient_step_that_sgd_names(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, optimizer={"name": "sgd", "learning_rate": 0.5}, label_smoothing=0.1)
    model = fitting.state.model
    batch = fitting.splits.train.batch(epoch_batches(200, 48, 0, 1, CPU)[0])
    gradients = torch.autograd.grad(
        functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.1),
        list(model.parameters()),
    )
    expected = flat(model) - 0.5 * nn.utils.parameters_to_vector(gradients)
    next(fitting.events)
    torch.testing.assert_close(flat(model), expected)


def test_balanced_weights_are_scikit_learns_and_a_class_without_images_has_none() -> None:
    labels = np.repeat([0, 1, 3, 4], [2000, 3, 7, 1])
    found = balanced_weights(torch.from_numpy(labels)).numpy()
    present = [0, 1, 3, 4]
    theirs = compute_class_weight("balanced", classes=np.array(present), y=labels)
    np.testing.assert_allclose(found[present], theirs, rtol=1e-6)
    np.testing.assert_allclose(found, [2011 / 8000, 2011 / 12, 0.0, 2011 / 28, 2011 / 4], rtol=1e-6)


@pytest.mark.parametrize("model", ["mlp", "cnn", "henet", "vgg"])
def test_a_weighted_step_is_that_of_torchs_loss_with_the_weights_of_the_training_part(
    digits: PreparedDataset, model: str
) -> None:
    small: dict[str, dict[str, Any]] = {
        "mlp": {"depth": 1, "width": 8},
        "cnn": {"stages": 1, "width": 4},
        "henet": {"depth": 8, "width": 2},
        "vgg": {"widths": [2, 2], "hidden": 8},
    }
    fitting = Fitting(
        digits,
        dataset={"train_limit": 50, "stratified": False},
        batch_size=25,
        model={"arch": model, **small[model]},
        optimizer={"name": "sgd", "learning_rate": 0.5},
        label_smoothing=0.1,
        class_weights="balanced",
    )
    network, labels = fitting.state.model.train(), fitting.splits.train.labels
    theirs = compute_class_weight("balanced", classes=np.arange(10), y=labels.numpy())
    assert max(theirs) > 1.4 * min(theirs)
    criterion = nn.CrossEntropyLoss(torch.tensor(theirs, dtype=torch.float32), label_smoothing=0.1)
    batch = fitting.splits.train.batch(epoch_batches(50, 25, 0, 1, CPU)[0])
    torch.manual_seed(epoch_seed(0, 1, "dropout"))
    gradients = torch.autograd.grad(
        criterion(network(batch.images), batch.labels), list(network.parameters())
    )
    expected = flat(network) - 0.5 * nn.utils.parameters_to_vector(gradients)
    next(fitting.events)
    torch.testing.assert_close(flat(network), expected)


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
    assert dataclasses.asdict(evaluate(fitting.state.model, fitting.splits.val)) == {
        key: epoch.metrics["val"][key] for key in ("loss", "accuracy")
    }


def test_seconds_are_also_those_in_which_a_gpu_is_waited_for(
    digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU a step returns when it is launched, and its work is waited for when losses are read."""
    fold, waited = TrainState.fold, []

    def slow_fold(state: TrainState) -> None:
        waited.append(0.02 * len(state._losses))
        time.sleep(waited[-1])
        fold(state)

    monkeypatch.setattr(TrainState, "fold", slow_fold)
    (epoch,) = Fitting(digits, epochs=1).to_the_end()
    assert sum(waited) > 0.05
    assert epoch.metrics["train"]["seconds"] >= sum(waited)


def test_val_loss_is_never_smoothed_nor_weighted(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, epochs=1, label_smoothing=0.5, class_weights="balanced")
    (epoch,) = fitting.to_the_end()
    batch = next(fitting.splits.val.in_order(1000))
    with torch.inference_mode():
        loss = functional.cross_entropy(
            fitting.state.model.eval()(batch.images), batch.labels
        ).item()
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
        state.end_epoch(
            {
                "train": {"loss": 0.0},
                "val": {"loss": loss, "accuracy": 0.1 * epoch, "seconds": 1.0},
            },
            "loss",
        )
    assert state.best is not None
    assert (state.best.epoch, state.best.val) == (2, {"loss": 1.0, "accuracy": 0.2})
    assert state.best.weights["weight"].item() == 2
    assert (state.epochs_done, len(state.history)) == (4, 4)


def test_a_loss_that_is_no_number_ends_training_and_names_epoch_and_learning_rate(
    digits: PreparedDataset,
) -> None:
    said = (
        r"the training loss is not finite at step \d of epoch 1, learning rate 1e\+06; the last gradient's norm was"
        r" \d\.\d+e\+\d+"
    )
    with pytest.raises(Diverged, match=said) as caught:
        Fitting(digits, optimizer={"name": "sgd", "learning_rate": 1e6}).to_the_end()
    assert caught.value.code == "diverged"
    assert "lower the learning rate" in (caught.value.hint or "")


def test_counting_in_folds_changes_no_bit_and_finds_the_first_bad_step() -> None:
    torch.manual_seed(0)
    steps = [
        (torch.rand(()), torch.randn(7, 10), torch.randint(0, 10, (7,)))
        for _ in range(FOLD_STEPS + 9)
    ]
    at_once, often = (
        TrainState(model := nn.Linear(1, 1), torch.optim.SGD(model.parameters(), lr=0.1), CPU)
        for _ in range(2)
    )
    for number, step in enumerate(steps):
        at_once.count(*step)
        often.count(*step)
        if number % 5 == 0:
            often.fold()
    at_once.fold()
    often.fold()
    assert (
        at_once.loss_sum
        == often.loss_sum
        == pytest.approx(7 * sum(loss.item() for loss, _, _ in steps))
    )
    assert (
        at_once.num_correct
        == often.num_correct
        == sum(int((logits.argmax(1) == labels).sum()) for _, logits, labels in steps)
    )
    assert at_once.num_seen == 7 * len(steps)
    assert at_once.bad_step is None
    for loss in (1.0, math.inf, math.nan):
        at_once.count(torch.tensor(loss), *steps[0][1:])
    at_once.fold()
    assert at_once.bad_step == len(steps) + 2


def test_a_clipped_gradient_is_no_longer_than_asked_for(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, optimizer={"name": "sgd", "learning_rate": 1.0}, gradient_clip=0.01)
    before = flat(fitting.state.model)
    next(fitting.events)
    assert (flat(fitting.state.model) - before).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_the_rate_of_each_step_is_the_schedules(digits: PreparedDataset) -> None:
    fitting = Fitting(
        digits,
        schedule={"name": "constant", "warmup_epochs": 1.0},
        optimizer={"name": "sgd", "learning_rate": 0.5},
    )
    rates = [
        fitting.state.optimizer.param_groups[0]["lr"]
        for event in fitting.events
        if isinstance(event, Stepped)
    ]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, *[0.5] * 11])


def test_the_metrics_learning_rate_is_that_of_the_epochs_last_step(digits: PreparedDataset) -> None:
    epochs = Fitting(
        digits, epochs=4, schedule={"name": "multi_step", "milestones": [2]}
    ).to_the_end()
    assert [event.metrics["train"]["learning_rate"] for event in epochs] == pytest.approx(
        [0.001, 0.001, 0.0001, 0.0001]
    )


def test_the_average_follows_the_weights_as_its_formula_says() -> None:
    model = nn.BatchNorm1d(1)
    average = averaged_copy(model)
    expected = 1.0
    for update in range(30):
        nn.init.constant_(model.weight, 2.0 + update)
        model.running_mean.fill_(2.0 + update)  # type: ignore[union-attr]
        model.num_batches_tracked.fill_(update)  # type: ignore[union-attr]
        update_average(average, model, 0.7, update)
        decay = min(0.7, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * (2.0 + update)
    assert average.weight.item() == pytest.approx(expected, rel=1e-5)  # type: ignore[union-attr, operator]
    assert average.running_mean.item() == pytest.approx(expected - 0.0, abs=0.01)  # type: ignore[union-attr, operator]
    assert average.num_batches_tracked.item() == 29  # type: ignore[union-attr, operator]
    assert not average.weight.requires_grad  # type: ignore[union-attr]


def test_val_and_best_weights_are_those_of_the_average(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, epochs=1, ema_decay=0.5)
    (epoch,) = fitting.to_the_end()
    state = fitting.state
    assert state.average is not None
    assert state.best is not None
    assert (
        epoch.metrics["val"]["loss"]
        == evaluate(state.average, fitting.splits.val).loss
        != evaluate(state.model, fitting.splits.val).loss
    )
    assert all(
        torch.equal(state.best.weights[name], value)
        for name, value in state.average.state_dict().items()
    )


def test_training_ends_early_when_a_rule_holds(digits: PreparedDataset) -> None:
    epochs = Fitting(
        digits, epochs=50, early_stopping={"patience": 2, "min_delta": 100.0}
    ).to_the_end()
    assert [event.stop for event in epochs] == [None, None, "stagnation"]
    overfitting = Fitting(
        digits,
        epochs=60,
        optimizer={"learning_rate": 0.05},
        early_stopping={"patience": None, "overfit_delta": 0.0, "overfit_patience": 2},
    ).to_the_end()
    assert overfitting[-1].stop == "overfitting"
    losses = [event.metrics["val"]["loss"] for event in overfitting]
    assert min(losses[-2:]) > min(losses)
    assert Fitting(digits).to_the_end()[-1].stop == "all_epochs"


def test_the_best_epoch_may_be_that_of_highest_val_accuracy() -> None:
    model = nn.Linear(1, 1)
    state = TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1), CPU)
    for loss, accuracy in ((1.0, 0.5), (3.0, 0.9), (2.0, 0.9), (2.0, 0.9), (0.5, 0.8)):
        state.end_epoch(
            {"train": {"loss": 0.0}, "val": {"loss": loss, "accuracy": accuracy}}, "accuracy"
        )
    assert state.best is not None
    assert state.best.epoch == 3


def test_bfloat16_learns_too_and_keeps_its_weights_in_float32(digits: PreparedDataset) -> None:
    fitting = Fitting(digits, epochs=8, optimizer={"learning_rate": 0.01}, precision="bfloat16")
    epochs = fitting.to_the_end()
    assert epochs[-1].metrics["val"]["accuracy"] > 0.8
    assert {parameter.dtype for parameter in fitting.state.model.parameters()} == {torch.float32}
    exact = Fitting(digits, epochs=1, optimizer={"learning_rate": 0.01})
    assert exact.to_the_end()[0].metrics["train"]["loss"] != epochs[0].metrics["train"]["loss"]


def test_smoothed_cross_entropy_is_that_of_the_paper() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    smoothed = 0.9 * torch.eye(3, dtype=torch.float64)[labels] + 0.1 / 3
    loss = CrossEntropy(0.1)(nn.Identity(), Batch(logits, labels, torch.arange(2)))
    assert loss.total.item() == pytest.approx(
        -(smoothed * logits.log_softmax(1)).sum(1).mean().item()
    )
    assert torch.equal(loss.logits, logits)
    assert make_objective(TrainSpec(label_smoothing=0.1)) == CrossEntropy(0.1)


def test_optimizers_are_torchs_with_the_numbers_of_the_spec() -> None:
    model = nn.Linear(2, 2)
    sgd = make_optimizer(
        SGDSpec(learning_rate=0.3, momentum=0.9, nesterov=True, weight_decay=0.01), model
    )
    assert isinstance(sgd, torch.optim.SGD)
    assert {key: sgd.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.3,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.01,
    }
    adam = make_optimizer(AdamSpec(learning_rate=0.3, weight_decay=0.01), model)
    assert type(adam) is torch.optim.Adam
    assert {key: adam.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.01,
    }
    assert (
        sum(parameter.numel() for group in adam.param_groups for parameter in group["params"]) == 6
    )


def test_derived_seeds_are_what_they_always_were_and_differ_by_purpose() -> None:
    assert derived_seed(0, "initialisation") == initialisation_seed(0)
    assert (
        initialisation_seed(0)
        == int(hashlib.sha256(b"training-lab/0/initialisation").hexdigest()[:16], 16) // 2
    )
    assert (
        epoch_seed(1, 2, "shuffle")
        == int(hashlib.sha256(b"training-lab/1/epoch/2/shuffle").hexdigest()[:16], 16) // 2
    )
    seeds = [initialisation_seed(seed) for seed in range(5)]
    seeds += [
        epoch_seed(seed, epoch, purpose)
        for seed in range(5)
        for epoch in range(1, 6)
        for purpose in ("shuffle", "dropout")
    ]
    assert len(set(seeds)) == 55
    assert all(0 <= seed < 2**63 and math.isfinite(seed) for seed in seeds)
