"""Two experiments' scores paired seed by seed, and what the one judge says of them: whoever asks whether one is better
than another asks here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.errors import Conflict
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.training_scores import survivors
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.architectures.sameness import effect_of
from lab_models.specs import read_spec
from lab_models.statistics.paired import Paired, compare
from lab_models.statistics.verdicts import Judgement, judge

MARGIN_POINTS = {"digits": 0.15, "mnist": 0.15, "cifar10": 0.5}
OTHER_MARGIN_POINTS = 1.0
"""Margins of equivalence in percentage points, by data set: about the standard error of one network's accuracy on the
10,000 test images of each.
"""


ONE_AND_THE_SAME = (
    "nothing that is trained differs between the two, so their numbers are equal with every seed and there is no"
    " difference to measure"
)


@dataclass(frozen=True)
class Side:
    """An experiment as one side of a comparison."""

    experiment: Experiment
    runs: Sequence[Run]
    title: str

    @cached_property
    def effect(self) -> str:
        """Names what is trained, as `effect_of`."""
        return effect_of(read_spec(self.experiment.spec))

    @property
    def succeeded(self) -> list[Run]:
        """Runs whose scores count."""
        return [run for run in self.runs if run.status == RunStatus.SUCCEEDED]


@dataclass(frozen=True)
class PairedScores:
    """Treatment minus control over the seeds that both have. `paired` is in the metric's spoken unit: percentage points
    for fractions.
    """

    metric: ScoreKind
    paired: Paired
    seeds: tuple[int, ...]
    seconds_per_pair: float | None

    def judged(self, p_adjusted: float | None = None) -> Judgement:
        """The verdict on "treatment is better than control"; `p_adjusted` is p after Holm's correction over a
        family.
        """
        return judge(
            self.paired,
            p_adjusted=p_adjusted,
            unit=self.metric.unit,
            seconds_per_pair=self.seconds_per_pair,
            lower_is_better=self.metric.lower_is_better,
        )


def pair_sides(
    scores: Scores, treatment: Side, control: Side, metric: ScoreKind, *, margin: float | None
) -> PairedScores:
    """Pair the succeeded runs of the same seeds; raises Conflict where the two were tested on other images."""
    _refuse_other_images(treatment, control)
    treated, plain = (scores.by_seed(side.runs, metric) for side in (treatment, control))
    seconds = [
        list(scores.by_seed(side.runs, ScoreKind("seconds")).values())
        for side in (treatment, control)
    ]
    seconds_per_pair = sum(float(np.mean(found)) for found in seconds) if all(seconds) else None
    return pair_scores(metric, treated, plain, margin=margin, seconds_per_pair=seconds_per_pair)


def pair_scores(
    metric: ScoreKind,
    treatment: Mapping[int, float],
    control: Mapping[int, float],
    *,
    margin: float | None,
    seconds_per_pair: float | None = None,
) -> PairedScores:
    """Pair scores by their seeds, in the treatment's order."""
    seeds = tuple(seed for seed in treatment if seed in control)
    pairs = [(metric.scale * treatment[seed], metric.scale * control[seed]) for seed in seeds]
    return PairedScores(metric, compare(pairs, margin), seeds, seconds_per_pair)


def on_survivors(scores: Scores, sides: Sequence[Side], metric: ScoreKind) -> list[str]:
    """Says where a metric is of those runs alone that reached something; empty where it is of all."""
    reached = [
        (side.title, len(scores.by_seed(side.runs, metric)), len(side.succeeded)) for side in sides
    ]
    note = survivors(metric.name, reached)
    return [] if note is None else [note]


def margin_of(metric: ScoreKind, dataset: str, wanted: float | None = None) -> float | None:
    """The margin of equivalence in the metric's unit: the wanted one, or the data set's for an accuracy; None for other
    metrics.
    """
    if wanted is not None:
        return wanted
    return (
        MARGIN_POINTS.get(dataset, OTHER_MARGIN_POINTS)
        if metric.name.endswith("accuracy")
        else None
    )


def _refuse_other_images(treatment: Side, control: Side) -> None:
    names = [side.experiment.spec["dataset"]["name"] for side in (treatment, control)]
    if names[0] != names[1]:
        raise Conflict(
            f"{treatment.title} was tested on {names[0]} and {control.title} on {names[1]}: accuracies on different"
            " images cannot be compared"
        )
    versions = {
        (run.environment or {}).get("dataset_sha256")
        for side in (treatment, control)
        for run in side.succeeded
    } - {None}
    if len(versions) > 1:
        raise Conflict(
            f"the runs were tested on different versions of data set {names[0]!r}, so they cannot be compared; train"
            " one side again"
        )
