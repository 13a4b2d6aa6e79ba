"""Perceptrons: parameter counts from the literature of this lab and what each flag changes; and names for all
networks.
"""

import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from lab_models.architectures.build import build_model
from lab_models.architectures.initial_weights import UndrawnLinear
from lab_models.architectures.modules import LayeredNetwork, Part
from lab_models.architectures.naming import describe
from lab_models.architectures.sizes import model_size
from lab_models.specs import PRESETS, MLPSpec, ModelSpec
from lab_models.specs.presets import expand_preset
from tests.lab_models.conftest import PROJECT

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


def built(seed: int = 0, shape: tuple[int, int, int] = DIGITS_SHAPE, **fields: Any) -> Any:
    return build_model(MLPSpec.model_validate(fields), shape, 10, seed)


def images(count: int = 5) -> torch.Tensor:
    return torch.randn(count, *DIGITS_SHAPE, generator=torch.Generator().manual_seed(1))


def linear(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    return inputs @ layer.weight.T + layer.bias


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_are_those_of_the_papers_table(depth: int) -> None:
    plain, with_norm = PUBLISHED[depth]
    for residual in (False, True):
        assert (
            model_size(
                MLPSpec(depth=depth, width=512, residual=residual), MNIST_SHAPE, 10
            ).parameters
            == plain
        )
        assert (
            model_size(
                MLPSpec(depth=depth, width=512, residual=residual, norm="batch"), MNIST_SHAPE, 10
            ).parameters
            == with_norm
        )


@pytest.mark.parametrize(
    ("hidden", "parameters"),
    [((128, 64), 109_386), ((1200, 1200), 2_395_210), ((800, 800), 1_276_810), ((30, 30), 24_790)],
)
def test_parameters_of_known_networks(hidden: tuple[int, ...], parameters: int) -> None:
    assert (
        model_size(MLPSpec.model_validate({"hidden": hidden}), MNIST_SHAPE, 10).parameters
        == parameters
    )


def test_multiply_accumulates_of_a_known_network() -> None:
    assert (
        model_size(MLPSpec.model_validate({"hidden": [128, 64]}), MNIST_SHAPE, 10).macs_per_sample
        == 784 * 128 + 128 * 64 + 64 * 10
    )


def test_a_residual_and_a_plain_mlp_start_from_the_same_weights() -> None:
    plain, residual = built(depth=4, width=16), built(depth=4, width=16, residual=True)
    assert plain.state_dict().keys() == residual.state_dict().keys()
    assert all(
        torch.equal(weight, residual.state_dict()[name])
        for name, weight in plain.state_dict().items()
    )
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
    torch.testing.assert_close(
        model(images()),
        linear(model.head, torch.relu(linear(model.hidden[0].linear, images().flatten(1)))),
    )


def test_a_shortcut_of_two_layers_goes_around_pairs_after_the_first_layer() -> None:
    model = built(depth=5, width=16, residual=True, shortcut_layers=2)
    first, *rest = model.hidden
    hidden = torch.relu(linear(first.linear, images().flatten(1)))
    for lower, upper in zip(rest[::2], rest[1::2], strict=True):
        hidden = torch.relu(linear(upper.linear, torch.relu(linear(lower.linear, hidden))) + hidden)
    torch.testing.assert_close(model(images()), linear(model.head, hidden))
    assert model.state_dict().keys() == built(depth=5, width=16).state_dict().keys()


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("residual", [False, True])
def test_an_inverted_bottleneck_widens_and_narrows_without_an_activation_after_it(
    residual: bool, norm: str
) -> None:
    model = built(depth=3, width=12, block="inverted_bottleneck", residual=residual, norm=norm)
    first, *blocks = model.hidden
    assert "linear" in dict(first.named_children())
    assert all({"linear1", "linear2"} <= dict(block.named_children()).keys() for block in blocks)

    def normalized(inputs: torch.Tensor) -> torch.Tensor:
        if norm == "none":
            return inputs
        dimension = 0 if norm == "batch" else 1
        return (inputs - inputs.mean(dimension, keepdim=True)) / (
            inputs.var(dimension, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()

    hidden = torch.relu(normalized(linear(first.linear, images().flatten(1))))
    for block in blocks:
        inner = torch.relu(normalized(linear(block.linear1, hidden)))
        assert inner.shape == (5, 24)
        hidden = normalized(linear(block.linear2, inner)) + (hidden if residual else 0)
    torch.testing.assert_close(model.train()(images()), linear(model.head, hidden))


@pytest.mark.parametrize("block", ["layer", "inverted_bottleneck"])
def test_kaiming_fan_out_draws_every_linear_layer_by_its_outputs_and_clears_its_bias(
    block: str,
) -> None:
    model = built(depth=3, width=96, block=block, init="kaiming_fan_out").requires_grad_(False)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == (4 if block == "layer" else 6)
    for layer in layers:
        assert layer.weight.std() == pytest.approx((2 / layer.out_features) ** 0.5, rel=0.1)
        assert not layer.bias.any()


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
        return (inputs - inputs.mean(dimension, keepdim=True)) / (
            inputs.var(dimension, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()

    hidden = torch.relu(normalised(linear(model.hidden[0].linear, images().flatten(1))))
    hidden = torch.relu(normalised(linear(model.hidden[1].linear, hidden)) + hidden)
    torch.testing.assert_close(model.train()(images()), linear(model.head, hidden))


@pytest.mark.parametrize(
    ("where", "places"),
    [("every_hidden", [True, True, True]), ("last_hidden", [False, False, True])],
)
def test_dropout_stands_where_it_is_asked_for(where: str, places: list[bool]) -> None:
    model = built(depth=3, width=16, dropout=0.2, dropout_at=where)
    assert [hasattr(layer, "dropout") for layer in model.hidden] == places
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.2] * sum(places)
    assert not torch.equal(model.train()(images()), model(images()))
    assert torch.equal(model.eval()(images()), model(images()))


@pytest.mark.parametrize(
    ("where", "places"),
    [("every_hidden", [True, True, True]), ("last_hidden", [False, False, True])],
)
def test_a_block_has_its_dropout_after_its_inner_layer(where: str, places: list[bool]) -> None:
    model = built(depth=3, width=16, block="inverted_bottleneck", dropout=0.5, dropout_at=where)
    assert [hasattr(layer, "dropout") for layer in model.hidden] == places
    given_to_linear2: list[torch.Tensor] = []
    model.hidden[2].linear2.register_forward_pre_hook(
        lambda module, inputs: given_to_linear2.append(inputs[0])
    )
    model.train()(images())
    model.eval()(images())
    dropped, whole = given_to_linear2
    assert ((dropped == 0) & (whole > 0)).any()
    assert (whole != dropped).any()


def test_no_dropout_and_no_norm_leave_no_module_behind() -> None:
    assert {type(module) for module in built(depth=3, width=16).modules()} == {
        LayeredNetwork,
        Part,
        UndrawnLinear,
    }


def test_initial_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        return nn.utils.parameters_to_vector(built(seed, depth=2, width=16).parameters())

    before = weights(3)
    torch.rand(7)
    assert torch.equal(weights(3), before)
    assert not torch.equal(weights(4), before)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"depth": 6, "width": 512, "residual": True}, "residual mlp 6 x 512"),
        ("mlp-small", "mlp 128-64"),
        ("mlp-ascoded", "mlp 2 x 512 in blocks"),
        (
            {"depth": 5, "width": 110, "residual": True, "shortcut_layers": 2},
            "residual mlp 5 x 110 in pairs",
        ),
        ({"hidden": [64, 64, 64, 10]}, "mlp 3x64-10"),
        ("student", "residual cnn 3 stages 32-64-128"),
        ("cnn-blocks-10", "plain cnn 10 stages 64-128-256-7x512"),
        ({"preset": "cnn-blocks-1", "blocks_per_stage": 1}, "plain cnn 1 stage of 1 block 64"),
        (
            {"preset": "cnn-blocks-5", "blocks_per_stage": 3},
            "plain cnn 5 stages of 3 blocks 64-128-256-512-512",
        ),
        ({"preset": "resnet20", "residual": False}, "plain henet-20"),
        ({"preset": "resnet56", "width": 32}, "residual henet-56 from 32 channels"),
        ("resnet18", "resnet18 (cifar stem)"),
        ({"arch": "resnet18", "stem": "imagenet"}, "resnet18 (imagenet stem)"),
        ("three-models-cnn", "vgg 64-128-256"),
    ],
)
def test_a_network_is_described_in_a_few_words(model: Any, words: str) -> None:
    assert describe(TypeAdapter(ModelSpec).validate_python(expand_preset(model))) == words


def test_no_two_presets_share_a_description() -> None:
    described = [
        describe(TypeAdapter(ModelSpec).validate_python(preset)) for preset in PRESETS.values()
    ]
    assert len(set(described)) == len(described)


def test_what_the_service_imports_of_the_lab_loads_no_torch() -> None:
    light = "specs common.validation training.protocol common.errors common.files common.seeding common.revision"
    light += " running.process architectures.sizes architectures.naming"
    light += " datasets.catalog datasets.splits datasets.preparation"
    code = (
        f"import sys, importlib\nfor name in {light.split()!r}: importlib.import_module('lab_models.' +"
        " name)\nprint('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
