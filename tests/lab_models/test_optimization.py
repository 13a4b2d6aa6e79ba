"""Learning rates: closed forms that equal torch's schedulers step by step."""

import inspect
import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from lab_models.specs import (
    AdamSpec,
    AdamWSpec,
    OptimizerSpec,
    RMSpropSpec,
    SGDSpec,
    Spec,
    TrainSpec,
)
from lab_models.training.optimization import learning_rates, make_optimizer, set_learning_rate
from tests.lab_models.conftest import EXAMPLES

EPOCHS, STEPS = 6, 7


def spec_with(schedule: object, epochs: int = EPOCHS, learning_rate: float = 0.2) -> Spec:
    return TrainSpec.model_validate(
        {
            "schedule": schedule,
            "epochs": epochs,
            "optimizer": {"name": "sgd", "learning_rate": learning_rate},
        }
    )


def all_rates(
    spec: Spec, val_losses: list[float] | None = None, num_steps: int = STEPS
) -> list[float]:
    losses = val_losses or []
    return [
        rate
        for epoch in range(1, spec.epochs + 1)
        for rate in learning_rates(spec, epoch, num_steps, losses[: epoch - 1])
    ]


def sgd(learning_rate: float = 0.2) -> optim.Optimizer:
    return optim.SGD([nn.Parameter(torch.zeros(1))], lr=learning_rate)


def torch_rates(optimizer: optim.Optimizer, scheduler: object, per: str, count: int) -> list[float]:
    rates = []
    for step in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if per == "step" or (step + 1) % STEPS == 0:
            scheduler.step()  # type: ignore[attr-defined]
    return rates


def test_constant_stays() -> None:
    assert set(all_rates(spec_with("constant"))) == {0.2}


def test_multi_step_is_torchs() -> None:
    optimizer = sgd()
    expected = torch_rates(
        optimizer,
        optim.lr_scheduler.MultiStepLR(optimizer, [2, 5], gamma=0.5),
        "epoch",
        EPOCHS * STEPS,
    )
    assert all_rates(
        spec_with({"name": "multi_step", "milestones": [2, 5], "factor": 0.5})
    ) == pytest.approx(expected)


def test_cosine_by_epoch_is_torchs() -> None:
    optimizer = sgd()
    expected = torch_rates(
        optimizer,
        optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0.02),
        "epoch",
        EPOCHS * STEPS,
    )
    assert all_rates(
        spec_with({"name": "cosine", "update": "epoch", "final_fraction": 0.1})
    ) == pytest.approx(expected)


def test_cosine_by_step_is_torchs_with_steps_for_epochs() -> None:
    optimizer = sgd()
    expected = torch_rates(
        optimizer,
        optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * STEPS),
        "step",
        EPOCHS * STEPS,
    )
    assert all_rates(spec_with("cosine")) == pytest.approx(expected)


@EXAMPLES
@given(
    peak_at=st.floats(0.05, 0.9),
    start=st.floats(1, 100),
    end=st.floats(1, 1e5),
    epochs=st.integers(2, 9),
    num_steps=st.integers(2, 9),
)
def test_one_cycle_is_torchs(
    peak_at: float, start: float, end: float, epochs: int, num_steps: int
) -> None:
    total = epochs * num_steps
    if abs(peak_at * total - 1) < 1e-6:
        return  # torch divides by zero there
    optimizer = sgd()
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.2,
        total_steps=total,
        pct_start=peak_at,
        div_factor=start,
        final_div_factor=end,
        cycle_momentum=False,
    )
    expected = []
    for step in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    spec = spec_with(
        {"name": "one_cycle", "peak_at": peak_at, "start_divisor": start, "end_divisor": end},
        epochs,
    )
    ours = all_rates(spec, num_steps=num_steps)
    if peak_at * total > 1:
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-12)
    else:  # the peak would lie before the first step: we begin at it
        assert ours[0] == pytest.approx(0.2)
        assert ours == sorted(ours, reverse=True)


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_cycle_of_very_few_steps_is_finite_and_never_above_its_peak(epochs: int) -> None:
    for peak_at in (0.01, 0.3, 0.5, 0.99):
        rates = all_rates(spec_with({"name": "one_cycle", "peak_at": peak_at}, epochs), num_steps=1)
        assert all(0 < rate <= 0.2 for rate in rates)


@EXAMPLES
@given(
    losses=st.lists(st.floats(0.01, 10), min_size=12, max_size=12),
    patience=st.integers(0, 4),
    floor=st.sampled_from([0.0, 0.01, 0.05]),
)
def test_plateau_is_torchs(losses: list[float], patience: int, floor: float) -> None:
    optimizer = sgd()
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=1e-3, min_lr=floor, eps=0
    )
    expected = []
    for loss in losses:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    spec = spec_with(
        {
            "name": "plateau",
            "factor": 0.5,
            "patience": patience,
            "min_delta": 1e-3,
            "min_learning_rate": floor,
        },
        epochs=12,
    )
    assert [
        learning_rates(spec, epoch, 1, losses[: epoch - 1])[0] for epoch in range(1, 13)
    ] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "cosine", "multi_step", "plateau"])
