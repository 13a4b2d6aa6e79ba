"""When training ends before its last epoch: a pure function of the val losses so far."""

import math
from collections.abc import Sequence
from typing import Literal

from lab_models.specs import EarlyStoppingSpec

StopReason = Literal["all_epochs", "stagnation", "overfitting"]


def early_stop(rules: EarlyStoppingSpec | None, val_losses: Sequence[float]) -> StopReason | None:
    """The rule that ends training after the epochs whose val losses are given, or None. Stagnation is looked at
    first.
    """
    if rules is None:
        return None
    if (
        rules.patience is not None
        and _stagnant_epochs(val_losses, rules.min_delta) >= rules.patience
    ):
        return "stagnation"
    if (
        rules.overfit_delta is not None
        and _overfit_epochs(val_losses, rules.overfit_delta) >= rules.overfit_patience
    ):
        return "overfitting"
    return None


def _stagnant_epochs(val_losses: Sequence[float], min_delta: float) -> int:
    """Epochs since val loss last fell by more than `min_delta` below the best before."""
    best, stagnant = math.inf, 0
    for loss in val_losses:
        if loss < best - min_delta:
            best, stagnant = loss, 0
        else:
            stagnant += 1
    return stagnant


def _overfit_epochs(val_losses: Sequence[float], overfit_delta: float) -> int:
    """Epochs in a row, up to the last, whose val loss lies more than `overfit_delta` above the best so far."""
    best, above = math.inf, 0
    for loss in val_losses:
        best = min(best, loss)
        above = above + 1 if loss > best + overfit_delta else 0
    return above
