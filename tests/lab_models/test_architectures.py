"""Networks: parameter counts from the literature of this lab, closed forms against torch, and what each flag changes."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lab_models.architectures.build import build_model
from lab_models.architectures.mlp import MLP
from lab_models.architectures.sizes import model_size
from lab_models.specs import MLPSpec
from tests.lab_models.conftest import EXAMPLES, PROJECT, model_documents

MNIST_SHAPE, DIGITS_SHAPE = (1, 28, 28), (1, 8, 8)

# Depth: (parameters without, with batch norm) of 784 -> depth x 512 -> 10.
PUBLISHED = {
    2: (669_706, 671_754),
    3: (932_362, 935_434),
    4: (1_195_018, 1_199_114),
    5: (1_457_674, 1_462_794),
    6: (1_720_330, 1_726_474),
    7: (1_982_986, 1_990_154),
    8: (2_245_642, 2_253_834),
    9: (2_508_298, 2_517_514),
    10: (2_770_954, 2_781_194),
}


def built(seed: int = 0, shape: tuple[int, int, int] = DIGITS_SHAPE, **fields: Any) -> MLP:
    model = build_model(MLPSpec.model_validate(fields), shape, 10, seed)
    assert isinstance(model, MLP)
    return model


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, *DIGITS_SHAPE, generator=torch.Generator().manual_seed(1))


def linear(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    return inputs @ layer.weight.T + layer.bias


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_are_those_of_the_papers_table(depth: int) -> None:
    plain, with_norm = PUBLISHED[depth]
    for residual in (False, True):
        assert model_size(MLPSpec(depth=depth, width=512, residual=residual), MNIST_SHAPE, 10).parameters == plain
        assert model_size(MLPSpec(depth=depth, width=512, residual=residual, norm="batch"), MNIST_SHAPE, 10).parameters == with_norm


@pytest.mark.parametrize(("hidden", "parameters"), [((128, 64), 109_386), ((1200, 1200), 2_395_210), ((800, 800), 1_276_810), ((30, 30), 24_790)])
def test_parameters_of_known_networks(hidden: tuple[int, ...], parameters: int) -> None:
    assert model_size(MLPSpec.model_validate({"hidden": hidden}), MNIST_SHAPE, 10).parameters == parameters


def test_multiply_accumulates_of_a_known_network() -> None:
    assert model_size(MLPSpec.model_validate({"hidden": [128, 64]}), MNIST_SHAPE, 10).macs_per_sample == 784 * 128 + 128 * 64 + 64 * 10


@EXAMPLES
@given(model_documents(), st.sampled_from([(1, 8, 8), (3, 4, 5)]), st.integers(2, 12))
def test_closed_form_sizes_are_those_that_torch_counts(document: dict[str, Any], shape: tuple[int, int, int], num_classes: int) -> None:
    spec = MLPSpec.model_validate(document)
    model = build_model(spec, shape, num_classes, 0).eval()
    counted = 0

    def count(layer: nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal counted
        counted += output.shape[0] * layer.in_features * layer.out_features

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    logits = model(torch.zeros(3, *shape))

    size = model_size(spec, shape, num_classes)
    assert logits.shape == (3, num_classes)
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert size.macs_per_sample * 3 == counted


def test_a_residual_and_a_plain_mlp_start_from_the_same_weights() -> None:
    plain, residual = built(depth=4, width=16), built(depth=4, width=16, residual=True)
    assert plain.state_dict().keys() == residual.state_dict().keys()
    assert all(torch.equal(weight, residual.state_dict()[name]) for name, weight in plain.state_dict().items())
    assert not torch.equal(plain(images()), residual(images()))


def test_a_residual_layer_adds_its_input_before_the_relu_in_all_layers_but_the_first() -> None:
    model = built(depth=3, width=16, residual=True)
    first, *rest = model.hidden
    hidden = torch.relu(linear(first.linear, images().flatten(1)))
    for layer in rest:
        hidden = torch.relu(linear(layer.linear, hidden) + hidden)
    torch.testing.assert_close(model(images()), linear(model.head, hidden))


def test_no_shortcut_goes_around_the_first_layer_even_where_its_widths_would_allow_it() -> None:
    model = built(depth=1, width=64, residual=True)  # digits have 64 pixels
    torch.testing.assert_close(model(images()), linear(model.head, torch.relu(linear(model.hidden[0].linear, images().flatten(1)))))


def test_a_plain_mlp_is_linear_and_relu_in_turn() -> None:
    model = built(hidden=[16, 12, 8])
    hidden = images().flatten(1)
    for layer in model.hidden:
        hidden = torch.relu(linear(layer.linear, hidden))
    torch.testing.assert_close(model(images()), linear(model.head, hidden))


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_a_norm_stands_between_linear_and_shortcut(norm: str) -> None:
    model = built(depth=2, width=16, residual=True, norm=norm)
    dimension = 0 if norm == "batch" else 1

    def normalised(inputs: torch.Tensor) -> torch.Tensor:
        return (inputs - inputs.mean(dimension, keepdim=True)) / (inputs.var(dimension, unbiased=False, keepdim=True) + 1e-5).sqrt()

    hidden = torch.relu(normalised(linear(model.hidden[0].linear, images().flatten(1))))
    hidden = torch.relu(normalised(linear(model.hidden[1].linear, hidden)) + hidden)
    torch.testing.assert_close(model.train()(images()), linear(model.head, hidden))


@pytest.mark.parametrize(("where", "places"), [("every_hidden", [True, True, True]), ("last_hidden", [False, False, True])])
def test_dropout_stands_where_it_is_asked_for(where: str, places: list[bool]) -> None:
    model = built(depth=3, width=16, dropout=0.2, dropout_at=where)
    assert [layer.dropout is not None for layer in model.hidden] == places
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.2] * sum(places)
    assert not torch.equal(model.train()(images()), model(images()))
    assert torch.equal(model.eval()(images()), model(images()))


def test_no_dropout_and_no_norm_leave_no_module_behind() -> None:
    assert {type(module) for module in built(depth=3, width=16).modules()} == {MLP, nn.Sequential, nn.Linear, type(built().hidden[0])}


def test_initial_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        return nn.utils.parameters_to_vector(built(seed, depth=2, width=16).parameters())

    before = weights(3)
    torch.rand(7)
    assert torch.equal(weights(3), before)
    assert not torch.equal(weights(4), before)


def test_what_the_service_imports_of_the_lab_loads_no_torch() -> None:
    light = "specs validation protocol errors files seeding revision process architectures.sizes datasets.catalog datasets.splits datasets.preparation"
    code = f"import sys, importlib\nfor name in {light.split()!r}: importlib.import_module('lab_models.' + name)\nprint('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
