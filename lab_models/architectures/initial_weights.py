"""How the first weights of a network are drawn; norms have theirs, 1 and 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.plan import Init

SMALL_STD = 0.01
"""Deviation of a head's first weights in the lab's published code and in torchvision's VGG."""
PUBLISHED_STEM = 3, 64, 7
"""Channels, width and kernel of the first conv of torchvision's ResNet-18."""


class UndrawnConv(nn.Conv2d):
    """A conv whose weights are not drawn when it is made, but by `draw`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H', W')."""
        if inputs.shape[-2:] == (1, 1) and self.stride != (1, 1) and _is_in_bfloat16_on_cpu(inputs):
            # the same as with a stride over one pixel, but that oneDNN 3.12 then leaves the gradient of weights that
            # meet padding alone as it finds the memory
            whole = functional.conv2d(
                inputs, self.weight, self.bias, 1, self.padding, self.dilation, self.groups
            )
            return whole[:, :, :: self.stride[0], :: self.stride[1]]
        return super().forward(inputs)

    def reset_parameters(self) -> None:
        """Nothing: torch's own first weights might be drawn in vain."""


class UndrawnLinear(nn.Linear):
    """A linear layer whose weights are not drawn when it is made, but by `draw`."""

    def reset_parameters(self) -> None:
        """Nothing: the order of all draws is said in one place."""


@dataclass(frozen=True)
class Weighted:
    """A layer whose weights are to be drawn, and whether it stands in a shortcut."""

    module: UndrawnConv | UndrawnLinear
    in_shortcut: bool


def draw(layers: Sequence[Weighted], init: Init) -> None:
    """Draw the first weights of all layers, which come in the order of the forward pass.

    `torch`: as torch draws each of them. All others draw convs normal of variance 2 / fan_out (He et al. 2015,
    arXiv:1502.01852, equation 14), and linear layers: `kaiming_fan_out` likewise, `small_head` normal of deviation
    0.01, `zero_biases` and `torchvision` as torch draws them. Biases are zero, but torch's own for `torch` and
    `torchvision`. What stands in shortcuts is drawn last, so that a network without them gets the same numbers in all
    other layers; but `torchvision` draws as `torchvision.models.resnet18` does.
    """
    if init == "torchvision":
        _draw_as_torchvision(layers)
        return
    for layer in layers:
        # a linear layer's are drawn even where others take their place: so it was when torch made them, and a seed
        # means the same numbers as ever
        if init == "torch" or isinstance(layer.module, UndrawnLinear):
            _draw_as_torch(layer.module)
    if init != "torch":
        for layer in sorted(layers, key=lambda layer: layer.in_shortcut):
            _draw_again(layer.module, init)


def _draw_again(
    module: UndrawnConv | UndrawnLinear,
    init: Literal["kaiming_fan_out", "small_head", "zero_biases"],
) -> None:
    match init:
        case _ if isinstance(module, UndrawnConv):
            _draw_normal(module)
        case "kaiming_fan_out":
            _draw_normal(module)
        case "small_head":
            nn.init.normal_(module.weight, std=SMALL_STD)
        case "zero_biases":
            pass
        case _:
            assert_never(init)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _draw_as_torchvision(layers: Sequence[Weighted]) -> None:
    """Its own first conv is drawn, too, before ours takes its place where that is another."""
    first, *convs = (layer.module for layer in layers if isinstance(layer.module, UndrawnConv))
    is_its_own = (first.in_channels, first.out_channels, first.kernel_size[0]) == PUBLISHED_STEM
    theirs = first if is_its_own else UndrawnConv(*PUBLISHED_STEM, bias=False)
    for conv in (theirs, *convs):
        _draw_as_torch(conv)
    for layer in layers:
        if isinstance(layer.module, UndrawnLinear):
            _draw_as_torch(layer.module)
    for conv in (theirs, *convs):
        _draw_normal(conv)
    if not is_its_own:
        _draw_as_torch(first)
        _draw_normal(first)


def _draw_as_torch(module: UndrawnConv | UndrawnLinear) -> None:
    if isinstance(module, UndrawnConv):
        nn.Conv2d.reset_parameters(module)
    else:
        nn.Linear.reset_parameters(module)


def _draw_normal(module: UndrawnConv | UndrawnLinear) -> None:
    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _is_in_bfloat16_on_cpu(inputs: Tensor) -> bool:
    return inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu")
