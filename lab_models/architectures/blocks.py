"""What the convolutional networks are made of, and how their weights start."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_STD = 0.01
"""Deviation of a head's first weights in the lab's published code and in torchvision's VGG."""


class ConvNorm(nn.Module):
    """Conv without bias that keeps the size but for its stride, then batch norm."""

    def __init__(self, fan_in: int, fan_out: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv(fan_in, fan_out, kernel=kernel, stride=stride)
        self.norm = nn.BatchNorm2d(fan_out)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        outputs: Tensor = self.norm(self.conv(inputs))
        return outputs


class Resize(nn.Module):
    """Brings every image to one size, bilinearly.

    There is no filter against aliasing, which only an image that is made smaller could need: ONNX has none in opset 17.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, side, side)."""
        size = [self.side, self.side]
        if images.requires_grad:
            return functional.interpolate(images, size, mode="bilinear", align_corners=False)
        # the same, without a GPU's detour of 35 kernels that gradients need to be deterministic
        return torch.ops.aten.upsample_bilinear2d(images, size, False)  # type: ignore[no-any-return]


class PaddedShortcut(nn.Module):
    """Option A of He et al. 2016 (arXiv:1512.03385, section 4.1): every `stride`-th pixel, and zeros for the channels
    that are more.

    The zeros come last, as in https://github.com/facebookarchive/fb.resnet.torch (models/resnet.lua).
    """

    def __init__(self, fan_in: int, fan_out: int, *, stride: int) -> None:
        super().__init__()
        self.extra = fan_out - fan_in
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return functional.pad(
            inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra)
        )


class Block(nn.Module):
    """Conv, norm, ReLU, dropout of whole channels, conv, norm, plus the shortcut of the input if there is one, ReLU."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        *,
        stride: int,
        shortcut: nn.Module | None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = Conv(fan_in, fan_out, kernel=3, stride=stride)
        self.norm1 = nn.BatchNorm2d(fan_out)
        self.dropout = nn.Dropout2d(dropout) if dropout > 0 else None
        self.conv2 = Conv(fan_out, fan_out, kernel=3)
        self.norm2 = nn.BatchNorm2d(fan_out)
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        inner = torch.relu(self.norm1(self.conv1(inputs)))
        if self.dropout is not None:
            inner = self.dropout(inner)
        outputs: Tensor = self.norm2(self.conv2(inner))
        if self.shortcut is not None:
            outputs = outputs + self.shortcut(inputs)
        return torch.relu(outputs)


class StagedNetwork(nn.Module):
    """Stem, stages of blocks, global average pool, linear head."""

    def __init__(self, stem: ConvNorm, stages: Iterable[Iterable[Block]], head: nn.Linear) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*(nn.Sequential(*blocks) for blocks in stages))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes) logits."""
        maps = self.stages(torch.relu(self.stem(images)))
        # (B, width, h, w) -> (B, width) -> (B, num_classes)
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits


class Conv(nn.Conv2d):
    """Square conv without bias, padded by half its kernel. Its weights are not drawn when it is made, but by
    `initialize`.
    """

    def __init__(self, fan_in: int, fan_out: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__(fan_in, fan_out, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, ⌈H / stride⌉, ⌈W / stride⌉)."""
        if inputs.shape[-2:] == (1, 1) and self.stride != (1, 1) and _in_bfloat16_on_cpu(inputs):
            # a stride over one pixel changes nothing, but that oneDNN 3.12 then leaves the gradient of the weights that
            # meet padding alone as it finds the memory
            return functional.conv2d(inputs, self.weight, padding=self.padding)
        return super().forward(inputs)

    def reset_parameters(self) -> None:
        """Nothing: torch's own first weights would be drawn in vain."""


def initialize(model: nn.Module, *, head_std: float | None) -> None:
    """Draw the first weights of convs and linear layers; norms have theirs, 1 and 0.

    Convs: normal of variance 2 / fan_out (He et al. 2015, arXiv:1502.01852, equation 14). Linear layers: normal of
    deviation `head_std`, or `torch.nn.Linear`'s own for None, and zero biases. The projections of shortcuts are drawn
    last, so that a network without them gets the same numbers in all other layers.
    """
    for module in sorted(model.modules(), key=_is_projection):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            if head_std is not None:
                nn.init.normal_(module.weight, std=head_std)
            nn.init.zeros_(module.bias)


def _is_projection(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)


def _in_bfloat16_on_cpu(inputs: Tensor) -> bool:
    return inputs.device.type == "cpu" and torch.is_autocast_enabled("cpu")
