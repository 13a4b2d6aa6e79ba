"""Two experiments compared over HTTP: difference seed by seed, interval, tests, verdict and a picture of the curves."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response
from sqlmodel import Session

from app.api.analyses.parameters import MetricName
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheSettings
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.api.schemas import Answer
from app.errors import Conflict, InvalidRequest
from app.services.analyses.comparisons import Comparison, Evidence, compare_sides
from app.services.analyses.curves import compared_curves, named_metrics
from app.services.analyses.pairing import margin_of
from app.services.analyses.scores import ScoreKind, read_metric
from app.services.analyses.sides import Side
from app.services.experiments import experiments
from app.services.experiments.visibility import visible_experiment
from app.services.owners.keys import Caller
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.tables import Experiment, Run
from lab_models.common.validation import FieldError
from lab_models.statistics.looks import Look
from lab_models.statistics.verdicts import ContrastVerdict, Judgement

router = passes.router(prefix="/comparisons", tags=["studies"])

MOST_CURVES = 12
Ids = Annotated[
    str,
    Query(
        description="Ids of experiments, separated by commas; the first is the control",
        max_length=2000,
    ),
]


class SideAnswer(Answer):
    """One side of a comparison."""

    experiment_id: str
    title: str
    parameters: int
    num_runs: int
    num_succeeded: int


class DifferenceAnswer(Answer):
    """A field of the specs that differs."""

    path: str
    treatment: Any
    control: Any


class McNemarAnswer(Answer):
    """One seed's two checkpoints on the same test images: how many images only one of them gets right, and the exact
    two-sided p.
    """

    seed: int
    only_treatment_right: int
    only_control_right: int
    p: float


class ComparisonAnswer(Answer):
    """Treatment minus control, paired by seed; percentage points for fractions."""

    treatment: SideAnswer
    control: SideAnswer
    metric: str
    unit: str
    verdict: ContrastVerdict
    """How the treatment stands to the control."""
    sentence: str
    look: Look
    """Which look at these seeds it is: `planned`, `final`, `partial`, `further`, `early` or `spent`."""
    level: float | None
    """What `p_holm`, or `p_t` where that is null, must be below at this look; null: nothing is decided by p."""
    n: int
    seeds: list[int]
    differences: list[float]
    mean: float | None
    std: float | None
    ci95: tuple[float, float] | None
    p_t: float | None
    """Of the paired t-test, two-sided."""
    p_holm: float | None
    """The same after Holm's correction over all that the study's page tests on this metric; null outside a study."""
    p_wilcoxon: float | None
    """Of the exact signed-rank test; from 6 pairs on."""
    mcnemar: list[McNemarAnswer]
    """What a single seed's checkpoints say; it tells nothing about further seeds."""
    margin: float | None
    """Differences within ± this count as none."""
    p_equivalence: float | None
    """Of two one-sided tests (TOST) against the margin."""
    more_seeds: int | None
    """When open: about how many more seeds would show a difference as large as the margin, or that there is none, at
    this spread, as a further look; null without a margin.
    """
    minutes: float | None
    """What those seeds would take, one after the other."""
    differs: list[DifferenceAnswer]
    warnings: list[str]
    links: dict[str, str]


@router.get("")
def compare_experiments(
    session: Reading,
    settings: TheSettings,
    caller: TheCaller,
    experiments: Ids,
    metric: MetricName = "test.accuracy",
    factor: Annotated[
        str,
        Query(
            description="The one field that is meant to differ, such as model.residual or residual; more are warned of",
            max_length=200,
        ),
    ] = "",
    margin: Annotated[
        float | None,
        Query(
            gt=0,
            le=1e6,
            description="Differences within ± this count as none; null: by the data set",
        ),
    ] = None,
) -> ComparisonAnswer:
    """Whether the second experiment is better than the first: paired difference, interval, tests and a verdict."""
    found = experiments_named(session, caller, experiments, fewest=2, most=2)
    control, treatment = (Side(row, _runs_of(session, row), row.name or row.id) for row in found)
    evidence = Evidence(session, file_store(settings), [*treatment.runs, *control.runs])
    return _compared(evidence, treatment, control, read_metric(metric), factor, margin)


