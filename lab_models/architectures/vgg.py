"""A convolutional network after Simonyan and Zisserman: stages of 3x3 convs, each ended by a max pool, then fully
connected layers.
"""

import torch
from torch import Tensor, nn

from lab_models.architectures.blocks import HEAD_STD, ConvNorm, initialize
from lab_models.specs import VGGSpec


class ConvNormReLU(ConvNorm):
    """Conv without bias, batch norm, ReLU."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, fan_in, H, W) -> (B, fan_out, H, W)."""
        return torch.relu(super().forward(inputs))


class VGG(nn.Module):
    """Stages, flatten, one fully connected layer with ReLU and dropout, linear head (arXiv:1409.1556, with batch norm).

    First weights as in torchvision's VGG.
    """

    def __init__(self, spec: VGGSpec, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        halvings = len(spec.widths)
        pixels = (height >> halvings) * (width >> halvings)
        fan_ins = (channels, *spec.widths)
        self.stages = nn.Sequential(
            *(_stage(fan_ins[i], fan_ins[i + 1], spec.convs_per_stage) for i in range(halvings))
        )
        self.hidden = nn.Linear(spec.widths[-1] * pixels, spec.hidden)
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout > 0 else None
        self.head = nn.Linear(spec.hidden, num_classes)
        initialize(self, head_std=HEAD_STD)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes) logits."""
        # (B, C', H', W') -> (B, hidden)
        features = torch.relu(self.hidden(self.stages(images).flatten(1)))
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.head(features)
        return logits


def _stage(fan_in: int, width: int, num_convs: int) -> nn.Sequential:
    stage = nn.Sequential(
        *(ConvNormReLU(fan_in if j == 0 else width, width, kernel=3) for j in range(num_convs))
    )
    stage.add_module("pool", nn.MaxPool2d(2))
    return stage
