"""Convolutional networks: what each computes, how its weights start, and what residual changes."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
import torchvision
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.architectures.initial_weights import UndrawnConv
from lab_models.architectures.modules import padded
from lab_models.common.seeding import initialisation_seed
from lab_models.specs import ModelSpec
from tests.lab_models.conftest import PROJECT

validated: Any = TypeAdapter(ModelSpec).validate_python

GREY, COLOR = (1, 8, 8), (3, 9, 12)
SMALL: dict[str, dict[str, Any]] = {
    "plain cnn": {"arch": "cnn", "stages": 3, "width": 4, "dropout": 0.2},
    "residual cnn": {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "stem": "3x3"},
    "plain henet": {"arch": "henet", "depth": 8, "width": 4, "residual": False},
    "residual henet": {"arch": "henet", "depth": 14, "width": 4},
    "vgg": {"arch": "vgg", "widths": [4, 6], "hidden": 16, "dropout": 0.2},
    "block mlp": {
        "arch": "mlp",
        "depth": 3,
        "width": 16,
        "block": "inverted_bottleneck",
        "residual": True,
        "norm": "batch",
        "init": "kaiming_fan_out",
    },
    "mlp of pairs": {
        "arch": "mlp",
        "depth": 5,
        "width": 16,
        "residual": True,
        "shortcut_layers": 2,
        "norm": "layer",
    },
}


def built(document: dict[str, Any], shape: tuple[int, int, int] = COLOR, seed: int = 0) -> Any:
    return build_model(validated(document), shape, 5, seed)


def images(shape: tuple[int, int, int] = COLOR, count: int = 6) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def normalized(maps: Tensor) -> Tensor:
    """Batch norm as it starts, in training."""
    return (maps - maps.mean((0, 2, 3), keepdim=True)) / (
        maps.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()


def conv_norm(maps: Tensor, conv: nn.Conv2d, stride: int = 1) -> Tensor:
    return normalized(
        functional.conv2d(maps, conv.weight, stride=stride, padding=conv.kernel_size[0] // 2)
    )


def block(maps: Tensor, module: Any, stride: int, skipped: Tensor | None) -> Tensor:
    inner = conv_norm(torch.relu(conv_norm(maps, module.conv1, stride)), module.conv2)
    return torch.relu(inner if skipped is None else inner + skipped)


# --- what is computed


@pytest.mark.parametrize("residual", [False, True])
def test_a_cnn_is_a_stem_stages_of_blocks_an_average_and_a_head(residual: bool) -> None:
    model = built({"arch": "cnn", "widths": [4, 6, 6], "residual": residual, "max_halvings": 1})
    maps = torch.relu(conv_norm(images(), model.stem.conv))
    for i, stride in enumerate((1, 2, 1)):
        first, second = model.stages[i]
        projected = conv_norm(maps, first.shortcut.conv, stride) if residual and i == 1 else maps
        maps = block(maps, first, stride, projected if residual else None)
        maps = block(maps, second, 1, maps if residual else None)
    assert maps.shape == (6, 6, 5, 6)
    torch.testing.assert_close(model.train()(images()), model.head(maps.mean((2, 3))))
    assert sum(name.endswith("shortcut.conv.weight") for name in model.state_dict()) == residual


@pytest.mark.parametrize("residual", [False, True])
def test_a_henet_pads_its_shortcuts_with_zeros(residual: bool) -> None:
    model = built({"arch": "henet", "depth": 8, "width": 4, "residual": residual})
    maps = torch.relu(conv_norm(images(), model.stem.conv))
    for i, stride in enumerate((1, 2, 2)):
        (only,) = model.stages[i]
        skipped = (
            maps
            if i == 0
            else torch.cat([maps[:, :, ::2, ::2], torch.zeros_like(maps[:, :, ::2, ::2])], dim=1)
        )
        maps = block(maps, only, stride, skipped if residual else None)
    assert maps.shape == (6, 16, 3, 3)
    torch.testing.assert_close(model.train()(images()), model.head(maps.mean((2, 3))))


def test_a_vgg_is_convs_and_max_pools_and_two_linear_layers() -> None:
    model = built({"arch": "vgg", "widths": [4, 6], "convs_per_stage": 2, "hidden": 7})
    maps = images()
    for stage in model.stages:
        for j in range(2):
            maps = torch.relu(conv_norm(maps, stage[j].conv))
        maps = functional.max_pool2d(maps, 2)
    assert maps.shape == (6, 6, 2, 3)
    hidden = torch.relu(maps.flatten(1) @ model.hidden.weight.T + model.hidden.bias)
    torch.testing.assert_close(
        model.train()(images()), hidden @ model.head.weight.T + model.head.bias
    )


def test_dropout_takes_whole_channels_between_the_convs_of_a_block() -> None:
    model = built({"arch": "cnn", "stages": 2, "width": 8, "dropout": 0.5})
    assert [
        (name, module.p)
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout2d)
    ] == [(f"stages.{i}.{j}.dropout", 0.5) for i in range(2) for j in range(2)]
    given_to_conv2: list[Tensor] = []
    first = model.get_submodule("stages.0.0")
    first.get_submodule("conv2").register_forward_pre_hook(
        lambda module, inputs: given_to_conv2.append(inputs[0])
    )
    model.train()(images())
    dropped = (given_to_conv2[0] == 0).flatten(2).all(2).float().mean()
    assert 0.2 < dropped < 0.8
    assert not torch.equal(model.train()(images()), model(images()))
    assert torch.equal(model.eval()(images()), model(images()))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
@pytest.mark.parametrize(("stem", "kernel", "stride"), [("cifar", 3, 1), ("imagenet", 7, 2)])
def test_resnet18_is_torchvisions_but_for_its_first_layer(
    stem: str, kernel: int, stride: int, shape: tuple[int, int, int]
) -> None:
    model, theirs = (
        built({"arch": "resnet18", "stem": stem}, shape).eval(),
        torchvision.models.resnet18(num_classes=5).eval(),
    )
    first = model.state_dict()["conv1.weight"]
    assert first.shape == (64, shape[0], kernel, kernel)
    assert first.std() == pytest.approx(math.sqrt(2 / (64 * kernel**2)), rel=0.05)
    assert model.state_dict().keys() == theirs.state_dict().keys()

    theirs.load_state_dict(model.state_dict() | {"conv1.weight": theirs.conv1.weight})
    maps = torch.relu(
        theirs.bn1(functional.conv2d(images(shape, 2), first, stride=stride, padding=kernel // 2))
    )
    if stem == "imagenet":
        maps = theirs.maxpool(maps)
    maps = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(maps))))
    torch.testing.assert_close(model(images(shape, 2)), theirs.fc(maps.mean((2, 3))))


def test_a_padded_shortcut_takes_every_second_pixel_of_odd_maps_too() -> None:
    maps = torch.arange(30.0).reshape(1, 2, 3, 5)
    found = padded(maps, stride=2, extra=3)
    assert found.shape == (1, 5, 2, 3)
    assert found[0, 0].tolist() == [[0, 2, 4], [10, 12, 14]]
    assert not found[0, 2:].any()


# --- how the weights start


@pytest.mark.parametrize(
    "name", ["plain cnn", "residual cnn", "plain henet", "residual henet", "vgg"]
)
def test_convs_start_from_kaiming_normal_and_norms_from_one_and_zero(name: str) -> None:
    wide = SMALL[name] | ({"width": 24} if "width" in SMALL[name] else {"widths": [24, 48]})
    model = built(wide)
    for module in model.requires_grad_(False).modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            assert module.weight.std() == pytest.approx(math.sqrt(2 / fan_out), rel=0.2)
            assert abs(module.weight.mean()) < 0.15 * module.weight.std()
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert all(
                torch.equal(tensor, torch.ones_like(tensor))
                for tensor in (module.weight, module.running_var)
            )
            assert not any(
                tensor.any()
                for tensor in (module.bias, module.running_mean, module.num_batches_tracked)
            )
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear)
    assert not head.bias.any()
    assert head.weight.std() == pytest.approx(
        1 / math.sqrt(3 * head.in_features) if "henet" in name else 0.01, rel=0.2
    )


@pytest.mark.parametrize(
    ("plain", "num_projections"),
    [
        ({"arch": "cnn", "widths": [4, 6, 6]}, 2),
        ({"arch": "henet", "depth": 14, "width": 4, "residual": False}, 0),
    ],
)
def test_the_plain_and_the_residual_network_share_the_first_weights_of_all_common_layers(
    plain: dict[str, Any], num_projections: int
) -> None:
    without, with_shortcuts = (
        built(plain).state_dict(),
        built(plain | {"residual": True}).state_dict(),
    )
    assert all(torch.equal(tensor, with_shortcuts[name]) for name, tensor in without.items())
    more = with_shortcuts.keys() - without.keys()
    assert all("shortcut" in name for name in more)
    assert sum(name.endswith("conv.weight") for name in more) == num_projections
    assert not torch.equal(built(plain)(images()), built(plain | {"residual": True})(images()))


@pytest.mark.parametrize("name", SMALL)
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    def weights(seed: int) -> Tensor:
        return nn.utils.parameters_to_vector(built(SMALL[name], seed=seed).parameters())

    before = weights(3)
    torch.rand(7)
    assert torch.equal(weights(3), before)
    assert not torch.equal(weights(4), before)


# --- use


@pytest.mark.parametrize("shape", [GREY, COLOR, (3, 20, 6)])
@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_learns_a_few_images_by_heart(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = built(
        SMALL[name] | ({"dropout": 0.0} if "dropout" in SMALL[name] else {}), shape
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    labels = torch.arange(15) % 5
    for _ in range(60):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images(shape, 15)), labels)
        loss.backward()
        optimizer.step()
    assert loss < 0.2


@pytest.mark.parametrize("name", ["residual cnn", "residual henet", "vgg"])
def test_the_memory_format_changes_nothing_but_rounding(name: str) -> None:
    model = built(SMALL[name] | ({"dropout": 0.0} if "dropout" in SMALL[name] else {})).eval()
    before = model(images())
    after = model.to(memory_format=torch.channels_last)(
        images().to(memory_format=torch.channels_last)
    )
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_resnet18_draws_torchvisions_own_first_weights(
    stem: str, shape: tuple[int, int, int]
) -> None:
    ours = built({"arch": "resnet18", "stem": stem}, shape, seed=4).state_dict()
    torch.manual_seed(initialisation_seed(4))
    theirs = torchvision.models.resnet18(num_classes=5).state_dict()
    its_own = stem == "imagenet" and shape[0] == 3
    assert list(ours) == list(theirs)
    unlike = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert unlike == ([] if its_own else ["conv1.weight"])


def test_a_part_of_a_network_says_that_it_does_not_run_alone() -> None:
    with pytest.raises(RuntimeError, match="does not run alone: run the network, and hook onto"):
        built(SMALL["residual henet"]).stages(images())


def test_no_architecture_loads_torchvision() -> None:
    code = (
        "import sys; from lab_models.architectures.build import build_model; from lab_models.specs import ARCHITECTURES"
        "\nfor arch in ARCHITECTURES: build_model(arch(), (3, 8, 8), 10, 0)\nprint('torchvision' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"


def test_a_stride_over_one_pixel_has_a_gradient_of_numbers_in_bfloat16() -> None:
    """oneDNN left what lay in memory where weights meet padding alone."""
    conv = UndrawnConv(32, 32, 3, stride=2, padding=1, bias=False)
    nn.init.ones_(conv.weight)
    for _ in range(5):
        rubbish = torch.full((4, 32, 32, 3, 3), torch.nan)
        del rubbish
        conv.weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = conv(torch.ones(8, 32, 1, 1))
        outputs.float().sum().backward()
        assert conv.weight.grad is not None
        assert outputs.shape == (8, 32, 1, 1)
        expected = torch.zeros(3, 3)
        expected[1, 1] = 8.0
        assert torch.equal(conv.weight.grad, expected.expand(32, 32, 3, 3))