def against_the_first(
    session: Session, settings: Settings, sides: Sequence[Side]
) -> list[ComparisonAnswer | str]:
    """Test accuracy of each side but the first, compared with the first's; why not, where that cannot be. All is read
    once.
    """
    control, *others = sides
    runs = [run for side in sides for run in side.runs]
    evidence, metric = Evidence(session, file_store(settings), runs), read_metric("test.accuracy")
    answers: list[ComparisonAnswer | str] = []
    for treatment in others:
        try:
            answers.append(_compared(evidence, treatment, control, metric))
        except Conflict as refused:
            answers.append(str(refused))
    return answers


def _compared(
    evidence: Evidence,
    treatment: Side,
    control: Side,
    metric: ScoreKind,
    factor: str = "",
    margin: float | None = None,
) -> ComparisonAnswer:
    chosen = margin_of(metric, treatment.experiment.spec["dataset"]["name"], margin)
    comparison = compare_sides(evidence, treatment, control, metric, margin=chosen, factor=factor)
    return comparison_answer(comparison, comparison.judged(), None)


@router.get("/curves.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_comparison_curves(
    session: Reading,
    caller: TheCaller,
    experiments: Ids,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: str = "loss,accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Train and val over epochs of up to twelve experiments in one picture; means and ranges over seeds."""
    found = experiments_named(session, caller, experiments, fewest=1, most=MOST_CURVES)
    return picture(
        compared_curves(session, found, named_metrics(metric)), extension, appearance, if_none_match
    )


def comparison_answer(
    comparison: Comparison, judgement: Judgement, p_holm: float | None
) -> ComparisonAnswer:
    """A comparison as it is answered, alone or within a study."""
    paired = comparison.paired
    ids = f"{comparison.control.experiment.id},{comparison.treatment.experiment.id}"
    return ComparisonAnswer(
        treatment=_side(comparison.treatment),
        control=_side(comparison.control),
        metric=comparison.metric.name,
        unit=comparison.metric.unit,
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        look=comparison.look,
        level=judgement.level,
        n=paired.n,
        seeds=list(comparison.seeds),
        differences=list(paired.differences),
        mean=paired.mean,
        std=paired.std,
        ci95=paired.ci95,
        p_t=paired.p_t,
        p_holm=p_holm,
        p_wilcoxon=paired.p_wilcoxon,
        mcnemar=[McNemarAnswer(**vars(one)) for one in comparison.mcnemar],
        margin=paired.margin,
        p_equivalence=paired.p_tost,
        more_seeds=judgement.more_seeds,
        minutes=judgement.minutes,
        differs=[DifferenceAnswer(**vars(difference)) for difference in comparison.differs],
        warnings=list(comparison.warnings),
        links={
            "self": f"/comparisons?experiments={ids}",
            "curves": f"/comparisons/curves.png?experiments={ids}",
        },
    )


def _side(side: Side) -> SideAnswer:
    return SideAnswer(
        experiment_id=side.experiment.id,
        title=side.title,
        parameters=side.experiment.parameters,
        num_runs=len(side.runs),
        num_succeeded=len(side.succeeded),
    )


def _runs_of(session: Session, experiment: Experiment) -> list[Run]:
    return experiments.its_runs(session, experiment.id)


def experiments_named(
    session: Session, caller: Caller, listed: str, *, fewest: int, most: int
) -> list[Experiment]:
    """Those that a query lists, in its order; raises InvalidRequest where they are too few, too many or not there."""
    ids = [part.strip() for part in listed.split(",") if part.strip()]
    if not fewest <= len(ids) <= most:
        wanted = str(most) if fewest == most else f"{fewest} to {most}"
        message = f"{len(ids)} experiments are named, and {wanted} are wanted"
        raise InvalidRequest(
            message,
            [
                FieldError(
                    "/experiments",
                    message,
                    "write experiments=exp_…,exp_…: the first is the control, the second the treatment",
                )
            ],
        )
    return [visible_experiment(session, caller, one) for one in ids]
