"""A network as parts to be shown: each layer in words with its shape and numbers, residual blocks with what stands in
them, and what comes several times in a row said once.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from lab_models.architectures.expansion import plan_of
from lab_models.architectures.layers import LayerSize
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
from lab_models.architectures.shapes import Shape, shape_after
from lab_models.architectures.sizes import ModelSize

PartKind = Literal[
    "conv",
    "linear",
    "norm",
    "activation",
    "pool",
    "flatten",
    "dropout",
    "resize",
    "padded",
    "residual",
    "repeat",
]
LONGEST_PERIOD = 500
"""Parts in a row that are looked at for whether they come again."""
BEGINNINGS = ("conv", "linear", "residual")
"""What comes several times begins with one of these, as people see networks."""


@dataclass(frozen=True)
class DrawnPart:
    """A layer, or several: of a `residual` the `parts` around which its `shortcut` goes, empty where that is the signal
    itself; of a `repeat` the parts that come `times` times in a row, each with weights of its own.

    `name`: of the first weights, None where there are none. `output_shape`: of one image. `parameters` and `macs`: of
    all that is in it, all times.
    """

    kind: PartKind
    text: str
    name: str | None
    output_shape: Shape
    parameters: int = 0
    macs: int = 0
    times: int = 1
    parts: "tuple[DrawnPart, ...]" = ()
    shortcut: "tuple[DrawnPart, ...]" = ()


def parts_of(size: ModelSize, num_classes: int) -> tuple[DrawnPart, ...]:
    """The parts of the network of that size, from the image to the logits."""
    shape = shape_within(size.model, size.input_shape)
    sizes = {layer.name: layer for layer in size.layers}
    return _parts(plan_of(size.model, shape, num_classes).layers, shape, sizes)


def _parts(layers: Layers, shape: Shape, sizes: dict[str, LayerSize]) -> tuple[DrawnPart, ...]:
    found: list[DrawnPart] = []
    for layer in layers:
        before, shape = shape, shape_after(layer, shape)
        if isinstance(layer, StageEnd) or (isinstance(layer, Flatten) and len(before) == 1):
            continue
        if isinstance(layer, Flatten) and before[1:] == (1, 1) and found[-1:]:
            found[-1] = replace(found[-1], output_shape=shape)  # its numbers are a vector already
            continue
        found.append(_part(layer, before, shape, sizes))
    return _folded(tuple(found))


def _part(layer: Layer, before: Shape, shape: Shape, sizes: dict[str, LayerSize]) -> DrawnPart:
    if isinstance(layer, Residual):
        body, shortcut = (_parts(way, before, sizes) for way in (layer.body, layer.shortcut))
        every = (*body, *shortcut)
        return DrawnPart(
            "residual",
            "residual",
            next((part.name for part in every if part.name), None),
            shape,
            sum(part.parameters for part in every),
            sum(part.macs for part in every),
            parts=body,
            shortcut=shortcut,
        )
    kind, text = _in_words(layer)
    name = getattr(layer, "name", None)
    own = sizes.get(name) if name else None
    if own is None or kind in ("pool", "dropout"):
        return DrawnPart(kind, text, None, shape)
    return DrawnPart(kind, text, name, shape, own.parameters, own.macs)


def _in_words(layer: Layer) -> tuple[PartKind, str]:
    match layer:
        case Conv():
            return "conv", _conv(layer)
        case Linear():
            return "linear", f"linear, {layer.width:,}"
        case Norm():
            groups = f", {layer.groups} groups" if layer.kind == "group" else ""
            return "norm", f"{layer.kind} norm{groups}"
        case Activation():
            return "activation", layer.function.replace("_", " ")
        case Pool():
            stride = f", stride {layer.stride}" if layer.stride != layer.kernel else ""
            return "pool", f"{layer.kind} pool {layer.kernel}x{layer.kernel}{stride}"
        case GlobalPool():
            return "pool", "global average pool"
        case Flatten():
            return "flatten", "flatten"
        case Dropout():
            of = " of channels" if layer.of == "channels" else ""
            return "dropout", f"dropout {layer.probability:g}{of}"
        case Resize():
            return "resize", f"brought to {layer.side}x{layer.side}"
        case Padded():
            return "padded", f"stride {layer.stride}, {layer.extra:,} channels of zeros"
        case Residual() | StageEnd():
            raise AssertionError("these are no single layers")
        case _:
            assert_never(layer)


def _conv(layer: Conv) -> str:
    said = [f"{layer.kernel}x{layer.kernel} conv, {layer.width:,}"]
    if layer.stride > 1:
        said.append(f"stride {layer.stride}")
    if layer.groups > 1:
        said.append(f"{layer.groups} groups")
    if layer.dilation > 1:
        said.append(f"dilation {layer.dilation}")
    return ", ".join(said)


def _folded(parts: tuple[DrawnPart, ...]) -> tuple[DrawnPart, ...]:
    """The parts with those that come several times in a row, but for their names, in a `repeat`."""
    plain = [_without_names(part) for part in parts]
    found: list[DrawnPart] = []
    place = 0
    while place < len(parts):
        period, times = _repetition(plain, place)
        once = parts[place : place + period]
        found.append(once[0] if times == 1 else _repeated(once, times))
        place += period * times
    return tuple(found)


def _repetition(plain: list[DrawnPart], place: int) -> tuple[int, int]:
    """How many parts come how often from here on: what covers most, and of those the fewest parts."""
    best = (1, 1)
    for period in range(1, min(LONGEST_PERIOD, (len(plain) - place) // 2) + 1):
        if 2 * best[0] * best[1] > len(plain) - place:
            break  # most of it is covered
        if plain[place] != plain[place + period]:
            continue
        once, times = plain[place : place + period], 1
        while plain[place + times * period : place + (times + 1) * period] == once:
            times += 1
        if times > 1 and period * times > best[0] * best[1] and _begins_well(once):
            best = (period, times)
    return best


def _begins_well(parts: list[DrawnPart]) -> bool:
    """Whether people would see a repetition begin here and not one or two layers later."""
    return parts[0].kind in BEGINNINGS or not any(part.kind in BEGINNINGS for part in parts)


def _repeated(once: tuple[DrawnPart, ...], times: int) -> DrawnPart:
    return DrawnPart(
        "repeat",
        f"{times} times",
        once[0].name,
        once[-1].output_shape,
        times * sum(part.parameters for part in once),
        times * sum(part.macs for part in once),
        times,
        once,
    )


def _without_names(part: DrawnPart) -> DrawnPart:
    return replace(
        part,
        name=None,
        parts=tuple(map(_without_names, part.parts)),
        shortcut=tuple(map(_without_names, part.shortcut)),
    )