def test_warm_up_grows_step_by_step_to_the_schedules_own_rate(name: str) -> None:
    plain, warmed = (
        all_rates(
            spec_with(
                {"name": name, "warmup_epochs": warmup}
                | ({"milestones": [4]} if name == "multi_step" else {})
            )
        )
        for warmup in (0, 2)
    )
    assert warmed[:14] == pytest.approx([0.2 * (step + 1) / 14 for step in range(14)])
    assert max(warmed) == pytest.approx(0.2)
    if name != "cosine":
        assert warmed[14:] == pytest.approx(plain[14:])


def test_cosine_begins_its_fall_after_the_warm_up() -> None:
    rates = all_rates(spec_with({"name": "cosine", "warmup_epochs": 1.5}))
    assert rates.index(max(rates)) in (10, 11)
    after = rates[11:]
    assert after == sorted(after, reverse=True)
    assert after[-1] < 0.01


def test_rates_are_a_function_of_the_epoch_alone() -> None:
    spec = spec_with({"name": "cosine", "warmup_epochs": 0.5})
    assert learning_rates(spec, 4, STEPS, []) == all_rates(spec)[3 * STEPS : 4 * STEPS]


OPTIMIZERS = [
    SGDSpec(momentum=0.9, nesterov=True, weight_decay=5e-4, learning_rate=0.05),
    AdamSpec(weight_decay=1e-4),
    AdamWSpec(),
    RMSpropSpec(),
    RMSpropSpec(alpha=0.9, eps=1e-3, momentum=0.9, centered=True, weight_decay=1e-4),
]


def test_every_optimizer_is_tried() -> None:
    every = {kind.__name__ for kind in get_args(get_args(OptimizerSpec)[0])}
    assert {type(spec).__name__ for spec in OPTIMIZERS} == every


@pytest.mark.parametrize("spec", OPTIMIZERS)
def test_the_optimizers_do_what_torchs_plain_ones_do(spec: OptimizerSpec) -> None:
    kinds = {
        "sgd": optim.SGD,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "rmsprop": optim.RMSprop,
    }
    settings = {
        "lr" if name == "learning_rate" else name: value for name, value in spec if name != "name"
    }
    torch.manual_seed(0)
    ours, theirs = nn.Linear(20, 5), nn.Linear(20, 5)
    theirs.load_state_dict(ours.state_dict())
    optimizers = (make_optimizer(spec, ours), kinds[spec.name](theirs.parameters(), **settings))
    for model, optimizer in zip((ours, theirs), optimizers, strict=True):
        for step in range(5):
            optimizer.zero_grad()
            model(torch.full((3, 20), 0.1 * (step + 1))).square().sum().backward()
            optimizer.step()
    tolerance = (
        {"rtol": 0.0, "atol": 0.0} if spec.name == "rmsprop" else {"rtol": 1e-5, "atol": 1e-7}
    )
    torch.testing.assert_close(ours.weight, theirs.weight, **tolerance)


@EXAMPLES
@given(
    alpha=st.floats(0.5, 0.999),
    eps=st.floats(1e-8, 1.0),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    centered=st.booleans(),
    weight_decay=st.sampled_from([0.0, 1e-3]),
)
def test_rmsprop_is_the_loop_of_its_formula(
    alpha: float, eps: float, momentum: float, centered: bool, weight_decay: float
) -> None:
    weights = nn.Linear(4, 3, bias=False).double()
    plain = weights.weight.detach().clone()
    spec = RMSpropSpec(
        alpha=alpha, eps=eps, momentum=momentum, centered=centered, weight_decay=weight_decay
    )
    optimizer = make_optimizer(spec, weights)
    square, mean, moved = (torch.zeros_like(plain) for _ in range(3))
    for gradient in torch.randn(5, 3, 4, dtype=torch.double, generator=torch.manual_seed(1)):
        weights.weight.grad = gradient.clone()
        optimizer.step()
        whole = gradient + weight_decay * plain
        square = alpha * square + (1 - alpha) * whole**2
        mean = alpha * mean + (1 - alpha) * whole
        variance = square - mean**2 if centered else square
        moved = momentum * moved + whole / (variance.sqrt() + eps)
        plain = plain - spec.learning_rate * moved
    torch.testing.assert_close(weights.weight.detach(), plain, rtol=1e-6, atol=1e-9)


def test_rmsprop_has_torchs_defaults() -> None:
    torchs = inspect.signature(torch.optim.RMSprop).parameters
    assert {
        "lr" if name == "learning_rate" else name: value
        for name, value in RMSpropSpec()
        if name != "name"
    } == {
        name: torchs[name].default
        for name in ("lr", "alpha", "eps", "momentum", "centered", "weight_decay")
    }


@pytest.mark.parametrize(
    "spec",
    [
        *OPTIMIZERS,
        SGDSpec(),
        RMSpropSpec(momentum=0.9),
        RMSpropSpec(centered=True),
    ],
)
def test_a_spec_says_how_many_numbers_its_optimizer_keeps_per_weight(spec: OptimizerSpec) -> None:
    layer = nn.Linear(20, 5)
    optimizer = make_optimizer(spec, layer)
    layer(torch.ones(3, 20)).sum().backward()
    optimizer.step()
    kept = optimizer.state[layer.weight].values()
    sizes = [one.numel() for one in kept if one is not None and one.shape == layer.weight.shape]
    assert sum(sizes) == spec.moments * layer.weight.numel()


def test_the_optimizer_gets_the_rate_it_is_given() -> None:
    optimizer = sgd()
    set_learning_rate(optimizer, math.pi)
    assert optimizer.param_groups[0]["lr"] == math.pi
