"""Figures of a study's cells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.plots.series import Series

SPLITS = {"train": "Training", "val": "Validation", "test": "Test"}


@dataclass(frozen=True)
class Panel:
    """What one panel shows: a metric such as `loss` or `accuracy` on a split such as `train` or `val`, of one data set
    where there are several. `note` says in brackets what of it; `chance` is the accuracy of guessing.
    """

    split: str
    metric: str
    dataset: str = ""
    note: str = ""
    chance: float | None = None

    @property
    def title(self) -> str:
        """Such as `Validation accuracy`."""
        what = f"{SPLITS.get(self.split, self.split)} {self.metric.replace('_', ' ')}".strip()
        return f"{what}, {self.dataset}" if self.dataset else what


@dataclass(frozen=True)
class CellCurves:
    """A line of each panel: the mean over the cell's runs, whose range is the band. `num_waiting` more runs have no
    epoch yet; `without` says why there is no line at all.
    """

    title: str
    panels: Mapping[Panel, Series]
    num_waiting: int = 0
    without: str = "not started"

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
class DifferenceRow:
    """One contrast: treatment minus control for each pair of runs with the same seed, their mean and its 95 % interval,
    None where not known.

    Differences that are not finite are left out of the picture and of n. `verdict` is written as it is, also where
    nothing was measured; so is `p`, that of the t-test after Holm's correction, such as `p = 0.017`.
    """

    title: str
    differences: tuple[float, ...]
    mean: float | None
    ci95: tuple[float, float] | None
    verdict: str
    p: str = ""

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
    scale and compared with. `half_widths` (y, x) are those of the means' 95 % intervals, NaN where there is none.
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
    half_widths: npt.NDArray[np.float64] | None = None

    @property
    def reference(self) -> float | None:
        """The baseline, None where it is not a finite number."""
        return self.baseline if self.baseline is not None and math.isfinite(self.baseline) else None

    def written(self, score: float) -> str:
        """A score with its unit, such as `91.23 %`."""
        return f"{100 * score:.2f} %" if self.as_percent else f"{score:#.4g}"

    def difference(self, value: float) -> str:
        """From the baseline, with its sign: percentage points where scores are fractions."""
        text = f"{100 * value:+.2f}" if self.as_percent else f"{value:+.4f}"
        return text.replace("-", "\N{MINUS SIGN}")

    def interval(self, half_width: float) -> str:
        """Half of it, in the unit of a difference."""
        return f"± {100 * half_width:.2f}" if self.as_percent else f"± {half_width:#.2g}"


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


@dataclass(frozen=True)
class Priced:
    """A cell: what it costs, and its score with the 95 % interval of the mean over `n` runs, if there is one."""

    title: str
    cost: float
    score: float
    ci95: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class TradeoffFigure:
    """What the picture shows: a score against what it costs, named `cost` with its unit. `as_percent`: scores are
    fractions and written as percentages. `lower_is_better` is said of the scores, where they can be ranked at all.
    """

    title: str
    subtitle: str
    metric: str
    cost: str
    points: Sequence[Priced]
    as_percent: bool = True
    lower_is_better: bool = False
    is_ranked: bool = True

    @property
    def front(self) -> list[int]:
        """Places of the points that no other one beats in both, the cheapest first (Pareto's front); none where scores
        cannot be ranked: they are of different data sets, or neither more nor less of them is better.
        """
        if not self.is_ranked:
            return []
        sign = 1 if self.lower_is_better else -1
        order = sorted(
            range(len(self.points)),
            key=lambda place: (self.points[place].cost, sign * self.points[place].score),
        )
        front: list[int] = []
        for place in order:
            score = sign * self.points[place].score
            if not front or score < sign * self.points[front[-1]].score:
                front.append(place)
        return front
