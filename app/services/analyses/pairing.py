"""Two experiments' scores paired seed by seed, and what the one judge says of them: whoever asks whether one is better
than another asks here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.errors import Conflict
from app.services.analyses.looks import Looks
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.sides import Side
from app.services.analyses.training_scores import survivors
from lab_models.statistics.cells import qualified
from lab_models.statistics.looks import Look
from lab_models.statistics.paired import Paired, compare
from lab_models.statistics.verdicts import Judgement, Terms, judge

MARGIN_POINTS = {"digits": 0.15, "mnist": 0.15, "cifar10": 0.5}
OTHER_MARGIN_POINTS = 1.0
"""Margins of equivalence in percentage points, by data set: about the standard error of one network's accuracy on the
10,000 test images of each.
"""


ONE_AND_THE_SAME = (
    "nothing that is trained differs between the two, so their numbers are equal with every seed and there is no"
    " difference to measure"
)

NO_SEED_CHANGES_IT = "no seed changes either of the two, so more of them would show nothing"


@dataclass(frozen=True)
class PairedScores:
    """Treatment minus control over the seeds that both have. `paired` is in the metric's spoken unit: percentage points
    for fractions. `is_fixed`: no seed changes either of the two.
    """

    metric: ScoreKind
    paired: Paired
    seeds: tuple[int, ...]
    seconds_per_pair: float | None
    look: Look
    is_fixed: bool

    def judged(self, p_adjusted: float | None = None) -> Judgement:
        """The verdict on treatment against control; `p_adjusted` is p after Holm's correction over a family."""
        metric = self.metric
        unit = qualified(
            metric.unit, metric.measured_from, "lower is better" if metric.lower_is_better else ""
        )
        terms = Terms(unit, advice=NO_SEED_CHANGES_IT) if self.is_fixed else Terms(unit)
        return judge(
            terms,
            self.paired,
            look=self.look,
            sign=-1 if metric.lower_is_better else 1,
            p_adjusted=p_adjusted,
            seconds_per_pair=self.seconds_per_pair,
        )


def pair_sides(
    scores: Scores,
    looks: Looks,
    treatment: Side,
    control: Side,
    metric: ScoreKind,
    *,
    margin: float | None,
) -> PairedScores:
    """Pair the succeeded runs of the same seeds; raises Conflict where the two were tested on other images."""
    found = pair_unjudged(scores, treatment, control, metric, margin=margin)
    seconds = [
        list(scores.by_seed(side.runs, ScoreKind("seconds")).values())
        for side in (treatment, control)
    ]
    seconds_per_pair = sum(float(np.mean(found)) for found in seconds) if all(seconds) else None
    look = looks.of((treatment, control), found.seeds)
    return replace(found, seconds_per_pair=seconds_per_pair, look=look)


def pair_unjudged(
    scores: Scores, treatment: Side, control: Side, metric: ScoreKind, *, margin: float | None
) -> PairedScores:
    """As `pair_sides`, for whoever shows the differences alone: which look at them this is, and what more of them would
    take, is left open.
    """
    _refuse_other_images(treatment, control)
    treated, plain = (scores.by_seed(side.runs, metric) for side in (treatment, control))
    is_fixed = not (metric.is_cost or treatment.depends_on_seed or control.depends_on_seed)
    return pair_scores(metric, treated, plain, margin=margin, only_one=is_fixed)


def pair_scores(
    metric: ScoreKind,
    treatment: Mapping[int, float],
    control: Mapping[int, float],
    *,
    margin: float | None,
    only_one: bool = False,
) -> PairedScores:
    """Pair scores by their seeds, in the treatment's order; `only_one`: the first pair alone."""
    seeds = tuple(seed for seed in treatment if seed in control)[: 1 if only_one else None]
    pairs = [(metric.compared(treatment[seed]), metric.compared(control[seed])) for seed in seeds]
    return PairedScores(metric, compare(pairs, margin), seeds, None, Look.PLANNED, only_one)


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
