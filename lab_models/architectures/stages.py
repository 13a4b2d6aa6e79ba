"""A network's stages from the input to the head, by the names of its layers: what is frozen, thawed or slowed down together."""

from lab_models.architectures.sizes import ModelSize, model_size
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import AnySpec, MLPSpec, TransferSpec, Tuning, VGGSpec
from lab_models.validation import FieldError, did_you_mean

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


def misfits(spec: AnySpec, before: DatasetInfo, info: DatasetInfo) -> list[FieldError]:
    """Why a network that has learned the images of `before` cannot be trained on with those of `info`; nothing where it can."""
    if not isinstance(spec, TransferSpec):
        return []
    is_bound = isinstance(spec.network, MLPSpec | VGGSpec)  # their first linear layer counts the pixels
    if before.shape[0] != info.shape[0] or (is_bound and before.shape != info.shape):
        seen, given = ("x".join(map(str, each.shape)) for each in (before, info))
        return [FieldError("/source", f"it has learned {before.name}, images of {seen}, and {info.name} has {given}: its first layer does not fit")]
    stages = stages_of(model_size(spec.network, info.shape, info.num_classes))[:-1]
    if spec.stage is not None and spec.stage not in stages:
        return [FieldError("/stage", f"this network has no stage {spec.stage!r}", did_you_mean(spec.stage, list(stages)))]
    return []
