"""He et al.'s networks for CIFAR of 6n + 2 layers, plain or residual with the same parameters."""

from torch import nn

from lab_models.architectures.blocks import (
    Block,
    ConvNorm,
    PaddedShortcut,
    StagedNetwork,
    initialize,
)
from lab_models.specs import HeNetSpec


class HeNet(StagedNetwork):
    """3x3 stem, three stages of n blocks, global average pool, linear head (He et al. 2016, arXiv:1512.03385, section
    4.2).

    The paper says of the first weights only that they are those of He et al. 2015; the details are of
    https://github.com/facebookarchive/fb.resnet.torch (models/resnet.lua): convs normal of variance 2 / fan_out, head
    uniform.
    """

    def __init__(
        self, spec: HeNetSpec, input_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        stem = ConvNorm(input_shape[0], spec.width, kernel=3)
        super().__init__(
            stem, [_stage(spec, i) for i in range(3)], nn.Linear(4 * spec.width, num_classes)
        )
        initialize(self, head_std=None)


def _stage(spec: HeNetSpec, i: int) -> list[Block]:
    width = spec.width * 2**i
    before, stride = (width, 1) if i == 0 else (width // 2, 2)
    around = nn.Identity() if i == 0 else PaddedShortcut(before, width, stride=stride)
    first = Block(before, width, stride=stride, shortcut=around if spec.residual else None)
    others = (
        Block(width, width, stride=1, shortcut=nn.Identity() if spec.residual else None)
        for _ in range(1, spec.blocks_per_stage)
    )
    return [first, *others]
