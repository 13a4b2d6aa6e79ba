"""What shape a layer gives of what it is given, without torch; and why it cannot take it."""

import math
from typing import assert_never

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

Shape = tuple[int, ...]


class Misfit(ValueError):
    """A layer cannot take what it is given."""


def shape_after(layer: Layer, shape: Shape) -> Shape:
    """The shape of one image's output, without batch: (C, H, W) of a map, (D,) of a vector. Raises Misfit."""
    match layer:
        case Conv():
            _require_map(layer, shape)
            _require_groups(layer.groups, shape[0], layer.width)
            reach = layer.dilation * (layer.kernel - 1) + 1
            sides = _slid(shape, reach, layer.stride, layer.padding, f"kernel {layer.kernel}")
            return (layer.width, *sides)
        case Pool():
            _require_map(layer, shape)
            sides = _slid(shape, layer.kernel, layer.stride, layer.padding, f"pool {layer.kernel}")
            return (shape[0], *sides)
        case Linear():
            if len(shape) != 1:
                raise Misfit(
                    f'a linear layer takes a vector and gets {shown(shape)}: put "flatten" or'
                    ' "global_average_pool" before it'
                )
            return (layer.width,)
        case GlobalPool():
            _require_map(layer, shape)
            return (shape[0], 1, 1)
        case Flatten():
            return (math.prod(shape),)
        case Resize():
            return (shape[0], layer.side, layer.side)
        case Padded():
            _require_map(layer, shape)
            sides = tuple(-(-side // layer.stride) for side in shape[1:])
            return (shape[0] + layer.extra, *sides)
        case Norm():
            _require_groups(layer.groups, shape[0], shape[0])
            return shape
        case Residual():
            return _sum(shape_of(layer.body, shape), shape_of(layer.shortcut, shape))
        case Activation() | Dropout() | StageEnd():
            return shape
        case _:
            assert_never(layer)


def shape_of(layers: Layers, shape: Shape) -> Shape:
    """The shape after all of the layers."""
    for layer in layers:
        shape = shape_after(layer, shape)
    return shape


def side_after(side: int, reach: int, stride: int, padding: int) -> int:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html, with `reach` the pixels that a kernel spans
    with its dilation.
    """
    return (side + 2 * padding - reach) // stride + 1


def shown(shape: Shape) -> str:
    """`a vector of 64`, `8 maps of 4x4`."""
    if len(shape) == 1:
        return f"a vector of {shape[0]:,}"
    return f"{shape[0]:,} map{'s' if shape[0] > 1 else ''} of {shape[1]}x{shape[2]}"


def _slid(shape: Shape, reach: int, stride: int, padding: int, what: str) -> Shape:
    if min(shape[1:]) + 2 * padding < reach:
        spans = f", which spans {reach} pixels" if str(reach) not in what else ""
        raise Misfit(
            f"the {shape[1]}x{shape[2]} map with padding {padding} is smaller than {what}{spans}"
        )
    return tuple(side_after(side, reach, stride, padding) for side in shape[1:])


def _require_map(layer: Layer, shape: Shape) -> None:
    if len(shape) != 3:
        kind = "conv" if isinstance(layer, Conv) else "pool"
        raise Misfit(f"a {kind} takes maps and gets {shown(shape)}")


def _require_groups(groups: int, *channels: int) -> None:
    for count in channels:
        if count % groups:
            raise Misfit(f"{count} channels cannot be divided into {groups} groups")


def _sum(body: Shape, shortcut: Shape) -> Shape:
    if body != shortcut:
        raise Misfit(f"the body gives {shown(body)} and the shortcut {shown(shortcut)}")
    return body
