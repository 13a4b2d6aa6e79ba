"""A network of one's own: a list of layers is read in short forms, sized, trained, exported and refused at its place,
and any preset is such a list.
"""

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from lab_models.architectures.build import build_model
from lab_models.architectures.listing import NotListed, as_list
from lab_models.architectures.naming import describe
from lab_models.architectures.sizes import fault_of, impossible, model_size
from lab_models.common.validation import InvalidDocument
from lab_models.inference.export import onnx_file
from lab_models.inference.predictor import Predictor
from lab_models.specs import (
    ARCHITECTURES,
    PRESETS,
    LayersSpec,
    ModelSpec,
    canonical_json,
    read_request,
    read_spec,
)
from lab_models.specs.layer_differences import layers_apart, places_within
from lab_models.specs.layer_list import ENTRIES, FlattenEntry
from lab_models.specs.layer_walk import MOST_ENTRIES
from lab_models.specs.presets import expand_preset
from lab_models.studies.cells import short_names
from lab_models.studies.overrides import with_overrides
from lab_models.training.protocol import Completed
from tests.lab_models.conftest import (
    EXAMPLES,
    PROJECT,
    OrderMaker,
    train,
    train_until,
    weight_hashes,
)
from tests.lab_models.test_inference import COLOR, GREY, TOLERANCE, pixels, published, torch_logits
from tests.lab_models.test_inference import trained as moved
from tests.lab_models.test_sizes import kept_tensors, require_that_torch_agrees

validated: Any = TypeAdapter(ModelSpec).validate_python
DIGITS, CIFAR = (1, 8, 8), (3, 32, 32)
MIXED: list[Any] = [
    {"conv": 8},
    "batch_norm",
    "relu",
    {"residual": [{"conv": 8}, "batch_norm", "relu", {"dropout": 0.1, "of": "channels"}]},
    {"residual": [{"conv": 12, "stride": 2}, "batch_norm", "gelu", {"conv": 12}, "batch_norm"]},
    "silu",
    {"repeat": 2, "layers": [{"conv": 12, "groups": 12}, {"group_norm": 3}, "leaky_relu"]},
    {"average_pool": 2},
    "flatten",
    {"linear": 10},
    "layer_norm",
    "tanh",
]


def own(layers: list[Any], **fields: Any) -> LayersSpec:
    spec = validated({"arch": "layers", "layers": layers, **fields})
    assert isinstance(spec, LayersSpec)
    return spec


def errors(layers: Any) -> list[tuple[str, str, str | None]]:
    with pytest.raises(InvalidDocument) as refused:
        read_request({"model": {"arch": "layers", "layers": layers}})
    return [(error.pointer, error.message, error.hint) for error in refused.value.errors]


# --- how it is said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("relu", {"activation": "relu"}),
        ("ReLU", "relu"),
        ("batch_norm", {"norm": "batch", "groups": 1}),
        ({"group_norm": 4}, {"norm": "group", "groups": 4}),
        ("max_pool", {"max_pool": 2}),
        ({"max_pool": 3, "stride": 2}, {"pool": "max", "kernel": 3, "stride": 2}),
        ({"conv": 8}, {"conv": 8, "kernel": 3, "stride": 1, "padding": None}),
        ({"residual": ["relu"]}, {"residual": [{"activation": "relu"}], "shortcut": "auto"}),
        ({"repeat": 2, "layers": ["tanh"]}, {"layers": [{"activation": "tanh"}], "repeat": 2}),
        ("flatten", {"flatten": True}),
        ("global_average_pool", {"pool": "global_average"}),
    ],
)
def test_all_ways_to_say_a_layer_are_one_spec_with_one_fingerprint(one: Any, other: Any) -> None:
    specs = [
        read_request({"model": {"arch": "layers", "layers": [said]}}).spec for said in (one, other)
    ]
    assert specs[0] == specs[1]
    assert canonical_json(specs[0]) == canonical_json(specs[1])
    assert read_spec(specs[0].model_dump(mode="json")) == specs[0]


def test_a_list_of_layers_needs_no_name_of_its_architecture() -> None:
    named, bare = (
        read_request({"model": {**arch, "layers": ["flatten", {"linear": 8}]}}).spec
        for arch in ({"arch": "layers"}, {})
    )
    assert named == bare


