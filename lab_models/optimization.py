"""Optimizer and learning rate from their specs."""

from typing import assert_never

from torch import nn, optim

from lab_models.specs import AdamSpec, OptimizerSpec, SGDSpec, Spec


def make_optimizer(spec: OptimizerSpec, model: nn.Module) -> optim.Optimizer:
    """The optimizer over all of the model's parameters."""
    match spec:
        case SGDSpec():
            return optim.SGD(model.parameters(), lr=spec.learning_rate, momentum=spec.momentum, nesterov=spec.nesterov, weight_decay=spec.weight_decay)
        case AdamSpec():
            return optim.Adam(model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
        case _:
            assert_never(spec)


def set_learning_rate(optimizer: optim.Optimizer, spec: Spec) -> float:
    """Give the optimizer the learning rate of the epoch that begins, and return it."""
    for group in optimizer.param_groups:
        group["lr"] = spec.optimizer.learning_rate
    return spec.optimizer.learning_rate
