"""A well-known network that is not here is answered with what is nearest in kind, which can be submitted."""

import json
import re
from typing import Any

import pytest

from lab_models.common.validation import InvalidDocument, validate
from lab_models.specs import TrainSpec
from lab_models.specs.network_hints import nearest_network
from lab_models.specs.presets import ARCHITECTURE_NAMES, PRESETS

KNOWN_ELSEWHERE = {
    "resnet50": ["'resnet18'", "'resnet56'", "ImageNet", "docs/layers.md"],
    "ResNet-101": ["'resnet18'", "'resnet110'"],
    "resnet34": ["'resnet18'", "'resnet32'"],
    "microsoft/resnet-50": ["'resnet56'"],
    "resnet14": ['{"arch": "henet", "depth": 14}'],
    "resnet": ["'resnet18'", "'resnet20'"],
    "wide_resnet50_2": ["'resnet18'", "'cnn'"],
    "vgg16": ["'vgg'", "widths", "docs/layers.md"],
    "VGG19_bn": ["'vgg'"],
    "alexnet": ["'vgg'"],
    "lenet": ['{"layers": [{"conv": 6, "kernel": 5}'],
    "LeNet-5": ['{"layers": [{"conv": 6, "kernel": 5}'],
    "efficientnet": ["'resnet20'", "'student'"],
    "efficientnet_b0": ["'resnet20'"],
    "mobilenet_v3_small": ["'resnet20'"],
    "densenet121": ["'resnet18'"],
    "convnext_tiny": ["'resnet18'"],
    "vit_b_16": ["'resnet18'", "attention"],
    "convnet": ["'cnn'", "'vgg'"],
    "fcnn": ["'mlp'"],
    "logreg": ['{"layers": ["flatten"]}'],
}


def refused(model: Any) -> tuple[str, str]:
    """Message and hint of a spec with that network."""
    with pytest.raises(InvalidDocument) as caught:
        validate(TrainSpec, {"model": model})
    (error,) = caught.value.errors
    assert error.hint is not None
    return error.message, error.hint


@pytest.mark.parametrize("name", KNOWN_ELSEWHERE)
def test_a_network_of_elsewhere_is_answered_by_kind(name: str) -> None:
    message, hint = refused(name)
    assert message == f"there is no network '{name}'"
    assert all(word in hint for word in KNOWN_ELSEWHERE[name]), hint
    assert refused({"preset": name})[1] == hint
    assert refused({"arch": name}) == (f"there is no architecture '{name}'", hint)


@pytest.mark.parametrize("name", KNOWN_ELSEWHERE)
def test_what_a_hint_names_is_there(name: str) -> None:
    hint = nearest_network(name)
    assert hint is not None
    for word in set(re.findall("'([a-z0-9]+)'", hint)) - {name}:
        assert word in (*ARCHITECTURE_NAMES, *PRESETS)
    for example in re.findall(r'{"layers.*]}|{"arch.*?}', hint):
        validate(TrainSpec, {"model": json.loads(example)})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mpl", "did you mean 'mlp'?"),
        ("hennet", "did you mean 'henet'?"),
        ("resnet65", "did you mean 'resnet56'?"),
        ("studnt", "did you mean 'student'?"),
    ],
)
def test_a_slip_is_still_a_slip(name: str, hint: str) -> None:
    assert nearest_network(name) is None
    assert refused(name)[1] == hint


def test_a_preset_given_as_an_architecture_is_told_where_it_belongs() -> None:
    assert refused({"arch": "ResNet56"})[1] == 'write "preset": "resnet56"'
    assert all(nearest_network(name) is None for name in ("mlp", "cnn", "henet", "mlp-small"))
