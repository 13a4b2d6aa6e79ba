"""ResNet-18 as torchvision builds it, with a first layer that suits the images."""

from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock

from lab_models.architectures.blocks import Resize
from lab_models.architectures.pixels import shape_within
from lab_models.specs import ResNet18Spec

BLOCKS_PER_STAGE = [2, 2, 2, 2]


def resnet18(spec: ResNet18Spec, input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """torchvision's network, initialized by torchvision; only the first conv and the max pool may differ.

    The `cifar` stem, a 3x3 conv of stride 1 and no pool, is that of https://github.com/kuangliu/pytorch-cifar.
    """
    model = (
        models.resnet18(weights=None, num_classes=num_classes)
        if spec.image_size is None
        else ResizingResNet18(spec.image_size, num_classes)
    )
    channels = shape_within(spec, input_shape)[0]
    if spec.stem == "cifar":
        model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    else:
        return model
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model


class ResizingResNet18(models.ResNet):  # type: ignore[misc]  # torchvision says nothing of its types
    """The same network, its weights under the same names, that first brings every image to its own size."""

    def __init__(self, side: int, num_classes: int) -> None:
        super().__init__(BasicBlock, BLOCKS_PER_STAGE, num_classes=num_classes)
        self.resize = Resize(side)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> (B, C, side, side) -> logits (B, num_classes)."""
        logits: Tensor = super().forward(self.resize(images))
        return logits
