"""What pictures show, as plain values: made by whoever knows the numbers, drawn by the module of the same name. Nothing
here draws.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.plots.series import Series

if TYPE_CHECKING:
    from lab_models.explanations.question import Show

FORMATS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
AXIS_LABEL = {
    "loss": "Loss (cross-entropy, nats)",
    "accuracy": "Accuracy",
    "learning_rate": "Learning rate",
    "seconds": "Seconds per epoch",
}
SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}

MOST_WITH_NUMBERS = 12
"""With more classes a matrix's cells are too small for numbers: color scales and a list of the most frequent confusions
stand in for them.
"""


@dataclass(frozen=True)
class CurvesFigure:
    """What the curves plot shows: a series for each (split, name). `epochs` is how many there will be; `best_epoch` is
    marked when there is one run.
    """

    title: str
    subtitle: str
    metrics: Sequence[str]
    curves: Mapping[tuple[str, str], Series]
    epochs: int
    best_epoch: int | None = None


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


@dataclass(frozen=True)
class ComparisonFigure:
    """What the picture shows; `labels` has the legend's text for each part that may occur."""

    title: str
    subtitle: str
    lines: Sequence[Line]
    labels: Mapping[str, str]
    epochs: int


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


@dataclass(frozen=True)
class Panel:
    """What one panel shows: a metric such as `loss` or `accuracy` on a split such as `train` or `val`."""

    split: str
    metric: str

    @property
    def title(self) -> str:
        """Such as `Validation accuracy`."""
        return f"{SPLITS.get(self.split, self.split)} {self.metric.replace('_', ' ')}".strip()


@dataclass(frozen=True)
class CellCurves:
    """A line of each panel: the mean over the cell's runs, whose range is the band. `num_waiting` more runs have no
    epoch yet.
    """

    title: str
    panels: Mapping[Panel, Series]
    num_waiting: int = 0

    @property
    def num_begun(self) -> int:
        """Runs with an epoch."""
        return max((series.num_runs for series in self.panels.values()), default=0)


@dataclass(frozen=True)
class StudyCurvesFigure:
    """What the picture shows: panels in reading order, 1 to 12 cells legibly and more if need be. Losses are in nats,
    accuracies fractions.
    """

    title: str
    subtitle: str
    panels: Sequence[Panel]
    lines: Sequence[CellCurves]


@dataclass(frozen=True)
class Point:
    """A cell: its factor's value, its runs' scores, the 95 % interval of their mean if there is one, and the source's
    score if it has one.

    Scores that are not finite are left out of the picture and of n.
    """

    x: float | str
    values: tuple[float, ...]
    ci95: tuple[float, float] | None = None
    published: float | None = None

    @property
    def scores(self) -> list[float]:
        """The runs' finite ones."""
        return [value for value in self.values if math.isfinite(value)]

    @property
    def mean(self) -> float | None:
        """None without runs."""
        return math.fsum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True)
class Group:
    """Cells that one line joins, such as all residual networks."""

    title: str
    points: Sequence[Point]


@dataclass(frozen=True)
class FactorFigure:
    """What the picture shows. `as_percent`: scores are fractions and written as percentages; `metric` and `factor` name
    the axes.
    """

    title: str
    subtitle: str
    metric: str
    factor: str
    groups: Sequence[Group]
    as_percent: bool = True

    @property
    def points(self) -> list[Point]:
        """Of all groups."""
        return [point for group in self.groups for point in group.points]

    def written(self, score: float) -> str:
        """A score with its unit, such as `91.23 %`."""
        return f"{100 * score:.2f} %" if self.as_percent else f"{score:#.4g}"


@dataclass(frozen=True)
class DifferenceRow:
    """One contrast: treatment minus control for each pair of runs with the same seed, their mean and its 95 % interval,
    None where not known.

    Differences that are not finite are left out of the picture and of n. `verdict` is written as it is, also where
    nothing was measured.
    """

    title: str
    differences: tuple[float, ...]
    mean: float | None
    ci95: tuple[float, float] | None
    verdict: str

    @property
    def is_measured(self) -> bool:
        """Whether there is a mean."""
        return self.mean is not None and math.isfinite(self.mean)


@dataclass(frozen=True)
class DifferencesFigure:
    """What the picture shows, in `unit`s such as percentage points; differences within `margin` of 0 count as none,
    None for no such band.
    """

    title: str
    subtitle: str
    unit: str
    margin: float | None
    rows: Sequence[DifferenceRow]


@dataclass(frozen=True)
class HeatMapFigure:
    """`means` and `counts` (y, x): scores and numbers of runs, the first row at the top, NaN where nothing was
    measured.

    `metric` names the scores, which are fractions written as percentages if `as_percent`; a `baseline` is marked on the
    scale and compared with.
    """

    title: str
    subtitle: str
    metric: str
    x_name: str
    y_name: str
    x_values: Sequence[float | str]
    y_values: Sequence[float | str]
    means: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    baseline: float | None = None
    as_percent: bool = True

    @property
    def reference(self) -> float | None:
        """The baseline, None where it is not a finite number."""
        return self.baseline if self.baseline is not None and math.isfinite(self.baseline) else None

    def written(self, score: float) -> str:
        """A score with its unit, such as `91.23 %`."""
        return f"{100 * score:.2f} %" if self.as_percent else f"{score:#.4g}"


@dataclass(frozen=True)
class GradientPanel:
    """A cell: `norms` (epochs, layers) with layers input first, NaN where not measured; epoch 0 is initialization.
    `caption`: what was found.
    """

    title: str
    caption: str
    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    norms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class StudyGradientsFigure:
    """What the picture shows: panels in reading order, 1 to 12 legibly and more if need be; their layers and epochs may
    differ.
    """

    title: str
    subtitle: str
    panels: Sequence[GradientPanel]
