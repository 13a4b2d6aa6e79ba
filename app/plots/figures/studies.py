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

    `is_scatter`: neighbors along the factor differ in other things too, so no line joins them. `is_log`: its values
    were drawn so that each tenfold is as likely, and are shown so.
    """

    title: str
    subtitle: str
    metric: str
    factor: str
    groups: Sequence[Group]
    as_percent: bool = True
    is_scatter: bool = False
    is_log: bool = False

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
