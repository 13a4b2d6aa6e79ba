"""From a model spec to a network: the one place that knows every architecture."""

import math

import torch
from torch import nn

from lab_models.architectures.mlp import MLP
from lab_models.seeding import initialisation_seed
from lab_models.specs import ModelSpec


def build_model(spec: ModelSpec, input_shape: tuple[int, int, int], num_classes: int, seed: int) -> nn.Module:
    """A freshly initialised network for images of shape (channels, height, width); equal seeds give equal weights."""
    torch.manual_seed(initialisation_seed(seed))
    return MLP(spec, math.prod(input_shape), num_classes)
