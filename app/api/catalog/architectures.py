"""Architectures over HTTP."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter

from app.api.http import passes
from app.api.schemas import Answer
from lab_models.architectures.naming import describe
from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import BUILT_IN
from lab_models.specs import ARCHITECTURES, PRESETS, ModelSpec
from lab_models.specs.presets import expand_preset

router = passes.router(tags=["catalog"])

TITLES = {
    "mlp": "Multilayer perceptron, plain or residual",
    "cnn": "Convolutional network of two-conv blocks, plain or residual",
    "henet": "He et al.'s CIFAR networks of 6n + 2 layers, plain or residual with the same parameters",
    "resnet18": "ResNet-18, with a stem for small or for large images",
    "vgg": "Convolutional network with max pools and a fully connected layer",
}

EXAMPLES: dict[str, tuple[tuple[str, Any], ...]] = {
    "mlp": (
        ("mnist", {"depth": 2, "width": 512}),
        ("mnist", {"depth": 10, "width": 512, "residual": True}),
        ("mnist", {"hidden": [128, 64], "dropout": 0.2, "dropout_at": "last_hidden"}),
        ("mnist", {"depth": 5, "width": 110, "residual": True, "shortcut_layers": 2}),
        ("digits", {"depth": 2, "width": 64}),
    ),
    "cnn": (
        ("cifar10", {"arch": "cnn", "stages": 3, "width": 32}),
        ("cifar10", {"arch": "cnn", "stages": 4, "width": 64, "residual": True, "stem": "3x3"}),
        ("cifar10", {"arch": "cnn", "stages": 10, "width": 64, "max_halvings": 3}),
        ("mnist", {"arch": "cnn", "widths": [16, 32], "blocks_per_stage": 1}),
    ),
    "henet": (
        ("cifar10", {"arch": "henet", "depth": 20, "residual": False}),
        ("mnist", {"arch": "henet", "depth": 20}),
    ),
    "resnet18": (
        ("cifar10", {"arch": "resnet18"}),
        ("cifar10", {"arch": "resnet18", "stem": "imagenet"}),
    ),
    "vgg": (
        ("cifar10", {"arch": "vgg"}),
        ("mnist", {"arch": "vgg", "widths": [32, 64], "convs_per_stage": 1, "hidden": 128}),
    ),
}

PRESET_DATASETS = {"mlp-small": "mnist", "mlp-ascoded": "mnist"}
"""Where a preset is not for CIFAR-10."""

_validated: Any = TypeAdapter(ModelSpec).validate_python


class ModelSizeAnswer(Answer):
    """A network and its size for the images and classes of a data set."""

    dataset: str
    description: str
    """The network in a few words."""
    model: dict[str, Any]
    """The network's spec with its defaults."""
    parameters: int
    """Trainable numbers."""
    macs_per_sample: int
    """Multiply-accumulates of one image's forward pass."""


class ArchitectureAnswer(Answer):
    """An architecture with the JSON Schema of its spec, and sizes of some members."""

    name: str
    title: str
    json_schema: dict[str, Any]
    examples: list[ModelSizeAnswer]


class PresetAnswer(ModelSizeAnswer):
    """A network of the labs that a spec may name in place of its fields."""

    name: str


class ArchitectureList(Answer):
    """The architectures this service knows, and the networks of the labs by name."""

    data: list[ArchitectureAnswer]
    presets: list[PresetAnswer]


@router.get("/architectures")
def list_architectures() -> ArchitectureList:
    """The architectures, with the JSON Schema of their specs and example sizes, and the presets with what they stand
    for.
    """
    return _architectures()


@cache
def _architectures() -> ArchitectureList:
    architectures = []
    for spec in ARCHITECTURES:
        name = spec.model_fields["arch"].default
        examples = [ModelSizeAnswer(**_size(dataset, model)) for dataset, model in EXAMPLES[name]]
        architectures.append(
            ArchitectureAnswer(
                name=name,
                title=TITLES[name],
                json_schema=spec.model_json_schema(),
                examples=examples,
            )
        )
    presets = [
        PresetAnswer(name=name, **_size(PRESET_DATASETS.get(name, "cifar10"), model))
        for name, model in PRESETS.items()
    ]
    return ArchitectureList(data=architectures, presets=presets)


def _size(dataset: str, document: Any) -> dict[str, Any]:
    model: ModelSpec = _validated(expand_preset(document))
    info = BUILT_IN[dataset]
    size = model_size(model, info.shape, info.num_classes)
    return {
        "dataset": dataset,
        "description": describe(model),
        "model": model.model_dump(mode="json", exclude_none=True),
        "parameters": size.parameters,
        "macs_per_sample": size.macs_per_sample,
    }
