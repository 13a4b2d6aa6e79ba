"""Sizes in closed form: the counts of the literature, and torch's own for every layer of every architecture."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lab_models.architectures.build import build_model
from lab_models.architectures.layers import LayerSize
from lab_models.architectures.modules import FUNCTIONS, Part, Resizing
from lab_models.architectures.sizes import ModelSize, dead_weight_warning, impossible, model_size
from lab_models.architectures.stages import stage_sizes
from lab_models.specs import PRESETS, CNNSpec, HeNetSpec, MLPSpec, ModelSpec, ResNet18Spec, VGGSpec
from tests.lab_models.conftest import EXAMPLES, model_documents

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
Shape3 = tuple[int, int, int]

validated: Any = TypeAdapter(ModelSpec).validate_python


def size_of(document: dict[str, Any], shape: Shape3 = CIFAR, num_classes: int = 10) -> ModelSize:
    return model_size(validated(document), shape, num_classes)


# --- what is known from elsewhere


# Depth: (one hidden layer, then d blocks of two layers; as in the lab's code: one hidden layer, then d - 1 blocks 512
# -> 1024 -> 512 with batch norm).
BLOCK_MLPS = {
    2: (1_457_674, 1_461_258),
    3: (1_982_986, 2_514_442),
    4: (2_508_298, 3_567_626),
    5: (3_033_610, 4_620_810),
    6: (3_558_922, 5_673_994),
    7: (4_084_234, 6_727_178),
    8: (4_609_546, 7_780_362),
    9: (5_134_858, 8_833_546),
    10: (5_660_170, 9_886_730),
}


@pytest.mark.parametrize("depth", BLOCK_MLPS)
def test_parameters_of_mlps_of_blocks(depth: int) -> None:
    pairs, as_coded = BLOCK_MLPS[depth]
    assert (
        model_size(
            MLPSpec(depth=2 * depth + 1, width=512, residual=True, shortcut_layers=2), MNIST, 10
        ).parameters
        == pairs
    )
    for residual in (False, True):
        size = size_of({**PRESETS["mlp-ascoded"], "depth": depth, "residual": residual}, MNIST)
        assert size.parameters == as_coded
        assert sum(layer.kind == "linear" for layer in size.layers) == 2 * depth


def test_parameters_of_a_published_residual_mlp_of_pairs() -> None:
    assert (
        model_size(
            MLPSpec(depth=5, width=110, residual=True, shortcut_layers=2), MNIST, 10
        ).parameters
        == 136_300
    )


@pytest.mark.parametrize(
    ("document", "num_classes", "parameters"),
    [
        (PRESETS["teacher"], 10, 11_181_642),
        (PRESETS["teacher"] | {"stem": "3x3"}, 10, 11_173_962),
        (PRESETS["teacher"] | {"residual": False}, 10, 11_007_818),
        (PRESETS["teacher"], 100, 11_227_812),
        (PRESETS["student"], 10, 700_458),
        (PRESETS["student"] | {"stem": "3x3"}, 10, 696_618),
        (PRESETS["cnn-blocks-1"], 10, 158_154),
        (PRESETS["cnn-blocks-1"] | {"residual": True}, 10, 158_154),
        (PRESETS["cnn-blocks-5"], 10, 20_449_098),
        (PRESETS["cnn-blocks-5"] | {"residual": True}, 10, 20_886_090),
        (PRESETS["cnn-blocks-10"], 10, 67_655_498),
        (PRESETS["cnn-blocks-10"] | {"residual": True}, 10, 69_408_330),
        ({"arch": "resnet18"}, 10, 11_173_962),
        ({"arch": "resnet18", "stem": "imagenet"}, 10, 11_181_642),
        # https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet18.html
        ({"arch": "resnet18", "stem": "imagenet"}, 1000, 11_689_512),
        (PRESETS["three-models-cnn"], 10, 2_197_706),
    ],
)
def test_parameters_of_convolutional_networks(
    document: dict[str, Any], num_classes: int, parameters: int
) -> None:
    assert size_of(document, num_classes=num_classes).parameters == parameters


@pytest.mark.parametrize(
    ("preset", "residual", "million_macs"),
    [
        ("teacher", True, 563.3),
        ("student", True, 109.7),
        ("cnn-blocks-1", False, 160.6),
        ("cnn-blocks-1", True, 160.6),
        ("cnn-blocks-5", False, 594.7),
        ("cnn-blocks-5", True, 602.1),
        ("cnn-blocks-10", False, 641.9),
        ("cnn-blocks-10", True, 650.6),
    ],
)
def test_multiply_accumulates_of_convolutional_networks(
    preset: str, residual: bool, million_macs: float
) -> None:
    assert (
        round(size_of(PRESETS[preset] | {"residual": residual}).macs_per_sample / 1e6, 1)
        == million_macs
    )


@pytest.mark.parametrize(
    ("depth", "million"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7), (1202, 19.4)]
)
def test_he_networks_are_as_large_as_in_the_paper_with_shortcuts_and_without(
    depth: int, million: float
) -> None:
    """He et al. 2016, table 6, which prints two digits."""
    plain, residual = (
        model_size(HeNetSpec(depth=depth, residual=residual), CIFAR, 10)
        for residual in (False, True)
    )
    assert plain.layers == residual.layers
    assert plain.parameters == pytest.approx(million * 1e6, rel=0.02)
    assert sum(layer.kind in ("conv", "linear") for layer in plain.layers) == depth


def test_the_multiply_accumulates_of_resnet18_on_imagenet_are_those_that_torchvision_states() -> (
    None
):
    """1.81 GFLOPS in torchvision's table of weights, which counts a multiply-accumulate as one."""
    size = size_of({"arch": "resnet18", "stem": "imagenet"}, (3, 224, 224), 1000)
    assert round(size.macs_per_sample / 1e9, 2) == 1.81
    assert size.layers[-1] == LayerSize("fc", "linear", (1000,), 513_000, 512_000, 224)
    assert [layer.output_shape for layer in size.layers if layer.kind == "pool"] == [
        (64, 56, 56),
        (512, 1, 1),
    ]


