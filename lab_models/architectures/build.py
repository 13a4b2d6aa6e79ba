"""From a model spec to a network: the one place that knows every architecture."""

from typing import assert_never

import torch
from torch import nn

from lab_models.architectures.cnn import CNN
from lab_models.architectures.henet import HeNet
from lab_models.architectures.mlp import MLP
from lab_models.architectures.sizes import impossible
from lab_models.architectures.vgg import VGG
from lab_models.common.seeding import initialisation_seed
from lab_models.specs import CNNSpec, HeNetSpec, MLPSpec, ModelSpec, ResNet18Spec, VGGSpec


def build_model(
    spec: ModelSpec, input_shape: tuple[int, int, int], num_classes: int, seed: int
) -> nn.Module:
    """A freshly initialized network for images of shape (channels, height, width); equal seeds give equal weights.

    The plain and the residual form of a network start from the same weights in every layer that both have. Raises
    ValueError for images that `sizes.impossible` calls too small.
    """
    reason = impossible(spec, input_shape)
    if reason is not None:
        raise ValueError(reason)
    torch.manual_seed(initialisation_seed(seed))
    match spec:
        case MLPSpec():
            return MLP(spec, input_shape, num_classes)
        case CNNSpec():
            return CNN(spec, input_shape, num_classes)
        case HeNetSpec():
            return HeNet(spec, input_shape, num_classes)
        case VGGSpec():
            return VGG(spec, input_shape, num_classes)
        case ResNet18Spec():
            # torchvision takes a second to import: only this architecture should pay for it.
            from lab_models.architectures.resnet import resnet18

            return resnet18(spec, input_shape, num_classes)
        case _:
            assert_never(spec)
