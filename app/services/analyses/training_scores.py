"""Scores that say how training went: what a network scores on what it has learned from, and when it reached an
accuracy on val.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from sqlmodel import Session

from app.services.experiments.metrics import SCORE_SPLITS, RunMetrics, metrics_of
from app.services.experiments.results import gap_of
from app.storage.tables import Run

GAPS = {"gap.accuracy": "Train minus test accuracy", "gap.loss": "Test minus train loss"}
"""Of how much better a network is on images that it has learned from, and what an axis calls it."""

THRESHOLD = re.compile(r"(epochs|seconds)_to\.(\d{1,3}(?:\.\d{1,3})?)")

MOST_TOLD = 6


@dataclass(frozen=True)
class Threshold:
    """A val accuracy in percent, as it was written, and what is counted until an epoch first has it: epochs, or
    seconds of training and validation.
    """

    counted: str
    percent: str

    @property
    def accuracy(self) -> float:
        """As a fraction: the very number that 97 of 100 right images give."""
        return float(Decimal(self.percent) / 100)

    @property
    def label(self) -> str:
        """What an axis says."""
        return f"{self.counted.capitalize()} to {self.percent} % val accuracy"


def threshold_of(name: str) -> Threshold | None:
    """What `epochs_to.97` or `seconds_to.97.5` asks for; None for other names, and for what is no percentage."""
    found = THRESHOLD.fullmatch(name)
    if found is None or not 0 < Decimal(found[2]) <= 100:
        return None
    return Threshold(found[1], found[2])


def is_of_training(name: str) -> bool:
    """Whether a metric is one of these: `train.<score>`, a gap or a threshold."""
    return name in GAPS or name.startswith("train.") or threshold_of(name) is not None


def values_of(session: Session, runs: Sequence[Run], name: str) -> list[float | None]:
    """The score of each run, by a name that `is_of_training`; None where it is not known, or was never reached."""
    threshold = threshold_of(name)
    if threshold is not None:
        numbers = metrics_of(session, [run.id for run in runs], SCORE_SPLITS)
        return [reached(numbers[run.id], threshold) for run in runs]
    split, _, score = name.partition(".")
    sheets = [gap_of(run.test, run.train) if split == "gap" else run.train or {} for run in runs]
    return [sheet.get(score) for sheet in sheets]


def reached(numbers: RunMetrics, threshold: Threshold) -> float | None:
    """Epochs or seconds until the first epoch with that val accuracy, its own among them; None where none has it."""
    epochs = sorted(epoch for epoch in numbers if epoch > 0)
    spent = accumulate(
        sum(numbers[epoch].get(split, {}).get("seconds") or 0.0 for split in SCORE_SPLITS)
        for epoch in epochs
    )
    for epoch, seconds in zip(epochs, spent, strict=True):
        accuracy = numbers[epoch].get("val", {}).get("accuracy")
        if accuracy is not None and accuracy >= threshold.accuracy:
            return float(epoch) if threshold.counted == "epochs" else seconds
    return None


def survivors(name: str, sides: Sequence[tuple[str, int, int]]) -> str | None:
    """Says where a number is of some runs alone, because others never reached the threshold; None where all did.
    `sides`: a title, how many runs reached it, and how many succeeded.
    """
    threshold = threshold_of(name)
    short = [side for side in sides if side[1] < side[2]]
    if threshold is None or not short:
        return None
    told = ", ".join(f"{title} {found} of {runs}" for title, found, runs in short[:MOST_TOLD])
    more = f" and {len(short) - MOST_TOLD} more" if len(short) > MOST_TOLD else ""
    return (
        f"not every run reached {threshold.percent} % val accuracy: {told}{more}; numbers are of those that did, so"
        " they look better than all runs together"
    )
