"""Architectures over HTTP."""

from functools import cache
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import TypeAdapter, ValidationError

from app.api.http import passes
from app.api.http.deps import TheSettings
from app.api.schemas import Answer, LayerAnswer, PartAnswer, layers_of, part_answers
from app.errors import Conflict, NotFound
from app.services.datasets import datasets
from lab_models.architectures.listing import as_list
from lab_models.architectures.naming import describe
from lab_models.architectures.parts import parts_of
from lab_models.architectures.sizes import ModelSize, impossible, model_size
from lab_models.datasets.catalog import BUILT_IN
from lab_models.specs import ARCHITECTURES, PRESETS, ModelSpec
from lab_models.specs.base import UnknownName
from lab_models.specs.presets import expand_preset

router = passes.router(tags=["catalog"])

TITLES = {
    "mlp": "Multilayer perceptron, plain or residual",
    "cnn": "Convolutional network of two-conv blocks, plain or residual",
    "henet": "He et al.'s CIFAR networks of 6n + 2 layers, plain or residual with the same parameters",
    "resnet18": "ResNet-18, with a stem for small or for large images",
    "vgg": "Convolutional network with max pools and a fully connected layer",
    "layers": "A network of your own, layer by layer",
}

LENET: dict[str, Any] = {
    "arch": "layers",
    "layers": [
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
    ],
}
"""LeNet-5 (LeCun et al. 1998) as it is usually written today: 61,706 parameters on MNIST."""

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
    "layers": (("cifar10", {"arch": "layers"}), ("mnist", LENET)),
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


class LayersAnswer(ModelSizeAnswer):
    """A network as a list of layers, which as `model` of an experiment trains to the same bits."""

    name: str
    table: list[LayerAnswer]
    """What the layers come to for the images of the data set."""
    parts: list[PartAnswer]
    """The same as it is drawn: blocks with what stands in them, what comes several times in a row once."""


@router.get(
    "/architectures/{name}/layers",
    responses={409: {"description": "The network cannot take this data set's images"}},
)
def list_layers(
    name: Annotated[str, Path(description="An architecture or a preset", max_length=100)],
    settings: TheSettings,
    dataset: Annotated[
        str, Query(description="For the images of this data set", max_length=100)
    ] = "cifar10",
) -> LayersAnswer:
    """A network of the lab as a list of layers, to begin one of your own from."""
    info = datasets.get(settings, dataset)
    try:
        model: ModelSpec = _validated(expand_preset(name))
    except ValidationError as error:
        raise NotFound(f"{name!r} needs fields of its own; GET /architectures has them") from error
    except UnknownName as error:
        raise NotFound(f"{error}; {error.hint}") from error
    reason = impossible(model, info.shape)
    if reason is not None:
        raise Conflict(f"{name} on {dataset}: {reason}")
    listed = as_list(model, info.shape, info.num_classes)
    size = model_size(listed, info.shape, info.num_classes)
    return LayersAnswer(
        name=name,
        **_facts(dataset, listed, size),
        table=layers_of(size),
        parts=part_answers(parts_of(size, info.num_classes)),
    )


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
    return _facts(dataset, model, model_size(model, info.shape, info.num_classes))


def _facts(dataset: str, model: ModelSpec, size: ModelSize) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "description": describe(model),
        "model": model.model_dump(mode="json", exclude_none=True),
        "parameters": size.parameters,
        "macs_per_sample": size.macs_per_sample,
    }