# --- against torch


def _documents(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    required = {
        name: values
        for name, values in fields.items()
        if name in ("arch", "width", "widths", "depth", "hidden")
    }
    return st.fixed_dictionaries(
        required, optional={name: values for name, values in fields.items() if name not in required}
    )


_mlps_of_blocks = _documents(
    arch=st.just("mlp"),
    depth=st.integers(1, 4),
    width=st.integers(1, 20),
    block=st.just("inverted_bottleneck"),
    residual=st.booleans(),
    norm=st.sampled_from(["none", "batch", "layer"]),
    dropout=st.sampled_from([0.0, 0.2]),
    dropout_at=st.sampled_from(["every_hidden", "last_hidden"]),
)
_mlps_of_pairs = _documents(
    arch=st.just("mlp"),
    depth=st.sampled_from([1, 3, 5]),
    width=st.integers(1, 20),
    norm=st.sampled_from(["none", "batch", "layer"]),
).map(lambda document: document | {"residual": True, "shortcut_layers": 2})
_few_channels = st.lists(st.integers(1, 6), min_size=1, max_size=5)
_cnn_fields = {
    "arch": st.just("cnn"),
    "blocks_per_stage": st.integers(1, 3),
    "residual": st.booleans(),
    "stem": st.sampled_from(["7x7", "3x3"]),
    "max_halvings": st.none() | st.integers(0, 5),
}
_cnns = _documents(widths=_few_channels, **_cnn_fields, dropout=st.sampled_from([0.0, 0.2]))
_henets = _documents(
    arch=st.just("henet"),
    depth=st.sampled_from([8, 14]),
    width=st.integers(1, 5),
    residual=st.booleans(),
)
_vggs = _documents(
    arch=st.just("vgg"),
    widths=_few_channels,
    hidden=st.integers(1, 9),
    convs_per_stage=st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.2]),
)
_models = st.one_of(
    model_documents().map(lambda document: {"arch": "mlp", **document}),
    _mlps_of_blocks,
    _mlps_of_pairs,
    _cnns,
    _henets,
    _vggs,
).map(validated)
_shapes = st.tuples(st.sampled_from([1, 3]), st.integers(1, 20), st.integers(1, 20))


def require_that_torch_agrees(spec: ModelSpec, shape: Shape3, num_classes: int) -> None:
    model = build_model(spec, shape, num_classes, 0).eval()
    size = model_size(spec, shape, num_classes)
    seen: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: seen.append((name, tuple(output.shape[1:])))

    modules = {
        name: module
        for name, module in model.named_modules()
        if not list(module.children()) and not isinstance(module, Part | Resizing)
    }
    for name, module in modules.items():
        module.register_forward_hook(note(name))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = model(torch.zeros(2, *shape, device=next(model.parameters()).device))

    assert logits.shape == (2, num_classes)
    assert seen == [(layer.name, layer.output_shape) for layer in size.layers]
    assert [
        sum(parameter.numel() for parameter in modules[layer.name].parameters())
        for layer in size.layers
    ] == [layer.parameters for layer in size.layers]
    assert size.parameters == sum(
        parameter.numel() for parameter in model.parameters() if parameter.requires_grad
    )
    assert counter.get_total_flops() == 2 * 2 * size.macs_per_sample
    kinds = {
        "linear": nn.Linear,
        "conv": nn.Conv2d,
        "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm),
        "dropout": (nn.Dropout, nn.Dropout2d),
    }
    assert all(
        isinstance(
            modules[layer.name],
            kinds.get(layer.kind, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d),
        )
        for layer in size.layers
    )


