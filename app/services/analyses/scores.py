"""One number of each run, by its name: `test.accuracy`, `val.loss`, `seconds`, `epochs_to.97` and so on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.analyses.gradients.series import series_of
from app.services.analyses.gradients.slopes import Slope, slope_at
from app.services.analyses.training_scores import GAPS, is_of_training, threshold_of, values_of
from app.services.experiments.metrics import RunMetrics, metrics_of, seconds_of_training
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.statistics.summary import Summary, summarise
from lab_models.training.layer_metrics import LAYER_SPLITS

OF_TEST = (
    "accuracy",
    "top5_accuracy",
    "loss",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "nll",
    "ece",
    "brier",
    "teacher_agreement",
    "teacher_accuracy",
)
OF_VAL = ("accuracy", "loss")
SLOPE, RATIO = "gradient_flow.slope", "gradient_flow.first_over_last"
COUNTS = {"best.epoch": "epochs", "epochs": "epochs", "seconds": "seconds"}
DERIVED = ("val.mean_accuracy", SLOPE, RATIO, *COUNTS)
METRICS = (
    *(f"test.{score}" for score in OF_TEST),
    *(f"val.{score}" for score in OF_VAL),
    *(f"train.{score}" for score in OF_VAL),
    *GAPS,
    *DERIVED,
)
"""All that can be asked for but for `THRESHOLDS`: what runs have of test, of val at the chosen epoch, and of train with
its weights, and what is made of their numbers.
"""
THRESHOLDS = ("epochs_to.97", "seconds_to.97")
"""As an example: any percentage can be asked for."""

NATS = ("loss", "nll")
LOWER_IS_BETTER = (*NATS, "ece", "brier", "epoch", "epochs", "seconds", "slope", "first_over_last")

LEAST_RATIO = 1e-45
"""Stands for a first layer's gradient of exactly 0, over the last's: about the smallest number above 0 in float32,
which it has fallen below. 0 itself has no logarithm.
"""


@dataclass(frozen=True)
class ScoreKind:
    """What a number is called and how it is spoken of: fractions in percentage points (`scale` 100), losses in nats,
    the ratio of two gradients by its decimal logarithm, in decades.
    """

    name: str

    @property
    def is_fraction(self) -> bool:
        """Whether it is one, or a difference of two, and is spoken of in percent."""
        last = self.name.rpartition(".")[2]
        return (
            not self.is_cost
            and self.name not in (SLOPE, RATIO)
            and threshold_of(self.name) is None
            and last not in (*NATS, "brier")
        )

    @property
    def is_bounded(self) -> bool:
        """Whether it lies in [0, 1], so that no interval of it can leave that; a gap lies below 0 as well."""
        return self.is_fraction and self.name not in GAPS

    @property
    def is_cost(self) -> bool:
        """Whether it says what training took, and nothing of the network."""
        return self.name in COUNTS

    @property
    def is_ratio(self) -> bool:
        """Whether it is the decimal logarithm of a ratio, which people read as the ratio."""
        return self.name == RATIO

    @property
    def scale(self) -> float:
        """What a number is multiplied by to be spoken of."""
        return 100.0 if self.is_fraction else 1.0

    @property
    def unit(self) -> str:
        """Of a difference."""
        if self.is_fraction:
            return "percentage points"
        threshold = threshold_of(self.name)
        if threshold is not None:
            return threshold.counted
        last = self.name.rpartition(".")[2]
        others = {"brier": "Brier points", "slope": "nats per layer", "first_over_last": "decades"}
        return "nats" if last in NATS else others.get(last) or COUNTS[self.name]

    @property
    def level_unit(self) -> str:
        """Of the number itself; empty where its label says it."""
        if threshold_of(self.name) is not None:
            return ""
        return "%" if self.is_bounded else "times" if self.is_ratio else self.unit

    @property
    def label(self) -> str:
        """What a heading says: `Test accuracy`."""
        threshold = threshold_of(self.name)
        if threshold is not None:
            return threshold.label
        return GAPS.get(self.name) or self.name.replace(".", " ").replace("_", " ").capitalize()

    @property
    def axis(self) -> str:
        """What an axis says, where the number stands as it is kept."""
        return f"{self.label}, log10" if self.is_ratio else self.label

    @property
    def lower_is_better(self) -> bool:
        """Whether less is better; of gradients a smaller distance, see `compared`."""
        return (
            self.name in GAPS
            or threshold_of(self.name) is not None
            or self.name.rpartition(".")[2] in LOWER_IS_BETTER
        )

    @property
    def measured_from(self) -> str:
        """What a distance is measured from, where it is the distance that is compared."""
        return {SLOPE: "distance from 0", RATIO: "distance from 1"}.get(self.name, "")

    def compared(self, value: float) -> float:
        """The number that two sides are compared by, in `unit`.

        A gradient that grows toward the input is no healthier than one that falls, so both are distances from where
        neither happens.
        """
        return abs(value) if self.name in (SLOPE, RATIO) else self.scale * value

    @property
    def decimals(self) -> int:
        """Of the number as it is spoken of: two of percent, one of what is counted, four of others."""
        return 2 if self.is_fraction else 1 if self.unit in COUNTS.values() else 4

    def written(self, value: float) -> str:
        """The number itself, in `level_unit`; ratios with two digits."""
        if self.is_ratio:
            return f"{10**value:.2g}"
        return f"{self.scale * value:.{self.decimals}f}"

    def cut(self, ends: tuple[float, float]) -> tuple[float, float]:
        """An interval of it as it is shown: that of a fraction ends where fractions do, of a loss or a count at 0."""
        low = -math.inf if self.name in (SLOPE, RATIO, *GAPS) else 0.0
        return max(ends[0], low), min(ends[1], 1.0 if self.is_bounded else math.inf)

    def ends_of(self, summary: Summary | None) -> tuple[float, float] | tuple[None, None]:
        """Of a mean's interval as they are shown; none where there is no interval."""
        return (None, None) if summary is None or summary.ci95 is None else self.cut(summary.ci95)

    def interval(self, ends: tuple[float, float]) -> str:
        """An interval in words."""
        low, high = self.cut(ends)
        return f"{self.written(low)} to {self.written(high)}"


