"""Optimizer and learning rate from their specs."""

import math
from collections.abc import Sequence
from typing import Any, assert_never

from torch import nn, optim

from lab_models.specs import (
    AdamSpec,
    AdamWSpec,
    ConstantSchedule,
    CosineSchedule,
    MultiStepSchedule,
    OneCycleSchedule,
    OptimizerSpec,
    PlateauSchedule,
    RMSpropSpec,
    SGDSpec,
    Spec,
)


def make_optimizer(
    spec: OptimizerSpec,
    model: nn.Module,
    groups: list[dict[str, Any]] | None = None,
    beside: nn.Module | None = None,
) -> optim.Optimizer:
    """The optimizer over all of the model's parameters, and of what is trained beside it, or over groups of them with a
    `scale` of their learning rate; one kernel for all where torch has it.
    """
    parameters: list[Any] = (
        [*model.parameters(), *([] if beside is None else beside.parameters())]
        if groups is None
        else groups
    )
    match spec:
        case SGDSpec():
            return optim.SGD(
                parameters,
                lr=spec.learning_rate,
                momentum=spec.momentum,
                nesterov=spec.nesterov,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        case AdamSpec():
            return optim.Adam(
                parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
            )
        case AdamWSpec():
            return optim.AdamW(
                parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True
            )
        case RMSpropSpec():
            return optim.RMSprop(  # torch has no fused one
                parameters,
                lr=spec.learning_rate,
                alpha=spec.alpha,
                eps=spec.eps,
                momentum=spec.momentum,
                centered=spec.centered,
                weight_decay=spec.weight_decay,
            )
        case _:
            assert_never(spec)


def set_learning_rate(optimizer: optim.Optimizer, learning_rate: float) -> None:
    """Give the optimizer the learning rate of the step that comes; a group with a `scale` gets its share."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("scale", 1.0)


def learning_rates(
    spec: Spec, epoch: int, num_steps: int, val_losses: Sequence[float]
) -> list[float]:
    """The learning rate of each of the `num_steps` steps of `epoch`, which counts from 1.

    A pure function, so that a resumed run needs no scheduler's state. `val_losses` are those of the epochs before.
    """
    peak, schedule = spec.optimizer.learning_rate, spec.schedule
    first = (epoch - 1) * num_steps
    total = spec.epochs * num_steps
    match schedule:
        case ConstantSchedule():
            rates = [peak] * num_steps
        case MultiStepSchedule():
            rates = [
                peak
                * schedule.factor ** sum(milestone < epoch for milestone in schedule.milestones)
            ] * num_steps
        case CosineSchedule():
            warm = schedule.warmup_epochs * num_steps
            starts = (
                range(first, first + num_steps)
                if schedule.update == "step"
                else [first] * num_steps
            )
            rates = [
                _cosine(peak, peak * schedule.final_fraction, (step - warm) / max(total - warm, 1))
                for step in starts
            ]
        case OneCycleSchedule():
            return [
                _one_cycle(schedule, peak, step, total) for step in range(first, first + num_steps)
            ]
        case PlateauSchedule():
            rates = [_on_plateau(schedule, peak, val_losses)] * num_steps
        case _:
            assert_never(schedule)
    warmup_steps = schedule.warmup_epochs * num_steps
    return [
        rate * min(1.0, (step + 1) / warmup_steps) if warmup_steps else rate
        for step, rate in enumerate(rates, first)
    ]


def _cosine(start: float, end: float, passed: float) -> float:
    """From start to end along half a cosine; `passed` in [0, 1] is how much of the way lies behind."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(passed, 0.0), 1.0))) / 2


def _one_cycle(schedule: OneCycleSchedule, peak: float, step: int, total: int) -> float:
    """`torch.optim.lr_scheduler.OneCycleLR` with its default, cosine annealing, in closed form."""
    start = peak / schedule.start_divisor
    # where so few steps put it before the first, the first is the peak
    summit = max(schedule.peak_at * total - 1, 0.0)
    if step < summit:
        return _cosine(start, peak, step / summit)
    return _cosine(
        peak, start / schedule.end_divisor, (step - summit) / max(total - 1 - summit, 1e-9)
    )


def _on_plateau(schedule: PlateauSchedule, peak: float, val_losses: Sequence[float]) -> float:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau` (mode min, relative threshold) replayed over the epochs so far."""
    rate, best, bad_epochs = peak, math.inf, 0
    for loss in val_losses:
        if loss < best * (1 - schedule.min_delta):
            best, bad_epochs = loss, 0
        else:
            bad_epochs += 1
        if bad_epochs > schedule.patience:
            rate, bad_epochs = max(rate * schedule.factor, min(schedule.min_learning_rate, rate)), 0
    return rate
