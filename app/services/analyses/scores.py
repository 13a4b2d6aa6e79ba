"""One number of each run, by its name: `test.accuracy`, `val.loss`, `seconds`, `epochs_to.97` and so on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.analyses.gradients.series import series_of
from app.services.analyses.gradients.slopes import Slope, slope_at
from app.services.analyses.training_scores import (
    GAPS,
    NAMES,
    is_of_training,
    threshold_of,
    values_of,
)
from app.services.experiments.metrics import RunMetrics, metrics_of, seconds_of_training
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.validation import FieldError
from lab_models.training.layer_metrics import LAYER_SPLITS

NATS = ("loss", "nll", "hard_loss", "soft_loss")
COUNTS = {"best.epoch": "epochs", "epochs": "epochs", "seconds": "seconds"}
DERIVED = ("val.mean_accuracy", "gradient_flow.slope", "gradient_flow.first_over_last", *COUNTS)
LOWER_IS_BETTER = (*NATS, "ece", "brier", "epoch", "epochs", "seconds")


@dataclass(frozen=True)
class ScoreKind:
    """What a number is called and how it is spoken of: fractions in percentage points (`scale` 100), losses in nats."""

    name: str

    @property
    def is_fraction(self) -> bool:
        """Whether it lies in [0, 1] and is spoken of in percent."""
        last = self.name.rpartition(".")[2]
        return (
            self.name not in COUNTS
            and threshold_of(self.name) is None
            and not self.name.startswith("gradient_flow.")
            and last not in (*NATS, "brier")
        )

    @property
    def scale(self) -> float:
        """What a number is multiplied by to be spoken of."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def unit(self) -> str:
        """Of a difference."""
        if self.is_fraction:
            return "percentage points"
        if self.name.rpartition(".")[2] in NATS:
            return "nats"
        threshold = threshold_of(self.name)
        if threshold is not None:
            return threshold.counted
        return COUNTS.get(self.name, "")

    @property
    def level_unit(self) -> str:
        """Of the number itself; empty where its label says it."""
        if threshold_of(self.name) is not None:
            return ""
        return "%" if self.is_fraction and self.name not in GAPS else self.unit

    @property
    def label(self) -> str:
        """What an axis or a heading says: `Test accuracy`."""
        threshold = threshold_of(self.name)
        if threshold is not None:
            return threshold.label
        return GAPS.get(self.name) or self.name.replace(".", " ").replace("_", " ").capitalize()

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better."""
        return (
            self.name in GAPS
            or threshold_of(self.name) is not None
            or self.name.rpartition(".")[2] in LOWER_IS_BETTER
        )


def read_metric(name: str) -> ScoreKind:
    """A metric by its name, which is `test.<score>`, `val.<score>`, one of the derived ones or of training; raises
    InvalidRequest.
    """
    split, _, score = name.partition(".")
    if (
        name in DERIVED
        or is_of_training(name)
        or (split in ("test", "val") and score.replace("_", "").isalnum())
    ):
        return ScoreKind(name)
    hint = "allowed: test.<score> and val.<score>, such as test.accuracy or val.loss, " + ", ".join(
        [*DERIVED, *NAMES]
    )
    raise InvalidRequest(
        f"there is no metric {name!r}", [FieldError("/metric", f"no metric {name!r}", hint)]
    )


class Scores:
    """Numbers of the given runs. A metric is read once for all of them, however many cells and contrasts then ask for
    it.
    """

    def __init__(self, session: Session, runs: Sequence[Run]) -> None:
        self._session = session
        self._succeeded = [run for run in runs if run.status == RunStatus.SUCCEEDED]
        self._read: dict[str, dict[str, float]] = {}

    def by_seed(self, runs: Sequence[Run], metric: ScoreKind) -> dict[int, float]:
        """The metric of each succeeded run that has it, by seed; what was not finite is left out. The runs are among
        those given at first.
        """
        if metric.name not in self._read:
            values = zip(
                self._succeeded, _values(self._session, self._succeeded, metric), strict=True
            )
            self._read[metric.name] = {
                run.id: value for run, value in values if value is not None and np.isfinite(value)
            }
        found = self._read[metric.name]
        return {run.seed: found[run.id] for run in runs if run.id in found}


def last_slopes(session: Session, runs: Sequence[Run]) -> dict[str, Slope]:
    """Of each run with measured gradients, the slope along depth in its last epoch."""
    metrics = metrics_of(session, [run.id for run in runs], LAYER_SPLITS)
    series = {run_id: series_of(numbers) for run_id, numbers in metrics.items()}
    return {run_id: slope_at(found, -1) for run_id, found in series.items() if found is not None}


def _values(session: Session, runs: list[Run], metric: ScoreKind) -> Iterable[float | None]:
    if is_of_training(metric.name):
        return values_of(session, runs, metric.name)
    split, _, score = metric.name.partition(".")
    match metric.name:
        case "val.mean_accuracy":
            numbers = metrics_of(session, [run.id for run in runs], ("val",))
            return [_mean_accuracy(numbers[run.id]) for run in runs]
        case "best.epoch":
            return [None if run.best is None else run.best["epoch"] for run in runs]
        case "epochs":
            return [run.epochs_done for run in runs]
        case "seconds":
            seconds = seconds_of_training(session, [run.id for run in runs])
            return [seconds.get(run.id) for run in runs]
        case "gradient_flow.slope":
            slopes = last_slopes(session, runs)
            return [slopes[run.id].slope if run.id in slopes else None for run in runs]
        case "gradient_flow.first_over_last":
            slopes = last_slopes(session, runs)
            return [slopes[run.id].first_over_last if run.id in slopes else None for run in runs]
        case _:
            sheets = [run.test if split == "test" else (run.best or {}).get("val") for run in runs]
            return [None if sheet is None else sheet.get(score) for sheet in sheets]


def _mean_accuracy(numbers: RunMetrics) -> float | None:
    """Val accuracy averaged over the epochs: how high, and how early."""
    values = [
        splits["val"]["accuracy"]
        for splits in numbers.values()
        if "accuracy" in splits.get("val", {})
    ]
    finite = [value for value in values if value is not None]
    return float(np.mean(finite)) if finite else None
