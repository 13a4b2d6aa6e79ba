"""A network as data: the layers that an image passes, one after the other. What trains, measures or exports a network
walks this list. Nothing here loads torch.
"""

from dataclasses import dataclass
from typing import Literal

NormKind = Literal["batch", "layer", "group"]
ActivationName = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
PoolKind = Literal["max", "average"]
DroppedParts = Literal["units", "channels"]
Init = Literal["torch", "kaiming_fan_out", "small_head", "zero_biases", "torchvision"]


@dataclass(frozen=True)
class Conv:
    """Square conv. Its weights are `name`.weight, as those of every layer with a name."""

    name: str
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Linear:
    """Linear layer on a vector."""

    name: str
    width: int
    bias: bool = True


@dataclass(frozen=True)
class Norm:
    """Norm with scale and shift per channel: over the batch, or of each image over all its channels, or over each of
    `groups` of them.
    """

    name: str
    kind: NormKind
    groups: int = 1


@dataclass(frozen=True)
class Activation:
    """A function of every number."""

    function: ActivationName = "relu"


@dataclass(frozen=True)
class Pool:
    """Square pool; a row or column that is left over is dropped. A mean counts the padding's zeros."""

    name: str
    kind: PoolKind
    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class GlobalPool:
    """Mean over the whole map: (C, H, W) -> (C, 1, 1)."""

    name: str


@dataclass(frozen=True)
class Flatten:
    """(C, H, W) -> (C·H·W,)."""


@dataclass(frozen=True)
class Dropout:
    """Zeros for some units, or for whole channels of a map, while training."""

    name: str
    probability: float
    of: DroppedParts = "units"


@dataclass(frozen=True)
class Resize:
    """Brings every image to one size, bilinearly."""

    name: str
    side: int


@dataclass(frozen=True)
class Padded:
    """Every `stride`-th pixel, and `extra` channels of zeros: option A of He et al. 2016 (arXiv:1512.03385, section
    4.1).
    """

    name: str
    stride: int
    extra: int


@dataclass(frozen=True)
class Residual:
    """What the body makes of the signal, plus what the shortcut makes of it; an empty shortcut is the signal itself."""

    body: "Layers"
    shortcut: "Layers" = ()


@dataclass(frozen=True)
class StageEnd:
    """What stands here is the output of the stage `name`, see `stages`: it changes nothing."""

    name: str


Layer = (
    Conv
    | Linear
    | Norm
    | Activation
    | Pool
    | GlobalPool
    | Flatten
    | Dropout
    | Resize
    | Padded
    | Residual
    | StageEnd
)
Layers = tuple[Layer, ...]


@dataclass(frozen=True)
class NetworkPlan:
    """A whole network from images to logits, and how its first weights are drawn, see `initial_weights`."""

    layers: Layers
    init: Init
