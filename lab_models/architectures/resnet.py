"""ResNet-18 as torchvision builds it, with a first layer that suits the images."""

from torch import nn
from torchvision import models

from lab_models.specs import ResNet18Spec


def resnet18(spec: ResNet18Spec, input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """torchvision's network, initialized by torchvision; only the first conv and the max pool may differ.

    The `cifar` stem, a 3x3 conv of stride 1 and no pool, is that of https://github.com/kuangliu/pytorch-cifar.
    """
    model: nn.Module = models.resnet18(weights=None, num_classes=num_classes)
    channels = input_shape[0]
    if spec.stem == "cifar":
        model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    else:
        return model
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
