"""An exponential moving average of a network's weights, which is validated, tested and published in their place."""

import copy

import torch
from torch import nn


def averaged_copy(model: nn.Module) -> nn.Module:
    """A copy of the network to hold the average; it is never trained itself."""
    average = copy.deepcopy(model)
    return average.requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, num_updates: int) -> None:
    """average <- d · average + (1 - d) · model, running statistics included, with d = min(decay, (1 + n) / (10 + n)).

    The smaller decay of the first updates keeps the initial weights from lingering: `num_updates` as in
    https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage.
    """
    weight = 1 - min(decay, (1 + num_updates) / (10 + num_updates))
    means, values = _tensors(average), _tensors(model)
    torch._foreach_lerp_(_numbers(means), _numbers(values), weight)
    counters = [one for one in means if not one.is_floating_point()]
    if counters:
        torch._foreach_copy_(counters, [one for one in values if not one.is_floating_point()])


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*(one.detach() for one in model.parameters()), *model.buffers()]


def _numbers(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [one for one in tensors if one.is_floating_point()]
