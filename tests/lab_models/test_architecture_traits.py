"""What an architecture says of itself is true of the network that is built, and every field of its spec does
something.
"""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab_models.architectures.build import build_model
from lab_models.architectures.pixels import as_seen, shape_within
from lab_models.architectures.sizes import impossible, model_size
from lab_models.datasets.catalog import CIFAR10
from lab_models.specs import ARCHITECTURES, PRESETS, ModelSpec
from lab_models.specs.architecture import ArchitectureSpec
from lab_models.specs.presets import expand_preset
from tests.lab_models.test_specs import CHANGES

COLOR, LARGE = (3, 32, 32), (3, 64, 64)
CLASSES = 4

validated: Any = TypeAdapter(ModelSpec).validate_python
DEFAULTS = [architecture() for architecture in ARCHITECTURES]
NETWORKS = [
    *DEFAULTS,
    *(validated(expand_preset(name)) for name in PRESETS),
    validated({"arch": "mlp", "norm": "batch"}),
    validated({"arch": "mlp", "norm": "layer"}),
    validated({"arch": "resnet18", "image_size": 64, "statistics": "imagenet"}),
]
FIELDS = [(base, field, value) for base, field, value in CHANGES if field.startswith("model.")]


def count(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("spec", NETWORKS, ids=repr)
def test_what_a_network_says_of_itself_is_so(spec: ArchitectureSpec) -> None:
    shape = (spec.input_channels or COLOR[0], *COLOR[1:])
    with torch.device("meta"):
        network = build_model(spec, shape, CLASSES, 0)
        larger = build_model(spec, (shape[0], *LARGE[1:]), CLASSES, 0)
    sizes = [sum(weight.numel() for weight in one.parameters()) for one in (network, larger)]
    assert spec.has_maps == (count(network, nn.Conv2d) > 0)
    assert spec.counts_pixels == (sizes[0] != sizes[1])
    assert spec.has_batch_norm == (count(network, _BatchNorm) > 0)
    assert spec.hidden_in_head == (spec.has_maps and count(network, nn.Linear) > 1)
    pools = sum(
        isinstance(module, nn.MaxPool2d) and module.padding == 0 for module in network.modules()
    )
    if spec.unpadded_pools != pools:  # each is looked at where it stands
        assert "smaller than pool" in (impossible(spec, (shape[0], 1, 1)) or "")
    side = spec.brought_to
    assert shape_within(spec, shape)[1:] == (COLOR[1:] if side is None else (side, side))
    assert shape_within(spec.as_they_are(), shape)[1:] == COLOR[1:]


def test_every_architecture_says_it_itself() -> None:
    said = ("has_maps", "counts_pixels", "hidden_in_head")
    for architecture in ARCHITECTURES:
        assert [name for name in said if name in vars(architecture)] == list(said)


def effects(document: Any) -> list[Any]:
    """Whatever a field of a network could change: what is refused, the pixels, sizes, weights, and outputs."""
    spec = validated(document)
    refused = [impossible(spec, (channels, *COLOR[1:])) for channels in (1, 3)]
    if refused[1] is not None:
        return [refused]
    size = model_size(spec, COLOR, CLASSES)
    seen = as_seen(spec, CIFAR10)
    network = build_model(spec, COLOR, CLASSES, 0)
    images = torch.randn(5, *COLOR, generator=torch.Generator().manual_seed(1))
    outputs = []
    for mode in (True, False):
        network.train(mode)
        torch.manual_seed(2)
        with torch.no_grad():
            outputs.append(network(images).tolist())
    weights = {name: weight.shape for name, weight in network.named_parameters()}
    return [refused, (seen.mean, seen.std), size.macs_per_sample, weights, outputs]


@pytest.mark.parametrize(("base", "field", "value"), FIELDS, ids=str)
def test_a_field_of_a_network_changes_what_is_trained_or_is_refused(
    base: dict[str, Any], field: str, value: Any
) -> None:
    model = base["model"]
    before = {"arch": model} if isinstance(model, str) else dict(model)
    before.setdefault("arch", "mlp")
    after = {**before, field.removeprefix("model."): value}
    if field == "model.arch":
        after = {"arch": value}
    assert effects(before) != effects(after)


def test_the_fields_above_are_all_that_there_are() -> None:
    named = set()
    for base, field, _ in FIELDS:
        model = base["model"]
        arch = model if isinstance(model, str) else model.get("arch", "mlp")
        named.add((arch, field.removeprefix("model.")))
    every = {
        (spec.arch, field)
        for spec in DEFAULTS
        for field in type(spec).model_fields
        if field != "arch"
    }
    assert every - named == set()
