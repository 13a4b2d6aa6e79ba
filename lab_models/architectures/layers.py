"""One image's way through a network, layer by layer, in closed form and without torch."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Shape = tuple[int, ...]
LayerKind = Literal["linear", "conv", "norm", "dropout", "pool"]


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


@dataclass(frozen=True)
class Signal:
    """What lies between two layers: neighbors see `receptive_field` pixels each, `jump` pixels apart (Dumoulin and
    Visin 2016, arXiv:1603.07285).

    `kept`: some layer needs it again for the backward pass, so it has been counted.
    """

    shape: Shape
    receptive_field: int
    jump: int
    kept: bool = False

    def with_kept(self, kept: bool) -> "Signal":
        """The same signal, which some layer needs again or none does."""
        return Signal(self.shape, self.receptive_field, self.jump, kept)


class Tape:
    """Records layers in the order of the forward pass: `layers`, and `activations`, the elements that autograd keeps of
    one image.

    What is kept follows torch's derivatives: linear layers, convs and norms keep their input, ReLU its output, dropout
    its mask, max pool its input and an int64 index per output, which counts as two elements; sums keep nothing.
    """

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.signal = Signal(input_shape, receptive_field=1, jump=1)
        self.layers: list[LayerSize] = []
        self.activations = 0
        self._side = max(input_shape[1:])

    def linear(self, name: str, width: int) -> None:
        """Linear layer with bias, on all of the signal at once."""
        self._keep()
        fan_in = math.prod(self.signal.shape)
        self.signal = Signal((width,), receptive_field=self._side, jump=1)
        self._add(name, "linear", parameters=(fan_in + 1) * width, macs=fan_in * width)

    def conv(self, name: str, width: int, *, kernel: int, stride: int = 1) -> None:
        """Square conv without bias, padded by half its kernel."""
        self._keep()
        channels, *sides = self.signal.shape
        padding = kernel // 2
        alive = math.prod(_living_taps(side, kernel, stride, padding) for side in sides)
        self._slide(width, kernel, stride, padding)
        weights = kernel**2 * channels * width
        dead = (kernel**2 - alive) * channels * width
        self._add(
            name,
            "conv",
            parameters=weights,
            macs=weights * math.prod(self.signal.shape[1:]),
            dead_weights=dead,
        )

    def max_pool(self, name: str, *, kernel: int, stride: int, padding: int = 0) -> None:
        """Square max pool."""
        self._keep()
        self._slide(self.signal.shape[0], kernel, stride, padding)
        self.activations += 2 * math.prod(self.signal.shape)
        self._add(name, "pool")

    def average_pool(self, name: str) -> None:
        """Mean over the whole map."""
        self.signal = Signal((self.signal.shape[0], 1, 1), receptive_field=self._side, jump=1)
        self._add(name, "pool")

    def norm(self, name: str) -> None:
        """Batch or layer norm with scale and shift per channel."""
        self._keep()
        self.signal = self.signal.with_kept(False)
        self._add(name, "norm", parameters=2 * self.signal.shape[0])

    def relu(self) -> None:
        """ReLU, which is no layer of its own."""
        self.signal = self.signal.with_kept(False)
        self._keep()

    def dropout(self, name: str, probability: float) -> None:
        """Dropout of units, or of whole channels in a map; nothing where the probability is zero."""
        if probability > 0:
            self.activations += self.signal.shape[0]
            self.signal = self.signal.with_kept(False)
            self._add(name, "dropout")

    def plus(self) -> None:
        """Addition of a shortcut."""
        self.signal = self.signal.with_kept(False)

    def projection(self, conv: str, norm: str, *, start: Signal, stride: int) -> None:
        """A shortcut from `start`, which some layer keeps already, to the signal as it stands: 1x1 conv and norm."""
        end = self.signal
        self.signal = start.with_kept(True)
        self.conv(conv, end.shape[0], kernel=1, stride=stride)
        self.norm(norm)
        self.signal = end

    def _slide(self, width: int, kernel: int, stride: int, padding: int) -> None:
        before = self.signal
        sides = (_output_side(side, kernel, stride, padding) for side in before.shape[1:])
        self.signal = Signal(
            (width, *sides),
            before.receptive_field + (kernel - 1) * before.jump,
            before.jump * stride,
        )

    def _keep(self) -> None:
        if not self.signal.kept:
            self.activations += math.prod(self.signal.shape)
            self.signal = self.signal.with_kept(True)

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


def _output_side(side: int, kernel: int, stride: int, padding: int) -> int:
    """https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html, without dilation."""
    return (side + 2 * padding - kernel) // stride + 1


@lru_cache(maxsize=1024)
def _living_taps(side: int, kernel: int, stride: int, padding: int) -> int:
    """How many of a kernel's positions along one side ever meet a pixel of the map."""
    starts = range(-padding, _output_side(side, kernel, stride, padding) * stride - padding, stride)
    return sum(any(0 <= start + tap < side for start in starts) for tap in range(kernel))