@EXAMPLES
@given(_models, _shapes, st.integers(2, 12))
def test_every_layer_is_the_one_that_torch_runs(
    spec: ModelSpec, shape: Shape3, num_classes: int
) -> None:
    reason = impossible(spec, shape)
    if reason is None:
        require_that_torch_agrees(spec, shape, num_classes)
    else:
        assert isinstance(spec, VGGSpec)
        assert min(shape[1:]) < 2 ** len(spec.widths)
        for make in (
            lambda: model_size(spec, shape, num_classes),
            lambda: build_model(spec, shape, num_classes, 0),
        ):
            with pytest.raises(ValueError) as refused:
                make()
            assert str(refused.value) == reason


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 45, 70), (3, 1, 2)])
def test_every_layer_of_resnet18_is_the_one_that_torchvision_runs(stem: Any, shape: Shape3) -> None:
    with torch.device("meta"):
        require_that_torch_agrees(ResNet18Spec(stem=stem), shape, 7)
        require_that_torch_agrees(ResNet18Spec(stem=stem, image_size=40), shape, 7)


@contextmanager
def kept_tensors(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What autograd keeps while the context lasts, each storage once, the model's own tensors and what has no batch
    left out.
    """
    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim > 1 and tensor.untyped_storage().data_ptr() not in own:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    found: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found
    found.extend(kept.values())


@EXAMPLES
@given(_models, _shapes)
def test_activations_are_what_autograd_keeps(spec: ModelSpec, shape: Shape3) -> None:
    if impossible(spec, shape) is not None:
        return
    batch = 3
    model = build_model(spec, shape, 10, 0).train()
    with kept_tensors(model) as kept:
        logits = model(torch.rand(batch, *shape))
    assert logits.requires_grad
    elements = sum(tensor.numel() * (2 if tensor.dtype == torch.int64 else 1) for tensor in kept)
    # a mean and a deviation per image
    statistics = 2 * sum(isinstance(module, nn.LayerNorm) for module in model.modules())
    assert elements == batch * (model_size(spec, shape, 10).activations + statistics)


@pytest.mark.parametrize(
    "document",
    [
        {"arch": "cnn", "widths": [6, 8, 8], "residual": True, "stem": "3x3"},
        {"arch": "cnn", "widths": [8, 8], "stem": "7x7", "blocks_per_stage": 1},
        {"arch": "henet", "depth": 8, "width": 6},
        {"arch": "vgg", "widths": [6, 8], "hidden": 8},
    ],
)
def test_receptive_fields_are_the_pixels_that_a_middle_unit_depends_on(
    document: dict[str, Any],
) -> None:
    shape = (3, 5, 121)  # so long that no middle unit reaches an end
    model = build_model(validated(document), shape, 10, 0).double().eval()
    layers = {
        layer.name: layer
        for layer in size_of(document, shape).layers
        if layer.kind == "conv" or layer.name.endswith(".pool")
    }
    outputs: dict[str, torch.Tensor] = {}
    for name in layers:
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: outputs.update({name: output})
        )
    images = torch.randn(
        16,
        *shape,
        dtype=torch.float64,
        requires_grad=True,
        generator=torch.Generator().manual_seed(1),
    )
    model(images)
    for name, layer in layers.items():
        middle = outputs[name][..., outputs[name].shape[-1] // 2].square().sum()
        (gradient,) = torch.autograd.grad(middle, images, retain_graph=True)
        columns = gradient.abs().amax((0, 1, 2)).nonzero().flatten()
        assert columns[-1] - columns[0] + 1 == layer.receptive_field < 121, name
        assert layer.output_shape[2] == outputs[name].shape[-1]


def test_a_unit_after_the_last_average_sees_the_whole_image() -> None:
    layers = {
        layer.name: layer.receptive_field
        for layer in size_of({"arch": "henet"}, (3, 32, 40)).layers
    }
    assert layers["stem.conv"] == 3
    assert layers["stages.0.0.conv2"] == 7
    assert layers["stages.2.2.conv2"] == layers["pool"] == layers["head"] == 40
    assert {layer.receptive_field for layer in size_of({"arch": "mlp"}, MNIST).layers} == {28}


# --- weights that never learn


_with_some_channels = _documents(
    widths=st.lists(st.integers(3, 7), min_size=1, max_size=5), **_cnn_fields
) | _documents(
    arch=st.just("henet"),
    depth=st.sampled_from([8, 14]),
    width=st.integers(3, 6),
    residual=st.booleans(),
)


@EXAMPLES
@given(
    _with_some_channels.map(validated), st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9))
)
def test_dead_weights_are_those_without_a_gradient(spec: ModelSpec, shape: Shape3) -> None:
    size = model_size(spec, shape, 3)
    # ReLU would silence some weights by chance
    with patch.dict(FUNCTIONS, relu=nn.functional.elu):
        model = build_model(spec, shape, 3, 0).train()
    images = torch.randn(32, *shape, generator=torch.Generator().manual_seed(2))
    nn.functional.cross_entropy(model(images), torch.arange(32) % 3).backward()
    without = {
        name: int((module.weight.grad == 0).sum())
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert without == {
        layer.name: layer.dead_weights for layer in size.layers if layer.kind == "conv"
    }


@pytest.mark.parametrize(
    ("residual", "share"),
    [(False, "67,655,498 weights (60.8 %)"), (True, "69,408,330 weights (59.3 %)")],
)
def test_the_ten_stages_of_the_lab_are_mostly_dead(residual: bool, share: str) -> None:
    size = size_of(PRESETS["cnn-blocks-10"] | {"residual": residual})
    assert size.dead_weights == 41_156_608
    assert dead_weight_warning(size) == (
        f"41,156,608 of {share} never get a gradient: from layer stages.5.0.conv1 on the feature map is 1x1, "
        "and they meet nothing but zero padding; set max_halvings to 4 or less"
    )
    assert size_of(PRESETS["cnn-blocks-10"] | {"max_halvings": 4}).dead_weights == 0


@pytest.mark.parametrize(
    ("document", "shape", "remedy"),
    [
        ({"arch": "resnet18", "stem": "imagenet"}, CIFAR, "set stem to cifar"),
        ({"arch": "resnet18"}, (1, 8, 8), "set a larger image_size"),
        (
            {"arch": "resnet18", "stem": "imagenet", "image_size": 24},
            CIFAR,
            "set a larger image_size",
        ),
        (
            {"arch": "resnet18", "stem": "imagenet", "statistics": "imagenet"},
            CIFAR,
            "set a larger image_size",
        ),
        ({"arch": "cnn", "stages": 1}, (1, 3, 3), "use larger images"),
        ({"arch": "henet"}, (1, 4, 4), "use larger images"),
    ],
)
def test_the_warning_says_what_would_help(
    document: dict[str, Any], shape: Shape3, remedy: str
) -> None:
    warning = dead_weight_warning(size_of(document, shape))
    assert warning is not None
    assert warning.endswith(f"zero padding; {remedy}")


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"cnn-blocks-10"}))
def test_no_other_network_of_the_labs_has_dead_weights_on_its_images(preset: str) -> None:
    size = size_of(PRESETS[preset])
    assert size.dead_weights == 0
    assert dead_weight_warning(size) is None


# --- images that are too small


def test_a_network_with_more_max_pools_than_the_image_has_halvings_is_impossible() -> None:
    three = VGGSpec(widths=(2, 2, 2))
    assert impossible(three, (1, 8, 9)) is None
    assert impossible(three, (1, 28, 7)) == (
        "a 28x7 image has no pixel left after max pool 3 of 3: give at most 2 'widths', or larger images"
    )
    assert impossible(VGGSpec(widths=(2,)), (1, 1, 1)) == (
        "a 1x1 image has no pixel left after max pool 1 of 1: choose another architecture, or larger images"
    )


@pytest.mark.parametrize(
    "spec",
    [
        MLPSpec(),
        CNNSpec(stages=20, width=1),
        HeNetSpec(),
        ResNet18Spec(),
        ResNet18Spec(stem="imagenet"),
    ],
)
def test_every_other_network_takes_a_single_pixel(spec: ModelSpec) -> None:
    assert impossible(spec, (1, 1, 1)) is None
    assert model_size(spec, (1, 1, 1), 2).layers[-1].output_shape == (2,)


# --- what is worked out once


def test_equal_networks_are_worked_out_once_and_different_ones_are_not_mixed_up() -> None:
    size = size_of({"arch": "cnn", "stages": 2, "dropout": 0.25})
    assert size_of({"arch": "cnn", "widths": [32, 64], "dropout": 0.25}) is size
    others = [
        size_of({"arch": "cnn", "stages": 2}),
        size_of({"arch": "cnn", "stages": 2, "dropout": 0.25}, MNIST),
        size_of({"arch": "cnn", "stages": 2}, CIFAR, 2),
    ]
    assert len({(other.parameters, other.activations) for other in (size, *others)}) == 4
    for stages in (1, 2, 3):
        for other in (
            size_of({"arch": "cnn", "stages": stages, "blocks_per_stage": blocks})
            for blocks in (1, 2, 50)
        ):
            assert (
                sum(stage.parameters for stage in stage_sizes(other).values())
                == other.parameters
                == sum(layer.parameters for layer in other.layers)
            )