def read_metric(name: str) -> ScoreKind:
    """A metric by its name, one of `METRICS` or a threshold; raises InvalidRequest."""
    if name in METRICS or threshold_of(name) is not None:
        return ScoreKind(name)
    message = f"there is no metric {name!r}"
    if f"test.{name}" in METRICS:
        hint: str | None = f"did you mean 'test.{name}'?"
    else:
        hint = did_you_mean(name, [*METRICS, *THRESHOLDS])
    raise InvalidRequest(message, [FieldError("/metric", message, hint)])


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
            values = zip(self._succeeded, self._values(metric), strict=True)
            self._read[metric.name] = {
                run.id: value for run, value in values if value is not None and np.isfinite(value)
            }
        found = self._read[metric.name]
        return {run.seed: found[run.id] for run in runs if run.id in found}

    def summary(
        self, runs: Sequence[Run], metric: ScoreKind, *, depends_on_seed: bool
    ) -> Summary | None:
        """The metric over the succeeded runs. What no seed changes is one number, however often it was made; what it
        cost is measured anew each time.
        """
        values = list(self.by_seed(runs, metric).values())
        if not depends_on_seed and not metric.is_cost:
            values = values[:1]
        return summarise(values) if values else None

    def remarks(self, runs: Sequence[Run], metric: ScoreKind) -> list[str]:
        """What of the runs' numbers is not as it was measured, a sentence each."""
        if not metric.is_ratio:
            return []
        slopes = [slope for run in runs if (slope := self._slopes.get(run.id)) is not None]
        zero = sum(slope.first_over_last == 0 for slope in slopes)
        missing = sum(slope.first_over_last is None for slope in slopes)
        said = []
        if zero:
            said.append(
                f"in {zero} of {len(slopes)} runs the first layer's gradient is exactly 0, which counts as"
                f" {LEAST_RATIO:g} times the last's"
            )
        if missing:
            said.append(
                f"in {missing} of {len(slopes)} runs the last layer's gradient is exactly 0 or was not measured, so"
                " there is no ratio; left out"
            )
        return said

    @cached_property
    def _slopes(self) -> dict[str, Slope]:
        """Of each run with measured gradients, the slope along depth in its last epoch."""
        metrics = metrics_of(self._session, [run.id for run in self._succeeded], LAYER_SPLITS)
        series = {run_id: series_of(numbers) for run_id, numbers in metrics.items()}
        return {run_id: slope_at(one, -1) for run_id, one in series.items() if one is not None}

    def _values(self, metric: ScoreKind) -> Iterable[float | None]:
        runs = self._succeeded
        if is_of_training(metric.name):
            return values_of(self._session, runs, metric.name)
        split, _, score = metric.name.partition(".")
        match metric.name:
            case "val.mean_accuracy":
                numbers = metrics_of(self._session, [run.id for run in runs], ("val",))
                return [_mean_accuracy(numbers[run.id]) for run in runs]
            case "best.epoch":
                return [None if run.best is None else run.best["epoch"] for run in runs]
            case "epochs":
                return [run.epochs_done for run in runs]
            case "seconds":
                seconds = seconds_of_training(self._session, [run.id for run in runs])
                return [seconds.get(run.id) for run in runs]
            case "gradient_flow.slope":
                return [
                    None if (it := self._slopes.get(run.id)) is None else it.slope for run in runs
                ]
            case "gradient_flow.first_over_last":
                return [_decades(self._slopes.get(run.id)) for run in runs]
            case _:
                sheets = [
                    run.test if split == "test" else (run.best or {}).get("val") for run in runs
                ]
                return [None if sheet is None else sheet.get(score) for sheet in sheets]


def _decades(slope: Slope | None) -> float | None:
    """log10 of the first layer's gradient over the last's."""
    if slope is None or slope.first_over_last is None:
        return None
    return math.log10(max(slope.first_over_last, LEAST_RATIO))


def _mean_accuracy(numbers: RunMetrics) -> float | None:
    """Val accuracy averaged over the epochs: how high, and how early."""
    values = [
        splits["val"]["accuracy"]
        for splits in numbers.values()
        if "accuracy" in splits.get("val", {})
    ]
    finite = [value for value in values if value is not None]
    return float(np.mean(finite)) if finite else None
