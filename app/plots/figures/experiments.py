"""Figures of one experiment, and of two or three side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from app.plots.series import Series

if TYPE_CHECKING:
    from lab_models.explanations.question import Show

AXIS_LABEL = {
    "loss": "Loss (cross-entropy, nats)",
    "accuracy": "Accuracy",
    "learning_rate": "Learning rate",
    "seconds": "Seconds per epoch",
}
HARD_LABEL = "Loss (nats; of train its hard part)"
"""Of a student, whose loss in training is a mixture that no other loss is comparable with."""

MOST_WITH_NUMBERS = 12
"""With more classes a matrix's cells are too small for numbers: color scales and a list of the most frequent confusions
stand in for them.
"""


@dataclass(frozen=True)
class CurvesFigure:
    """What the curves plot shows: a series for each (split, name). `epochs` is how many there will be; `chosen` are the
    runs' best epochs so far, `chance` is the accuracy of guessing. With `has_hard_loss` the loss on train is that
    of a student against the labels, not the mixture that it is trained on.
    """

    title: str
    subtitle: str
    metrics: Sequence[str]
    curves: Mapping[tuple[str, str], Series]
    epochs: int
    chosen: Sequence[int] = ()
    chance: float | None = None
    has_hard_loss: bool = False

    def label(self, metric: str) -> str:
        """Above a metric's panel."""
        if metric == "loss" and self.has_hard_loss:
            return HARD_LABEL
        return AXIS_LABEL.get(metric, metric)


@dataclass(frozen=True)
class GradientFlowFigure:
    """What the plot shows: `norms` (epochs, layers), layers input first, NaN where not measured; epoch 0 is
    initialization.

    `subtitle` says what was trained, `verdicts` what was found, one line each. `is_fitted` says which layers the slope
    is about; `num_runs` is how many runs each epoch's norms are means of, `runs` how many there are.
    """

    title: str
    subtitle: str
    verdicts: Sequence[str]
    layers: Sequence[str]
    is_fitted: Sequence[bool]
    epochs: Sequence[int]
    norms: npt.NDArray[np.float64]
    num_runs: Sequence[int]
    runs: int


@dataclass(frozen=True)
class LayerGradientFigure:
    """One parameter's gradient: `norms` (runs, P) at `steps` (P,), NaN where it is frozen; `counts` (P, bins) elements
    by magnitude, whose bins lie between and beyond the `magnitudes`, None without histograms.
    """

    title: str
    subtitle: str
    steps: npt.NDArray[np.int64]
    norms: npt.NDArray[np.float64]
    steps_per_epoch: int | None
    magnitudes: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class ConfusionFigure:
    """`counts` and `fractions` (C, C): rows are true classes, columns predicted ones, a row's fractions its shares.

    `by_share` says which of the two is colored and written first; `most_confused` lists (true, predicted), the most
    frequent first.
    """

    title: str
    subtitle: Sequence[str]
    class_names: Sequence[str]
    counts: npt.NDArray[np.int64]
    fractions: npt.NDArray[np.float64]
    by_share: bool
    most_confused: Sequence[tuple[int, int]]

    @property
    def shown(self) -> npt.NDArray[np.float64]:
        """What the colors stand for."""
        return self.fractions if self.by_share else self.counts.astype(np.float64)

    @property
    def has_numbers(self) -> bool:
        """Whether the cells are large enough for them."""
        return len(self.class_names) <= MOST_WITH_NUMBERS


@dataclass(frozen=True)
class Line:
    """Of a comparison: one line of one panel. `panel` and `part` are keys of `comparison.PANELS` and
    `comparison.LINES`.
    """

    panel: str
    part: str
    series: Series


ComparisonPanel = Literal["train_loss", "val_loss", "val_accuracy"]
COMPARISON_PANELS: tuple[ComparisonPanel, ...] = get_args(ComparisonPanel)


@dataclass(frozen=True)
class ComparisonFigure:
    """What the picture shows; `labels` has the legend's text and note for each part that may occur. `panels` are all,
    side by side, or one.
    """

    title: str
    subtitle: str
    lines: Sequence[Line]
    labels: Mapping[str, tuple[str, str]]
    epochs: int
    panels: tuple[ComparisonPanel, ...] = COMPARISON_PANELS


@dataclass(frozen=True)
class ExplainedImage:
    """An example: `pixels` (C, H, W) uint8, one or three channels, `map` (h, w), names of classes and the predicted
    one's probability.
    """

    pixels: npt.NDArray[np.uint8]
    map: npt.NDArray[np.float64]
    true: str
    predicted: str
    probability: float
    is_right: bool


@dataclass(frozen=True)
class ExplanationFigure:
    """`show` says which blocks there are; `has_negative` that maps speak against the class too; `notes` are sentences
    below.
    """

    title: str
    subtitle: str
    show: "Show"
    has_negative: bool
    pictures: Sequence[ExplainedImage]
    notes: Sequence[str]
