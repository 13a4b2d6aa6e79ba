"""Figures of scores: cells against a factor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """A cell: its factor's value, its runs' scores, the 95 % interval of their mean if there is one, and the source's
    score if it has one. `seeds` are the scores', where runs of other cells are paired with them.

    Scores that are not finite are left out of the picture and of n.
    """

    x: float | str
    values: tuple[float, ...]
    ci95: tuple[float, float] | None = None
    published: float | None = None
    seeds: tuple[int, ...] = ()

    @property
    def by_seed(self) -> dict[int, float]:
        """The finite scores of those whose seed is known."""
        pairs = zip(self.seeds, self.values, strict=False)
        return {seed: value for seed, value in pairs if math.isfinite(value)}

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
    """Cells that one line joins, such as all residual networks; of one data set where there are several."""

    title: str
    points: Sequence[Point]
    dataset: str = ""


@dataclass(frozen=True)
class ScorePanel:
    """Scores that share an axis: the groups of one data set, by the numbers of their look."""

    groups: Mapping[int, Group]
    dataset: str
    chance: float | None
    as_percent: bool

    @property
    def points(self) -> list[Point]:
        """Of all groups."""
        return [point for group in self.groups.values() for point in group.points]


@dataclass(frozen=True)
class FactorFigure:
    """What the picture shows. `as_percent`: scores are fractions and written as percentages; `metric` and `factor` name
    the axes.

    `is_scatter`: neighbors along the factor differ in other things too, so no line joins them. `is_log`: its values
    were drawn so that each tenfold is as likely, and are shown so. `chances` are the scores of guessing, by data set.
    """

    title: str
    subtitle: str
    metric: str
    factor: str
    groups: Sequence[Group]
    as_percent: bool = True
    is_scatter: bool = False
    is_log: bool = False
    chances: Mapping[str, float] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """Of all groups."""
        return [point for group in self.groups for point in group.points]

    @property
    def panels(self) -> list[ScorePanel]:
        """One for each data set, in the order of the groups: scores on different data share no axis. Groups with one
        title look alike in all.
        """
        titles = self.titles
        found: dict[str, dict[int, Group]] = {}
        for group in self.groups:
            found.setdefault(group.dataset, {})[titles.index(group.title)] = group
        return [
            ScorePanel(groups, dataset, self.chances.get(dataset), self.as_percent)
            for dataset, groups in (found or {"": {}}).items()
        ]

    @property
    def titles(self) -> list[str]:
        """Of the groups, each once."""
        return list(dict.fromkeys(group.title for group in self.groups))

    def written(self, score: float) -> str:
        """A score with its unit, such as `91.23 %`."""
        return f"{100 * score:.2f} %" if self.as_percent else f"{score:#.4g}"
