"""From a model spec to a network of PyTorch."""

import torch

from lab_models.architectures.expansion import plan_of
from lab_models.architectures.modules import LayeredNetwork
from lab_models.architectures.pixels import shape_within
from lab_models.architectures.sizes import impossible
from lab_models.common.seeding import initialisation_seed
from lab_models.specs import ModelSpec


def build_model(
    spec: ModelSpec, input_shape: tuple[int, int, int], num_classes: int, seed: int
) -> LayeredNetwork:
    """A freshly initialized network for images of shape (channels, height, width); equal seeds give equal weights.

    The plain and the residual form of a network start from the same weights in every layer that both have. Raises
    ValueError for images that `sizes.impossible` calls too small.
    """
    reason = impossible(spec, input_shape)
    if reason is not None:
        raise ValueError(reason)
    torch.manual_seed(initialisation_seed(seed))
    shape = shape_within(spec, input_shape)
    return LayeredNetwork(plan_of(spec, shape, num_classes), shape)
