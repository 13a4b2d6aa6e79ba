"""A network's stages from the input to the head, by the names of its layers: what is frozen, thawed or slowed down together."""

from lab_models.architectures.sizes import ModelSize
from lab_models.specs import Tuning

RESNET_STEM = ("conv1", "bn1")


def stage_of(layer: str) -> str:
    """The stage that a layer, or a parameter of it, belongs to: `stages.2`, `hidden.0`, `layer3`, `stem`, or a head's own name."""
    parts = layer.split(".")
    if parts[0] in RESNET_STEM:
        return "stem"
    if parts[0] in ("stages", "hidden") and len(parts) > 1 and parts[1].isdecimal():
        return ".".join(parts[:2])
    return parts[0]


def stages_of(size: ModelSize) -> tuple[str, ...]:
    """All stages with weights, input side first, the head last."""
    return tuple(dict.fromkeys(stage_of(layer.name) for layer in size.layers if layer.parameters))


def trained_stages(size: ModelSize, tuning: Tuning, epoch: int | None = None) -> tuple[str, ...]:
    """The stages that a transfer trains in an epoch, which counts from 1, or by its end; input side first, the head last."""
    every = stages_of(size)
    below = 0 if tuning.strategy in ("linear_probe", "features") else len(every) - 1 if tuning.last_stages is None else min(tuning.last_stages, len(every) - 1)
    if tuning.strategy == "staged" and epoch is not None:
        below = min(below, (epoch - 1) // tuning.unfreeze_every)
    return every[len(every) - 1 - below :]


def parameters_in(size: ModelSize, stages: tuple[str, ...]) -> int:
    """How many parameters the given stages have."""
    return sum(layer.parameters for layer in size.layers if stage_of(layer.name) in stages)


def macs_in(size: ModelSize, stages: tuple[str, ...]) -> int:
    """Multiply-accumulates of one image's forward pass in the given stages."""
    return sum(layer.macs for layer in size.layers if stage_of(layer.name) in stages)
