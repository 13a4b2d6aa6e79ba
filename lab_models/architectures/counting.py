"""What tables count of a network beside its parameters: stages, blocks and convs."""

from dataclasses import dataclass
from typing import assert_never

from lab_models.architectures.sizes import InputShape, impossible, model_size
from lab_models.specs import (
    CNNSpec,
    HeNetSpec,
    LayersSpec,
    MLPSpec,
    ModelSpec,
    ResNet18Spec,
    VGGSpec,
)

SIDE = 64
"""Pixels of an image; how many convs there are does not depend on it."""


@dataclass(frozen=True)
class LayerCounts:
    """`num_blocks`: of two convs, with or without a shortcut. `num_conv_layers`: every conv, the stem's and those of
    shortcuts too. None where a network has no such part.
    """

    num_stages: int | None
    num_blocks: int | None
    num_conv_layers: int | None


def counts_of(model: ModelSpec) -> LayerCounts:
    """What a network consists of, whatever images it is for."""
    match model:
        case MLPSpec():
            return LayerCounts(None, None, None)
        case CNNSpec():
            stages = len(model.stage_widths)
            return LayerCounts(stages, stages * model.blocks_per_stage, _convs(model))
        case HeNetSpec():
            return LayerCounts(3, 3 * model.blocks_per_stage, _convs(model))
        case ResNet18Spec():
            return LayerCounts(4, 8, _convs(model))
        case VGGSpec():
            return LayerCounts(len(model.widths), None, len(model.widths) * model.convs_per_stage)
        case LayersSpec():
            is_known = model.has_maps and impossible(model, _images_of(model)) is None
            return LayerCounts(None, None, _convs(model) if is_known else None)
        case _:
            assert_never(model)


def _convs(model: ModelSpec) -> int:
    size = model_size(model, _images_of(model), 1)
    return sum(layer.kind == "conv" for layer in size.layers)


def _images_of(model: ModelSpec) -> InputShape:
    return (model.input_channels or 3, SIDE, SIDE)
