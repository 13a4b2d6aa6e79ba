"""Measuring gradients: the right layers, the right numbers, and nothing of the training is touched."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.specs import TrainSpec
from lab_models.training.gradient_flow import (
    MOST_STEPS_MEASURED,
    NUM_INITIAL_BATCHES,
    GradientFlow,
    steps_measured,
    weight_layers,
)
from lab_models.training.layer_metrics import (
    BIAS_GRADIENT_L2,
    GRADIENT_L2,
    GRADIENT_MEAN_ABS,
    LAYER_POSITION,
    LAYER_SPLITS,
    WEIGHT_NORM,
)
from tests.lab_models.conftest import EXAMPLES


def small_mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)
    )


def batch(index: int, size: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(size, 6, generator=generator), torch.randint(3, (size,), generator=generator)


def backward(model: nn.Module, index: int) -> None:
    images, labels = batch(index)
    functional.cross_entropy(model(images), labels).backward()


def gradients_of(model: nn.Module) -> Callable[[int], None]:
    return lambda index: backward(model, index)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, index: int) -> None:
    optimizer.zero_grad()
    backward(model, index)


def test_layers_come_in_order_with_convolutions_and_without_norms() -> None:
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 4, 3, bias=False))
    model.add_module("norm", nn.BatchNorm2d(4))
    model.add_module("wide_norm", nn.LayerNorm([4, 6, 6]))
    model.add_module("blocks", nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(11))))
    model.add_module("head", nn.Linear(4, 2))
    layers = weight_layers(model)
    assert [layer.name for layer in layers] == ["stem", *(f"blocks.{i}" for i in range(11)), "head"]
    assert [layer.bias is None for layer in layers] == [True] + [False] * 12


@pytest.mark.parametrize(
    "document",
    [
        {"depth": 12, "width": 4},
        {"depth": 5, "width": 4, "residual": True, "shortcut_layers": 2},
        {"depth": 3, "width": 4, "block": "inverted_bottleneck", "residual": True},
        {"arch": "cnn", "stages": 3, "width": 4, "residual": True},
        {"arch": "henet", "depth": 14, "width": 4},
        {"arch": "resnet18"},
        {"arch": "vgg", "widths": [4, 4], "hidden": 8},
    ],
)
def test_registration_order_is_the_order_of_the_forward_pass(document: dict[str, Any]) -> None:
    model = build_model(TrainSpec.model_validate({"model": document}).model, (3, 16, 16), 10, 0)
    called: list[str] = []
    names = {layer.name for layer in weight_layers(model)}
    for name, module in model.named_modules():
        if name in names:
            module.register_forward_pre_hook(lambda module, inputs, name=name: called.append(name))
    model(torch.randn(2, 3, 16, 16))
    assert called == [layer.name for layer in weight_layers(model)]


def test_a_model_that_is_one_layer_is_named_after_its_kind() -> None:
    assert [layer.name for layer in weight_layers(nn.Linear(2, 2))] == ["Linear"]


def test_a_shared_weight_counts_once_under_its_first_name() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [layer.name for layer in weight_layers(nn.Sequential(first, second))] == ["0"]


def test_numbers_are_means_of_each_steps_norms_and_biases_stay_apart() -> None:
    model = small_mlp()
    flow = GradientFlow(model)
    expected: dict[str, list[float]] = {"l2": [], "mean_abs": [], "bias": []}
    for index in range(5):
        model.zero_grad()
        backward(model, index)
        flow.record()
        weight, bias = model[4].weight.grad, model[4].bias.grad
        assert weight is not None
        assert bias is not None
        expected["l2"].append(math.sqrt(sum(value**2 for value in weight.flatten().tolist())))
        expected["mean_abs"].append(
            sum(abs(value) for value in weight.flatten().tolist()) / weight.numel()
        )
        expected["bias"].append(math.hypot(*bias.tolist()))
    found = flow.metrics()
    assert found[GRADIENT_L2]["4"] == pytest.approx(sum(expected["l2"]) / 5)
    assert found[GRADIENT_MEAN_ABS]["4"] == pytest.approx(sum(expected["mean_abs"]) / 5)
    assert found[BIAS_GRADIENT_L2]["4"] == pytest.approx(sum(expected["bias"]) / 5)
    assert found[WEIGHT_NORM]["4"] == pytest.approx(math.hypot(*model[4].weight.flatten().tolist()))
    assert set(found[GRADIENT_L2]) == set(found[WEIGHT_NORM]) == {"0", "2", "4"}
    assert set(found[BIAS_GRADIENT_L2]) == {"0", "4"}, (
        "the layer without a bias has no number there"
    )


def test_reading_starts_anew_and_nothing_recorded_is_nothing_found() -> None:
    model = small_mlp()
    flow = GradientFlow(model)
    assert flow.metrics() == {}
    backward(model, 0)
    flow.record()
    first = flow.metrics()
    assert flow.metrics() == {}
    flow.record()
    assert flow.metrics() == first


def test_a_gradient_whose_squares_underflow_in_float32_is_still_measured() -> None:
    layer = nn.Linear(4, 4)
    layer.weight.grad = torch.full((4, 4), 1e-30)
    flow = GradientFlow(layer)
    flow.record()
    assert torch.linalg.vector_norm(layer.weight.grad).item() == 0, (
        "which is what float32 would have said"
    )
    assert flow.metrics()[GRADIENT_L2]["Linear"] == pytest.approx(4e-30, rel=1e-6)


def test_a_frozen_layer_has_no_number_one_without_gradient_has_zero() -> None:
    model = small_mlp()
    model[0].requires_grad_(False)
    flow = GradientFlow(model)
    backward(model, 0)
    model[2].weight.grad = None
    flow.record()
    found = flow.metrics()
    assert set(found[GRADIENT_L2]) == set(found[GRADIENT_MEAN_ABS]) == {"2", "4"}
    assert found[GRADIENT_L2]["2"] == 0
    assert found[GRADIENT_L2]["4"] > 0
    assert set(found[BIAS_GRADIENT_L2]) == {"4"}
    assert set(found[WEIGHT_NORM]) == {"0", "2", "4"}


def test_dead_units_block_the_gradient_of_every_layer_before_them_with_exact_zeros() -> None:
    model = small_mlp()
    with torch.no_grad():
        model[0].bias.fill_(-1e6)  # no image reaches any unit of the first layer
    flow = GradientFlow(model)
    backward(model, 0)
    flow.record()
    assert flow.metrics()[GRADIENT_L2] == {"0": 0.0, "2": 0.0, "4": 0.0}


def test_what_is_not_finite_is_left_out() -> None:
    model = small_mlp()
    backward(model, 0)
    assert model[0].weight.grad is not None
    model[0].weight.grad[0, 0] = math.inf
    flow = GradientFlow(model)
    flow.record()
    found = flow.metrics()
    assert set(found[GRADIENT_L2]) == {"2", "4"}
    assert all(math.isfinite(value) for values in found.values() for value in values.values())


def test_initialization_is_the_mean_over_twenty_batches_and_says_where_each_layer_stands() -> None:
    model = small_mlp()
    asked: list[int] = []

    def gradients(index: int) -> None:
        assert all(parameter.grad is None for parameter in model.parameters()), (
            "gradients must not pile up over batches"
        )
        asked.append(index)
        backward(model, index)

    found = GradientFlow(model).at_initialization(gradients)
    norms = []
    for index in range(NUM_INITIAL_BATCHES):
        model.zero_grad()
        backward(model, index)
        norms.append(torch.linalg.vector_norm(model[0].weight.grad).item())
    assert asked == list(range(20))
    assert found[GRADIENT_L2]["0"] == pytest.approx(sum(norms) / 20, rel=1e-5)
    assert found[LAYER_POSITION] == {"0": 0.0, "2": 1.0, "4": 2.0}
    assert set(found) == set(LAYER_SPLITS)


def model_with_state() -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    )
    model.eval()
    model[3].train()
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_measuring_at_initialization_leaves_the_model_and_the_generators_as_they_were(
    fails: bool,
) -> None:
    model = model_with_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = {name: buffer.data_ptr() for name, buffer in model.named_buffers()}
    modes = [module.training for module in model.modules()]
    generator = torch.get_rng_state()

    def gradients(index: int) -> None:
        assert all(module.training for module in model.modules())
        backward(model, index)
        if fails and index == 3:
            raise ArithmeticError

    flow = GradientFlow(model)
    if fails:
        with pytest.raises(ArithmeticError):
            flow.at_initialization(gradients)
    else:
        flow.at_initialization(gradients)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert {name: buffer.data_ptr() for name, buffer in model.named_buffers()} == buffers, (
        "the same tensors, as a captured graph needs"
    )
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_measuring_changes_no_bit_of_the_training() -> None:
    trained = []
    for measure in (False, True):
        model = model_with_state().train()
        optimizer = torch.optim.Adam(model.parameters())
        flow = GradientFlow(model)
        torch.manual_seed(5)
        if measure:
            flow.at_initialization(gradients_of(model))
        for index in range(6):
            train_step(model, optimizer, index)
            if measure:
                flow.record()
            optimizer.step()
        if measure:
            assert flow.metrics()[GRADIENT_L2]["0"] > 0
        trained.append(model.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


@EXAMPLES
@given(steps=st.integers(1, 6), cut=st.integers(0, 6))
def test_a_checkpoint_within_an_epoch_keeps_the_sums(steps: int, cut: int) -> None:
    model = small_mlp()
    whole, first = GradientFlow(model), GradientFlow(model)
    for index in range(steps):
        if index == min(cut, steps - 1):
            saved = first.state()
            first = GradientFlow(model)
            first.load_state(saved)
        model.zero_grad()
        backward(model, index)
        whole.record()
        first.record()
    assert first.metrics() == whole.metrics()


def test_saved_sums_are_copies_and_fit_no_other_number_of_layers() -> None:
    model = small_mlp()
    flow = GradientFlow(model)
    backward(model, 0)
    flow.record()
    saved = flow.state()
    flow.record()
    assert int(saved["steps"]) == 1
    assert all(tensor.dtype in (torch.float64, torch.int64) for tensor in saved.values())
    with pytest.raises(RuntimeError):
        GradientFlow(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))).load_state(saved)


@EXAMPLES
@given(st.integers(1, 100_000))
def test_the_measured_steps_are_the_last_few(num_steps: int) -> None:
    measured = steps_measured(num_steps)
    assert 1 <= len(measured) <= MOST_STEPS_MEASURED
    assert len(measured) <= max(1, num_steps // 4)
    assert measured[-1] == num_steps - 1
    assert measured[0] >= 0


def test_under_bfloat16_the_gradients_are_measured_in_full() -> None:
    model = small_mlp()
    images, labels = batch(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = functional.cross_entropy(model(images), labels)
    loss.backward()
    flow = GradientFlow(model)
    flow.record()
    found = flow.metrics()[GRADIENT_L2]
    model.zero_grad()
    backward(model, 0)
    flow.record()
    for name, norm in flow.metrics()[GRADIENT_L2].items():
        assert found[name] == pytest.approx(norm, rel=0.05)