def test_a_spec_keeps_the_shortest_form() -> None:
    said = [{"conv": 8, "kernel": 3, "stride": 2}, {"norm": "batch"}, {"activation": "relu"}]
    assert own([*said, {"max_pool": 2}, {"max_pool": 3}]).model_dump(mode="json")["layers"] == [
        {"conv": 8, "stride": 2},
        "batch_norm",
        "relu",
        "max_pool",
        {"pool": "max", "kernel": 3},
    ]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (["rleu"], ("/model/layers/0", "there is no layer 'rleu'", "did you mean 'relu'?")),
        (
            ["relu", {"conv": 3, "kernal": 2}],
            ("/model/layers/1", "there is no field 'kernal'", "did you mean 'kernel'?"),
        ),
        (
            [{"residual": ["relu", {"conv": 0}]}],
            (
                "/model/layers/0/residual/1/conv",
                "input should be greater than or equal to 1",
                None,
            ),
        ),
        (
            [{"repeat": 3, "layers": ["nn.BatchNorm2d"]}],
            (
                "/model/layers/0/layers/0",
                "there is no layer 'nn.BatchNorm2d'",
                'write "batch_norm"',
            ),
        ),
        (
            [3],
            (
                "/model/layers/0",
                'a layer is a name such as "relu", or an object such as {"conv": 32}',
                None,
            ),
        ),
        (
            [{"pool": "max", "padding": 2}],
            ("/model/layers/0", "padding 2 is more than half of kernel 2", None),
        ),
        ([], ("/model/layers", "must have at least 1 items, not 0", None)),
        ("relu", ("/model/layers", "must be a list", None)),
        (
            [{"repeat": 200, "layers": [{"repeat": 200, "layers": ["relu"]}]}],
            ("/model", "written out these are 40,000 layers, more than 2,000", None),
        ),
        (
            ["relu"] * (MOST_ENTRIES + 1),
            ("/model/layers", "there are more than 500 entries: repeat some of them", None),
        ),
    ],
    ids=str,
)
def test_what_is_no_layer_is_refused_at_its_place(
    layers: Any, expected: tuple[str, str, str | None]
) -> None:
    assert errors(layers) == [expected]


def test_lists_in_lists_in_lists_are_refused_before_they_are_read() -> None:
    deep: Any = ["relu"]
    for _ in range(900):
        deep = [{"residual": deep}]
    assert errors(deep) == [("/model/layers", "lists stand in lists more than 8 deep", None)]


@pytest.mark.parametrize(
    ("layers", "pointer", "message"),
    [
        (
            ["max_pool", "max_pool", {"conv": 4, "kernel": 5, "padding": 0}],
            "/layers/2",
            "the 2x2 map with padding 0 is smaller than kernel 5",
        ),
        (
            ["relu", {"residual": [{"conv": 4}, {"conv": 4, "kernel": 9, "padding": 0}]}],
            "/layers/1/residual/1",
            "the 8x8 map with padding 0 is smaller than kernel 9",
        ),
        (
            [{"linear": 5}],
            "/layers/0",
            'a linear layer takes a vector and gets 1 map of 8x8: put "flatten" or "global_average_pool" before it',
        ),
        (
            ["flatten", {"conv": 5}],
            "/layers/1",
            "a conv takes maps and gets a vector of 64",
        ),
        (
            [{"conv": 6}, {"group_norm": 4}],
            "/layers/1",
            "6 channels cannot be divided into 4 groups",
        ),
        (
            [{"residual": [{"conv": 6}], "shortcut": "identity"}],
            "/layers/0",
            'a residual gets 1 map of 8x8 and its layers give 6 maps of 8x8: "identity" needs equal ones',
        ),
        (
            [{"residual": ["flatten"]}],
            "/layers/0",
            "a residual gets 1 map of 8x8 and its layers give a vector of 64: no shortcut leads from one to the other",
        ),
        (
            [{"repeat": 4, "layers": ["max_pool"]}],
            "/layers/0/layers/0",
            "in repetition 4 of 4: the 1x1 map with padding 0 is smaller than pool 2",
        ),
    ],
    ids=str,
)
def test_a_layer_that_does_not_fit_is_refused_with_what_it_gets(
    layers: list[Any], pointer: str, message: str
) -> None:
    fault = fault_of(own(layers), DIGITS)
    assert fault is not None
    assert (fault.pointer, str(fault)) == (pointer, message)
    assert impossible(own(layers), DIGITS) == f"{pointer}: {message}"
    with pytest.raises(ValueError, match="/layers/"):
        build_model(own(layers), DIGITS, 10, 0)


