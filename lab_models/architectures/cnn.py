"""The lab's convolutional network: stages of two-conv blocks, plain or residual by one flag."""

from torch import nn

from lab_models.architectures.blocks import HEAD_STD, Block, ConvNorm, StagedNetwork, initialize
from lab_models.specs import CNNSpec


class CNN(StagedNetwork):
    """Stem 7x7 or 3x3, stages whose first blocks change width and size, global average pool, linear head."""

    def __init__(self, spec: CNNSpec, input_shape: tuple[int, int, int], num_classes: int) -> None:
        widths = spec.stage_widths
        kernel = 7 if spec.stem == "7x7" else 3
        stem = ConvNorm(input_shape[0], widths[0], kernel=kernel)
        super().__init__(
            stem, [_stage(spec, i) for i in range(len(widths))], nn.Linear(widths[-1], num_classes)
        )
        initialize(self, head_std=HEAD_STD)


def _stage(spec: CNNSpec, i: int) -> list[Block]:
    width, stride = spec.stage_widths[i], spec.stage_strides[i]
    before = spec.stage_widths[max(i - 1, 0)]
    first = Block(
        before,
        width,
        stride=stride,
        shortcut=_shortcut(before, width, stride) if spec.residual else None,
        dropout=spec.dropout,
    )
    others = (
        Block(
            width,
            width,
            stride=1,
            shortcut=nn.Identity() if spec.residual else None,
            dropout=spec.dropout,
        )
        for _ in range(1, spec.blocks_per_stage)
    )
    return [first, *others]


def _shortcut(fan_in: int, fan_out: int, stride: int) -> nn.Module:
    """Option B of He et al. 2016 (arXiv:1512.03385, section 4.1): a projection where the shape changes, else the input
    itself.
    """
    return (
        nn.Identity()
        if stride == 1 and fan_in == fan_out
        else ConvNorm(fan_in, fan_out, kernel=1, stride=stride)
    )
