"""One image's way through a network, layer by layer, in closed form and without torch."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, assert_never

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
from lab_models.architectures.shapes import Shape, shape_after, side_after

LayerKind = Literal["linear", "conv", "norm", "dropout", "pool"]
KEEPS_OUTPUT = ("relu", "tanh", "sigmoid")
"""Functions whose derivative is worked out from what they gave; the others keep what they were given."""


@dataclass(frozen=True)
class LayerSize:
    """One layer of a network, under the dotted name of its torch module.

    `output_shape`: of one image, without batch. `parameters`: trainable numbers. `macs`: multiply-accumulates of one
    image in linear layers and convs, zero in all others. `receptive_field`: pixels along the longer side of what the
    first layer gets that reach one output unit. `dead_weights`: weights of a conv that meet nothing but zero padding in
    maps of this size, so that their gradient is zero for ever.
    """

    name: str
    kind: LayerKind
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int
    dead_weights: int = 0


@dataclass
class Memory:
    """The numbers of a signal. `kept`: some layer needs them again for the backward pass, so they have been counted."""

    kept: bool = False


@dataclass(frozen=True)
class Signal:
    """What lies between two layers: neighbors see `receptive_field` pixels each, `jump` pixels apart (Dumoulin and
    Visin 2016, arXiv:1603.07285).
    """

    shape: Shape
    receptive_field: int
    jump: int
    memory: Memory = field(default_factory=Memory)


class Tape:
    """Records layers in the order of the forward pass: `layers`, and `activations`, the elements that autograd keeps of
    one image; `ends`: what stages give whose end is said.

    What is kept follows torch's derivatives: linear layers, convs, norms and average pools keep their input, ReLU its
    output, dropout its mask, max pool its input and an int64 index per output, which counts as two elements; sums and
    means of whole maps keep nothing.
    """

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.signal = Signal(input_shape, receptive_field=1, jump=1)
        self.layers: list[LayerSize] = []
        self.activations = 0
        self.ends: dict[str, Shape] = {}
        self._side = max(input_shape[1:])

    def record(self, layers: Layers) -> None:
        """Pass the layers, one after the other."""
        for layer in layers:
            self._pass(layer)

    def _pass(self, layer: Layer) -> None:
        before = self.signal
        match layer:
            case Conv():
                self._keep(before)
                self._slide(layer, layer.dilation * (layer.kernel - 1), layer.stride)
                self._add_conv(layer, before.shape)
            case Linear():
                self._keep(before)
                self._become(layer, receptive_field=self._side, jump=1)
                (fan_in,) = before.shape
                weights = fan_in * layer.width
                biases = layer.width if layer.bias else 0
                self._add(layer.name, "linear", parameters=weights + biases, macs=weights)
            case Norm():
                self._keep(before)
                self._become(layer)
                self._add(layer.name, "norm", parameters=2 * before.shape[0])
            case Pool():
                self._keep(before)
                self._slide(layer, layer.kernel - 1, layer.stride)
                if layer.kind == "max":
                    self.activations += 2 * math.prod(self.signal.shape)
                self._add(layer.name, "pool")
            case GlobalPool():
                self._become(layer, receptive_field=self._side, jump=1)
                self._add(layer.name, "pool")
            case Activation():
                if layer.function not in KEEPS_OUTPUT:
                    self._keep(before)
                self._become(layer)
                if layer.function in KEEPS_OUTPUT:
                    self._keep(self.signal)
            case Dropout():
                is_whole = layer.of == "units"
                self.activations += math.prod(before.shape) if is_whole else before.shape[0]
                self._become(layer)
                self._add(layer.name, "dropout")
            case Padded():
                self._slide(layer, 0, layer.stride)
            case Flatten():
                self._become(layer, memory=before.memory)
            case Resize():
                self._become(layer)
            case Residual():
                self._pass_both(layer)
            case StageEnd():
                self.ends[layer.name] = self.signal.shape
            case _:
                assert_never(layer)

    def _pass_both(self, layer: Residual) -> None:
        start = self.signal
        self.record(layer.body)
        end, self.signal = self.signal, start
        self.record(layer.shortcut)
        seen = max(end.receptive_field, self.signal.receptive_field)
        self.signal = Signal(shape_after(layer, start.shape), seen, end.jump)

    def _become(
        self,
        layer: Layer,
        *,
        receptive_field: int | None = None,
        jump: int | None = None,
        memory: Memory | None = None,
    ) -> None:
        before = self.signal
        self.signal = Signal(
            shape_after(layer, before.shape),
            before.receptive_field if receptive_field is None else receptive_field,
            before.jump if jump is None else jump,
            memory or Memory(),
        )

    def _slide(self, layer: Layer, reach: int, stride: int) -> None:
        before = self.signal
        self._become(
            layer,
            receptive_field=before.receptive_field + reach * before.jump,
            jump=before.jump * stride,
        )

    def _keep(self, signal: Signal) -> None:
        if not signal.memory.kept:
            self.activations += math.prod(signal.shape)
            signal.memory.kept = True

    def _add_conv(self, layer: Conv, before: Shape) -> None:
        channels, *sides = before
        per_tap = channels // layer.groups * layer.width
        alive = math.prod(_living_taps(side, layer) for side in sides)
        self._add(
            layer.name,
            "conv",
            parameters=layer.kernel**2 * per_tap + (layer.width if layer.bias else 0),
            macs=layer.kernel**2 * per_tap * math.prod(self.signal.shape[1:]),
            dead_weights=(layer.kernel**2 - alive) * per_tap,
        )

    def _add(
        self,
        name: str,
        kind: LayerKind,
        *,
        parameters: int = 0,
        macs: int = 0,
        dead_weights: int = 0,
    ) -> None:
        receptive_field = min(self.signal.receptive_field, self._side)
        self.layers.append(
            LayerSize(
                name, kind, self.signal.shape, parameters, macs, receptive_field, dead_weights
            )
        )


@lru_cache(maxsize=1024)
def _living(side: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many of a kernel's positions along one side ever meet a pixel of the map."""
    outputs = side_after(side, dilation * (kernel - 1) + 1, stride, padding)
    starts = range(-padding, outputs * stride - padding, stride)
    return sum(any(0 <= start + tap * dilation < side for start in starts) for tap in range(kernel))


def _living_taps(side: int, layer: Conv) -> int:
    return _living(side, layer.kernel, layer.stride, layer.padding, layer.dilation)
