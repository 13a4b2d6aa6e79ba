"""From a list of layers, as a spec has it, to the layers of the network: names, shortcuts and the head are added, and
what does not fit is said at its place.
"""

import math
from collections.abc import Iterator
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
    PoolKind,
    Residual,
    StageEnd,
)
from lab_models.architectures.shapes import Misfit, Shape, shape_of, shown, side_after
from lab_models.specs import LayersSpec
from lab_models.specs.layer_list import (
    ActivationEntry,
    AnyLayer,
    ConvEntry,
    DropoutEntry,
    FlattenEntry,
    LayerEntry,
    LinearEntry,
    NormEntry,
    PoolEntry,
    RepeatEntry,
    ResidualEntry,
)
from lab_models.specs.layer_walk import entries_within

HEAD = "head"


class LayerFault(ValueError):
    """A layer does not fit: `pointer` leads to it from the network."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def listed(model: LayersSpec, shape: Shape, num_classes: int) -> Layers:
    """The layers for images of this shape, the head with them. Raises LayerFault.

    A weight's name is its layer's place in the list: `layers.4.residual.1.weight`.
    """
    layers: list[Layer] = []
    for i, entry in enumerate(model.layers):
        found = _expand(entry, _after(model.layers, i), f"layers.{i}", f"/layers/{i}", shape)
        shape = shape_of(found, shape)
        layers += found
        if isinstance(entry, ResidualEntry | RepeatEntry):
            layers.append(StageEnd(f"layers.{i}"))
    if len(shape) == 3:
        layers += (GlobalPool("pool"), Flatten())
    return (*layers, Linear(HEAD, num_classes))


def _expand(
    entry: AnyLayer, following: AnyLayer | None, name: str, pointer: str, shape: Shape
) -> Layers:
    match entry:
        case ResidualEntry():
            return _residual(entry, name, pointer, shape)
        case RepeatEntry():
            return _repeated(entry, name, pointer, shape)
        case _:
            found = _single(entry, following, name)
    try:
        shape_of(found, shape)
    except Misfit as misfit:
        raise LayerFault(pointer, str(misfit)) from misfit
    return found


def _single(
    entry: ConvEntry
    | LinearEntry
    | NormEntry
    | ActivationEntry
    | PoolEntry
    | FlattenEntry
    | DropoutEntry,
    following: AnyLayer | None,
    name: str,
) -> Layers:
    match entry:
        case ConvEntry():
            return (_conv(entry, following, name),)
        case LinearEntry():
            return (Linear(name, entry.linear, entry.bias),)
        case NormEntry():
            return (Norm(name, entry.norm, entry.groups),)
        case ActivationEntry():
            return (Activation(entry.activation),)
        case FlattenEntry():
            return (Flatten(),)
        case DropoutEntry():
            return (Dropout(name, entry.dropout, entry.of),) if entry.dropout > 0 else ()
        case PoolEntry(pool="global_average"):
            return (GlobalPool(name), Flatten())
        case PoolEntry():
            kind: PoolKind = "max" if entry.pool == "max" else "average"
            stride = entry.kernel if entry.stride is None else entry.stride
            return (Pool(name, kind, entry.kernel, stride, entry.padding),)
        case _:
            assert_never(entry)


def _conv(entry: ConvEntry, following: AnyLayer | None, name: str) -> Conv:
    padding = entry.dilation * (entry.kernel - 1) // 2 if entry.padding is None else entry.padding
    return Conv(
        name,
        entry.conv,
        entry.kernel,
        entry.stride,
        padding,
        entry.dilation,
        entry.groups,
        not _is_batch_norm(following) if entry.bias is None else entry.bias,
    )


def _sequence(entries: tuple[AnyLayer, ...], name: str, pointer: str, shape: Shape) -> Layers:
    layers: list[Layer] = []
    for i, entry in enumerate(entries):
        found = _expand(entry, _after(entries, i), f"{name}.{i}", f"{pointer}/{i}", shape)
        shape = shape_of(found, shape)
        layers += found
    return tuple(layers)


def _repeated(entry: RepeatEntry, name: str, pointer: str, shape: Shape) -> Layers:
    layers: list[Layer] = []
    for time in range(entry.repeat):
        try:
            found = _sequence(entry.layers, f"{name}.{time}", f"{pointer}/layers", shape)
        except LayerFault as fault:
            if time == 0:
                raise
            raise LayerFault(
                fault.pointer, f"in repetition {time + 1} of {entry.repeat}: {fault}"
            ) from fault
        shape = shape_of(found, shape)
        layers += found
    return tuple(layers)


def _residual(entry: ResidualEntry, name: str, pointer: str, shape: Shape) -> Layers:
    body = _sequence(entry.residual, f"{name}.residual", f"{pointer}/residual", shape)
    given = shape_of(body, shape)
    try:
        shortcut = _shortcut(entry, f"{name}.shortcut", shape, given, body)
    except Misfit as misfit:
        raise LayerFault(pointer, str(misfit)) from misfit
    return (Residual(body, shortcut),)


def _shortcut(entry: ResidualEntry, name: str, before: Shape, given: Shape, body: Layers) -> Layers:
    how = entry.shortcut
    if how == "auto":
        how = "identity" if before == given else "projection"
    said = f"a residual gets {shown(before)} and its layers give {shown(given)}"
    if how == "identity":
        if before != given:
            raise Misfit(f'{said}: "identity" needs equal ones')
        return ()
    if len(before) != len(given):
        raise Misfit(f"{said}: no shortcut leads from one to the other")
    if len(given) == 1:
        if how == "padded":
            raise Misfit(f'{said}: "padded" is for maps')
        return (Linear(f"{name}.linear", given[0]),)
    stride = _stride_between(before, given, _stride_of(body))
    if stride is None:
        raise Misfit(f"{said}: no stride leads from one size to the other")
    if how == "padded":
        if given[0] < before[0]:
            raise Misfit(f'{said}: "padded" adds channels and takes none away')
        return (Padded(name, stride, given[0] - before[0]),)
    has_norm = any(_is_batch_norm(inner) for inner in entries_within(entry.residual))
    conv = Conv(f"{name}.conv", given[0], 1, stride, bias=not has_norm)
    return (conv, Norm(f"{name}.norm", "batch")) if has_norm else (conv,)


def _stride_of(layers: Layers) -> int:
    """That of all the layers together."""
    strides: Iterator[int] = (
        layer.stride
        if isinstance(layer, Conv | Pool)
        else _stride_of(layer.body)
        if isinstance(layer, Residual)
        else 1
        for layer in layers
    )
    return math.prod(strides)


def _stride_between(before: Shape, given: Shape, usual: int) -> int | None:
    """The usual one, else the smallest, with which a 1x1 conv makes the one size of the other."""
    sides = tuple(zip(before[1:], given[1:], strict=True))
    smallest = max(math.ceil(side / wanted) for side, wanted in sides)
    for stride in (usual, smallest):
        if all(side_after(side, 1, stride, 0) == wanted for side, wanted in sides):
            return stride
    return None


def _after(entries: tuple[AnyLayer, ...], i: int) -> AnyLayer | None:
    return entries[i + 1] if i + 1 < len(entries) else None


def _is_batch_norm(entry: LayerEntry | None) -> bool:
    return isinstance(entry, NormEntry) and entry.norm == "batch"