def test_a_list_says_of_itself_what_its_layers_are() -> None:
    flat, averaged, vectors = (
        own([{"conv": 4}, "flatten", {"linear": 3}]),
        own([{"conv": 4}, "batch_norm", "global_average_pool"]),
        own(["flatten", {"linear": 3}]),
    )
    said = [
        (spec.has_maps, spec.counts_pixels, spec.hidden_in_head, spec.has_batch_norm)
        for spec in (flat, averaged, vectors)
    ]
    assert said == [
        (True, True, True, False),
        (True, False, False, True),
        (False, True, False, False),
    ]
    behind = ({"dropout": 0.1}, "tanh", "layer_norm", "flatten")
    assert [own([{"conv": 4}, "flatten", layer]).hidden_in_head for layer in behind] == [
        False,
        True,
        True,
        False,
    ]
    assert describe(own(MIXED)) == "own residual network conv 8-8-4x12, linear 10"
    assert describe(own([{"conv": 4}])) == "own network conv 4"
    assert describe(own([{"conv": 4 + i} for i in range(300)])) == (
        "own network conv 4-5-6-7-...-300-301-302-303"
    )


# --- what it computes


def test_weights_are_named_by_their_place_in_the_list() -> None:
    names = [name for name, _ in build_model(own(MIXED), DIGITS, 10, 0).named_parameters()]
    assert names[:5] == [
        "layers.0.weight",
        "layers.1.weight",
        "layers.1.bias",
        "layers.3.residual.0.weight",
        "layers.3.residual.1.weight",
    ]
    assert "layers.4.shortcut.conv.weight" in names
    assert "layers.6.1.0.weight" in names
    assert names[-2:] == ["head.weight", "head.bias"]


def test_a_network_of_layers_is_what_a_person_would_write() -> None:
    """LeNet-5 as torch's own modules, with the same weights."""
    lenet = own(
        [
            {"conv": 6, "kernel": 5},
            "tanh",
            "average_pool",
            {"conv": 16, "kernel": 5, "padding": 0},
            "tanh",
            "average_pool",
            "flatten",
            {"linear": 120},
            "tanh",
            {"linear": 84},
            "tanh",
        ]
    )
    assert model_size(lenet, (1, 28, 28), 10).parameters == 61_706
    model = build_model(lenet, (1, 28, 28), 10, 0)
    theirs = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh()),
        nn.Linear(84, 10),
    )
    weights = zip(theirs.state_dict(), model.state_dict().values(), strict=True)
    theirs.load_state_dict(dict(weights))
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(images), theirs(images))


