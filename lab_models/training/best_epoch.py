"""Which of a run's epochs is its best. Nothing here loads torch, or a spec."""

from collections.abc import Mapping


def val_rank(val: Mapping[str, float], best_by: str) -> tuple[float, float]:
    """Of an epoch by its val loss and accuracy: the lower, the better. See `TrainSpec.best_by`."""
    return (val["loss"], 0.0) if best_by == "loss" else (-val["accuracy"], val["loss"])
