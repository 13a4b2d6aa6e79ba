"""Any network of the lab as a list of layers, as a spec may have it: what a preset consists of, to begin one's own
from. Sent back unchanged it is the same network, to the bit.
"""

from typing import Any, assert_never

from lab_models.architectures.expansion import plan_of
from lab_models.architectures.pixels import shape_within
from lab_models.architectures.plan import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Layers,
    Linear,
    Norm,
    Padded,
    Pool,
    Residual,
    Resize,
    StageEnd,
)
from lab_models.architectures.sizes import InputShape
from lab_models.specs import LayersSpec, ModelSpec


class NotListed(ValueError):
    """The network does something that a list of layers cannot say."""


def as_list(model: ModelSpec, input_shape: InputShape, num_classes: int) -> LayersSpec:
    """The network as `"arch": "layers"`. Raises NotListed."""
    if isinstance(model, LayersSpec):
        return model
    if model.brought_to is not None or model.normalized_by != "dataset":
        raise NotListed(
            "a list of layers takes images as they are and by the data set's own mean and deviation"
        )
    plan = plan_of(model, shape_within(model, input_shape), num_classes)
    *layers, _head = plan.layers
    return LayersSpec.model_validate(
        {
            "input_channels": model.input_channels,
            "layers": _entries(tuple(layers)),
            "init": plan.init,
        }
    )


def _entries(layers: Layers) -> list[Any]:
    found: list[Any] = []
    for layer in layers:
        # a global average gives a vector by itself
        is_said = isinstance(layer, StageEnd) or (
            isinstance(layer, Flatten) and found[-1:] == ["global_average_pool"]
        )
        if not is_said:
            found.append(_entry(layer))
    return found


def _entry(layer: Layer) -> Any:
    match layer:
        case Conv():
            return {
                "conv": layer.width,
                "kernel": layer.kernel,
                "stride": layer.stride,
                "padding": None
                if 2 * layer.padding == layer.dilation * (layer.kernel - 1)
                else layer.padding,
                "dilation": layer.dilation,
                "groups": layer.groups,
                "bias": layer.bias or None,
            }
        case Linear():
            return {"linear": layer.width, "bias": layer.bias}
        case Norm():
            return {"norm": layer.kind, "groups": layer.groups}
        case Activation():
            return layer.function
        case Pool():
            return {
                "pool": layer.kind,
                "kernel": layer.kernel,
                "stride": None if layer.stride == layer.kernel else layer.stride,
                "padding": layer.padding,
            }
        case GlobalPool():
            return "global_average_pool"
        case Flatten():
            return "flatten"
        case Dropout():
            return {"dropout": layer.probability, "of": layer.of}
        case Residual():
            said = {"residual": _entries(layer.body)}
            return {**said, "shortcut": "padded"} if _is_padded(layer.shortcut) else said
        case Resize() | Padded() | StageEnd():
            raise NotListed(f"{type(layer).__name__.lower()} cannot be said in a list of layers")
        case _:
            assert_never(layer)


def _is_padded(shortcut: Layers) -> bool:
    return any(isinstance(layer, Padded) for layer in shortcut)
