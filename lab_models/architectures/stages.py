"""A network's stages from the input to the head, by the names of its layers: what is frozen, thawed or slowed down
together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from lab_models.architectures.shapes import Shape
from lab_models.architectures.sizes import KEPT_SIZES, ModelSize
from lab_models.specs import Tuning

RESNET_STEM = ("conv1", "bn1")


def stage_of(layer: str) -> str:
    """The stage that a layer, or a parameter of it, belongs to: `stages.2`, `hidden.0`, `layer3`, `stem`, or a head's
    own name.
    """
    parts = layer.split(".")
    if parts[0] in RESNET_STEM:
        return "stem"
    if parts[0] in ("stages", "hidden", "layers") and len(parts) > 1 and parts[1].isdecimal():
        return ".".join(parts[:2])
    return parts[0]


@dataclass(frozen=True)
class StageSize:
    """A stage's parameters and multiply-accumulates of one image's forward pass, and the shape of one image's
    output.
    """

    parameters: int
    macs: int
    output_shape: Shape


@lru_cache(maxsize=KEPT_SIZES)
def stage_sizes(size: ModelSize) -> Mapping[str, StageSize]:
    """Every stage, those without weights too, input side first."""
    found: dict[str, StageSize] = {}
    for layer in size.layers:
        before = found.get(stage_of(layer.name), StageSize(0, 0, ()))
        found[stage_of(layer.name)] = StageSize(
            before.parameters + layer.parameters, before.macs + layer.macs, layer.output_shape
        )
    ends = ((name, shape) for name, shape in size.ends if name in found)
    return MappingProxyType(
        found | {name: replace(found[name], output_shape=shape) for name, shape in ends}
    )


def stages_of(size: ModelSize) -> tuple[str, ...]:
    """All stages with weights, input side first, the head last."""
    return tuple(name for name, stage in stage_sizes(size).items() if stage.parameters)


def trained_stages(size: ModelSize, tuning: Tuning, epoch: int | None = None) -> tuple[str, ...]:
    """The stages that a transfer trains in an epoch, which counts from 1, or by its end; input side first, the head
    last.
    """
    every = stages_of(size)
    below = (
        0
        if tuning.strategy in ("linear_probe", "features")
        else len(every) - 1
        if tuning.last_stages is None
        else min(tuning.last_stages, len(every) - 1)
    )
    if tuning.strategy == "staged" and epoch is not None:
        below = min(below, (epoch - 1) // tuning.unfreeze_every)
    return every[len(every) - 1 - below :]


def parameters_in(size: ModelSize, stages: tuple[str, ...]) -> int:
    """How many parameters the given stages have."""
    return sum(stage.parameters for name, stage in stage_sizes(size).items() if name in stages)


def macs_in(size: ModelSize, stages: tuple[str, ...]) -> int:
    """Multiply-accumulates of one image's forward pass in the given stages."""
    return sum(stage.macs for name, stage in stage_sizes(size).items() if name in stages)