def test_networks_from_papers_have_the_parameters_that_other_libraries_count() -> None:
    """LeNet-5; VGG-16, ResNet-34 and -50 of https://github.com/kuangliu/pytorch-cifar; ConvMixer; torchvision's."""
    text = (PROJECT / "docs" / "layers.md").read_text().split("## Networks from papers")[1]
    lists = [json.loads(one)["layers"] for one in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    said = [int(one.replace(",", "")) for one in re.findall(r": ([\d,]+)[\w ]* on [A-Z]", text)]
    shapes = [(1, 28, 28), *[CIFAR] * 4]
    found = [
        model_size(own(layers), shape, 10).parameters
        for layers, shape in zip(lists, shapes, strict=True)
    ]
    assert found == said == [61_706, 14_728_266, 21_282_122, 23_520_842, 594_186]
    large = [{"conv": 64, "kernel": 7, "stride": 2}, *lists[2][1:3]]
    large.append({"max_pool": 3, "stride": 2, "padding": 1})
    counts = [
        model_size(own([*large, *layers[3:]]), (3, 224, 224), 1000).parameters
        for layers in lists[2:4]
    ]
    assert counts == [21_797_672, 25_557_032]
    assert all(f"{count:,}" in text for count in counts)


@pytest.mark.parametrize("has_norm", [False, True])
def test_a_projection_has_a_norm_where_the_body_has_one(has_norm: bool) -> None:
    norm = ["batch_norm"] if has_norm else []
    model = build_model(own([{"residual": [{"conv": 4, "stride": 2}, *norm]}]), DIGITS, 10, 0)
    assert isinstance(model.get_submodule("layers.0.shortcut.conv"), nn.Conv2d)
    names = [name for name, _ in model.named_parameters()]
    assert ("layers.0.shortcut.norm.weight" in names) == has_norm
    assert ("layers.0.shortcut.conv.bias" in names) == (not has_norm)
    assert ("layers.0.residual.0.bias" in names) == (not has_norm)


ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid")
_of_maps = st.one_of(
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(["batch_norm", "layer_norm", {"group_norm": 2}]),
    st.fixed_dictionaries(
        {"conv": st.sampled_from([2, 4, 6])},
        optional={
            "kernel": st.integers(1, 4),
            "stride": st.integers(1, 3),
            "padding": st.integers(0, 2),
            "dilation": st.integers(1, 2),
            "groups": st.sampled_from([1, 2]),
            "bias": st.booleans(),
        },
    ),
    st.fixed_dictionaries(
        {"pool": st.sampled_from(["max", "average"])},
        optional={"kernel": st.integers(2, 3), "stride": st.integers(1, 2), "padding": st.just(1)},
    ),
    st.sampled_from([{"dropout": 0.3}, {"dropout": 0.3, "of": "channels"}]),
)
_of_vectors = st.one_of(
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(["batch_norm", "layer_norm", {"dropout": 0.3}]),
    st.fixed_dictionaries({"linear": st.sampled_from([2, 4, 6])}, optional={"bias": st.booleans()}),
)


def _nested(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(of, min_size=1, max_size=3)
    return st.one_of(
        of,
        of,
        of,
        st.builds(lambda body: {"residual": body}, few),
        st.builds(lambda body: {"residual": [*body, {"residual": body}]}, few),
        st.builds(lambda body: {"repeat": 2, "layers": body}, few),
    )


LISTS = st.builds(
    lambda maps, end, vectors: [{"conv": 4}, *maps, end, *vectors],
    st.lists(_nested(_of_maps), max_size=4),
    st.sampled_from(["flatten", "global_average_pool"]),
    st.lists(_nested(_of_vectors), max_size=3),
)


@settings(EXAMPLES, max_examples=120)
@given(LISTS, st.sampled_from([(1, 8, 8), (3, 9, 12)]))
def test_whatever_the_list_its_sizes_are_torchs(
    layers: list[Any], shape: tuple[int, int, int]
) -> None:
    spec = own(layers)
    if impossible(spec, shape) is not None:
        return
    require_that_torch_agrees(spec, shape, 5)
    batch = 3
    model = build_model(spec, shape, 5, 0).train()
    with kept_tensors(model) as kept:
        model(torch.rand(batch, *shape))
    elements = sum(tensor.numel() * (2 if tensor.dtype == torch.int64 else 1) for tensor in kept)
    size = model_size(spec, shape, 5)
    # a mean and a deviation per group, or per image
    groups = [
        module.num_groups if isinstance(module, nn.GroupNorm) else 1
        for module in model.modules()
        if isinstance(module, nn.GroupNorm | nn.LayerNorm)
    ]
    assert elements == batch * (size.activations + 2 * sum(groups))


@settings(EXAMPLES, max_examples=120)
@given(LISTS, st.sampled_from([GREY, COLOR]), st.integers(0, 2**16))
def test_whatever_the_list_onnx_says_what_torch_says(
    tmp_path_factory: pytest.TempPathFactory, layers: list[Any], info: Any, seed: int
) -> None:
    document = {"arch": "layers", "layers": layers}
    if impossible(validated(document), info.shape) is not None:
        return
    model = moved(document, info, seed)
    content = onnx_file(published(model, document, info, tmp_path_factory.mktemp("network")))
    expected = torch_logits(model, info, pixels(info))
    np.testing.assert_allclose(
        Predictor(content).predict(pixels(info)).logits,
        expected,
        rtol=0,
        atol=TOLERANCE * max(1.0, float(np.abs(expected).max())),
    )


@pytest.mark.parametrize(
    "fields",
    [{}, {"precision": "bfloat16"}, {"probes": ["gradient_flow"], "ema_decay": 0.9}],
    ids=["float32", "bfloat16", "probed and averaged"],
)
def test_a_run_of_layers_that_was_killed_ends_with_the_same_bits(
    fields: dict[str, Any], make_order: OrderMaker, tmp_path: Path
) -> None:
    spec = {
        "dataset": {"train_limit": 200},
        "model": {"arch": "layers", "layers": MIXED},
        "batch_size": 48,
        "epochs": 3,
        **fields,
    }
    whole = make_order(spec, run_folder=str(tmp_path / "whole"))
    assert isinstance(train(whole)[-1], Completed)
    killed = make_order(spec, run_folder=str(tmp_path / "killed"))
    _, saved = train_until(killed, 1, 2)
    train(killed.model_copy(update={"attempt": 2, "resume": (saved,)}))
    assert weight_hashes(whole) == weight_hashes(killed.model_copy(update={"attempt": 2}))


# --- from the lab's own to one's own


LISTED: dict[str, Any] = {
    **{name: name for name in PRESETS if name not in ("cnn-blocks-5", "cnn-blocks-10")},
    **{arch: arch for arch in ("mlp", "cnn", "henet", "resnet18", "vgg")},
    "resnet18 with torchvision's stem": {"arch": "resnet18", "stem": "imagenet"},
    "mlp of pairs": {"arch": "mlp", "depth": 5, "width": 8, "residual": True, "shortcut_layers": 2},
}
LARGE = ("teacher", "resnet56", "resnet110", "resnet44")


def bits(spec: ModelSpec, shape: tuple[int, int, int]) -> tuple[list[Tensor], Tensor]:
    """First weights, and logits in training."""
    model = build_model(spec, shape, 10, 3)
    torch.manual_seed(4)
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    return list(model.state_dict().values()), model(images)


@pytest.mark.parametrize("name", LISTED)
def test_a_network_of_the_lab_is_the_same_as_its_list_of_layers(name: str) -> None:
    spec = validated(expand_preset(LISTED[name]))
    sizes = [model_size(one, CIFAR, 10) for one in (spec, as_list(spec, CIFAR, 10))]
    facts = [
        [(layer.kind, layer.output_shape, layer.parameters, layer.macs) for layer in size.layers]
        for size in sizes
    ]
    assert facts[0] == facts[1]
    assert sizes[0].activations == sizes[1].activations
    if name in LARGE:
        return
    (weights, logits), (others, other_logits) = (
        bits(one, DIGITS) for one in (as_list(spec, DIGITS, 10), spec)
    )
    assert len(weights) == len(others)
    assert all(map(torch.equal, weights, others))
    assert torch.equal(logits, other_logits)


def test_a_list_of_a_preset_trains_to_the_same_bits(make_order: OrderMaker, tmp_path: Path) -> None:
    preset = validated(
        {"arch": "cnn", "widths": [4, 6], "residual": True, "dropout": 0.2, "stem": "3x3"}
    )
    documents = [
        one.model_dump(mode="json", exclude_none=True)
        for one in (preset, as_list(preset, DIGITS, 10))
    ]
    found = []
    for number, document in enumerate(documents):
        spec = {
            "dataset": {"train_limit": 200},
            "model": document,
            "batch_size": 48,
            "epochs": 2,
            "gradient_clip": 0.5,
        }
        order = make_order(spec, run_folder=str(tmp_path / str(number)))
        completed = train(order)[-1]
        assert isinstance(completed, Completed)
        found.append((completed.test, completed.best_val))
    assert found[0] == found[1]


def test_what_a_list_cannot_say_is_refused() -> None:
    spec = validated({"arch": "resnet18", "image_size": 64})
    with pytest.raises(NotListed, match="takes images as they are"):
        as_list(spec, CIFAR, 10)


def test_every_architecture_is_there_to_be_listed() -> None:
    named = {validated(expand_preset(document)).arch for document in LISTED.values()}
    assert named | {"layers"} == {arch.model_fields["arch"].default for arch in ARCHITECTURES}


FIELDS_OF_ENTRIES: list[tuple[Any, str, Any]] = [
    *(
        ({"conv": 4, "kernel": 3}, field, value)
        for field, value in (
            ("conv", 6),
            ("kernel", 5),
            ("stride", 2),
            ("padding", 0),
            ("dilation", 2),
            ("groups", 2),
            ("bias", False),
        )
    ),
    ({"linear": 4}, "linear", 5),
    ({"linear": 4}, "bias", False),
    ({"norm": "group"}, "norm", "batch"),
    ({"norm": "group"}, "groups", 2),
    ({"activation": "relu"}, "activation", "tanh"),
    ({"pool": "max"}, "pool", "average"),
    *(({"pool": "max"}, field, value) for field, value in (("kernel", 3), ("padding", 1))),
    ({"pool": "max"}, "stride", 1),
    ({"dropout": 0.5}, "dropout", 0.1),
    ({"dropout": 0.5}, "of", "channels"),
    ({"residual": [{"conv": 6}]}, "residual", [{"conv": 8}]),
    ({"residual": [{"conv": 6}]}, "shortcut", "padded"),
    ({"repeat": 2, "layers": [{"conv": 4}]}, "repeat", 3),
    ({"repeat": 2, "layers": [{"conv": 4}]}, "layers", ["relu"]),
]


def seen(entry: Any) -> Any:
    """What of a network changes with a layer: sizes, first weights, and logits in training."""
    before = ["flatten"] if "linear" in entry else [{"conv": 4}]
    spec = own([*before, entry])
    model = build_model(spec, DIGITS, 10, 3)
    torch.manual_seed(4)
    logits = model(torch.randn(4, *DIGITS, generator=torch.Generator().manual_seed(1)))
    return model_size(spec, DIGITS, 10).layers, logits.tolist()


@pytest.mark.parametrize(("entry", "field", "value"), FIELDS_OF_ENTRIES, ids=str)
def test_every_field_of_a_layer_has_an_effect(entry: Any, field: str, value: Any) -> None:
    assert seen(entry) != seen({**entry, field: value})


def test_the_fields_of_layers_above_are_all_that_there_are() -> None:
    named = {(type(own([entry]).layers[0]), field) for entry, field, _ in FIELDS_OF_ENTRIES}
    every = {(entry, field) for entry in ENTRIES for field in entry.model_fields}
    assert every - named == {(FlattenEntry, "flatten")}


def test_the_defaults_of_layers_never_change_because_old_fingerprints_stand_for_them() -> None:
    said = {
        f"{entry.key}.{name}": field.default
        for entry in ENTRIES
        for name, field in entry.model_fields.items()
        if not field.is_required()
    }
    assert said == {
        "conv.kernel": 3,
        "conv.stride": 1,
        "conv.padding": None,
        "conv.dilation": 1,
        "conv.groups": 1,
        "conv.bias": None,
        "linear.bias": True,
        "norm.groups": 1,
        "pool.kernel": 2,
        "pool.stride": None,
        "pool.padding": 0,
        "dropout.of": "units",
        "residual.shortcut": "auto",
    }


def test_a_gradient_reaches_every_weight_of_a_list() -> None:
    spec = own(MIXED)
    model = build_model(spec, CIFAR, 10, 0).train()
    assert model_size(spec, CIFAR, 10).dead_weights == 0
    images = torch.randn(32, *CIFAR, generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(model(images), torch.arange(32) % 10).backward()
    without = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert without == []


# --- studies


def test_a_study_varies_a_layer_by_its_place_in_the_list() -> None:
    document = {"model": {"arch": "layers", "layers": [{"conv": 16}, "relu", "flatten"]}}
    changed = with_overrides(document, {"model.layers.0.conv": 32, "model.layers.1": "gelu"})
    assert changed["model"]["layers"] == [{"conv": 32}, "gelu", "flatten"]
    assert document["model"]["layers"] == [{"conv": 16}, "relu", "flatten"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model.layers.7.conv", "'7' is no place in a list of 2, counted from 0"),
        ("model.layers.first", "'first' is no place in a list of 2, counted from 0"),
        ("model.layers.1.kernel", "'1' holds no fields"),
    ],
)
def test_a_path_past_the_end_of_a_list_leads_nowhere(path: str, message: str) -> None:
    document = {"model": {"arch": "layers", "layers": [{"conv": 16}, "relu"]}}
    with pytest.raises(InvalidDocument, match=f"{message}, so '{path}' leads nowhere"):
        with_overrides(document, {path: 3})


def test_a_factor_that_is_a_place_is_called_by_its_list() -> None:
    paths = ("model.layers.3", "model.layers.0.kernel", "model.layers.4.residual.0")
    assert short_names(paths) == ["layers.3", "kernel", "residual.0"]
    assert short_names(("model.layers.0.conv", "student.layers.4.conv")) == [
        "model.layers.0.conv",
        "student.layers.4.conv",
    ]


BEFORE: list[Any] = [{"conv": 8}, "relu", {"residual": [{"conv": 8}, "relu"]}, "max_pool"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([{"conv": 8, "kernel": 5}, *BEFORE[1:]], [("model.layers.0.kernel", [3, 5])]),
        ([BEFORE[0], "gelu", *BEFORE[2:]], [("model.layers.1", ["relu", "gelu"])]),
        (
            [*BEFORE[:2], {"residual": [{"conv": 16}, "relu"]}, {"pool": "max", "kernel": 3}],
            [("model.layers.2.residual.0.conv", [8, 16]), ("model.layers.3.kernel", [2, 3])],
        ),
        (BEFORE[:3], [("model.layers", [BEFORE, BEFORE[:3]])]),
        (None, [("model.layers", [BEFORE, None])]),
        (BEFORE, []),
    ],
    ids=str,
)
def test_lists_of_one_length_differ_in_fields_of_layers(after: Any, expected: Any) -> None:
    found = list(layers_apart("model.layers", [BEFORE, after]))
    assert found == expected
    for path, _ in found:
        field = path.removesuffix(".kernel")  # which is not said where it is as by default
        assert field in {"model.layers", *places_within("model.layers", BEFORE)}


@pytest.mark.parametrize(
    ("body", "maps", "stride"),
    [
        (["max_pool", {"conv": 4}], (8, 10), 2),
        ([{"conv": 4, "stride": 3, "padding": 0}], (8, 8), 4),
        ([{"conv": 4, "kernel": 3, "padding": 0}, {"max_pool": 5, "stride": 3}], (9, 7), 9),
    ],
)
def test_a_projection_takes_the_stride_of_its_body_or_the_smallest_that_fits(
    body: list[Any], maps: tuple[int, int], stride: int
) -> None:
    spec = own([{"residual": body}])
    model = build_model(spec, (1, *maps), 10, 0)
    conv = model.get_submodule("layers.0.shortcut.conv")
    assert isinstance(conv, nn.Conv2d)
    assert conv.stride == (stride, stride)
    model(torch.zeros(2, 1, *maps))


@pytest.mark.parametrize(
    "layers",
    [
        [{"conv": 4096, "kernel": 64, "padding": 64}] * 400,
        [{"repeat": 199, "layers": [{"conv": 1, "kernel": 1, "padding": 64}] * 10}],
        [
            {"repeat": 199, "layers": [{"conv": 1, "kernel": 1, "padding": 64}] * 9},
            {"residual": [{"conv": 1, "kernel": 2, "padding": 0}]},
        ],
        [{"repeat": 200, "layers": [{"residual": [{"residual": [{"residual": ["relu"]}]}]}]}] * 2,
        ["flatten", *[{"linear": 16384}] * 400],
        [{"conv": 1 + number} for number in range(480)],
    ],
    ids=["wide", "growing", "unequal", "nested", "linear", "distinct"],
)
def test_a_hostile_list_is_refused_or_sized_at_no_cost(layers: list[Any]) -> None:
    started = time.process_time()
    spec = own(layers)
    if impossible(spec, (3, 224, 224)) is None:
        model_size(spec, (3, 224, 224), 1000)
    assert len(describe(spec)) < 100
    assert time.process_time() - started < 1, "some hundredths of a second are needed"
