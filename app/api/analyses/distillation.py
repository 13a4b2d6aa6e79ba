"""What a distillation has gained over HTTP: teacher, baseline and distilled student as a table and as a picture."""

from typing import Annotated, Any, Literal

from fastapi import Query, Response

from app.api.experiments.schemas import SummaryAnswer
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.api.schemas import Answer
from app.plots.figures.experiments import COMPARISON_PANELS, ComparisonPanel
from app.services.analyses.distillation.figures import distillation_curves
from app.services.analyses.distillation.outcomes import (
    Arm,
    ArmRole,
    DistillationOutcome,
    load_outcome,
)
from app.services.analyses.distillation.tables import SCORES, csv_of, markdown_of
from app.services.analyses.distillation.wording import gap_of, sentence, warnings
from lab_models.specs import FeatureSpec
from lab_models.statistics.verdicts import ContrastVerdict

router = passes.router(prefix="/experiments", tags=["distillation"])

CSV, MARKDOWN = "text/csv; charset=utf-8", "text/markdown; charset=utf-8"


class ArmAnswer(Answer):
    """One row: a network and what it scored on test, over its succeeded runs."""

    role: ArmRole
    experiment_id: str | None
    """null when the experiment is gone."""
    num_runs: int
    seeds: list[int]
    """Those of the succeeded runs: the numbers come from these."""
    network: str
    parameters: int | None
    share_of_teacher: float | None
    """Parameters, as a share of the teacher's."""
    macs_per_sample: int | None
    """Multiply-accumulates of one image's forward pass."""
    accuracy: SummaryAnswer | None
    nll: SummaryAnswer | None
    """Mean negative log-likelihood, nats."""
    ece: SummaryAnswer | None
    """Expected calibration error."""
    teacher_agreement: SummaryAnswer | None
    """Share of test images that get the teacher's class, right or wrong; of the distilled student."""


class PairAnswer(Answer):
    """One seed with and without the teacher; `difference` is distilled minus baseline in percentage points."""

    seed: int
    baseline: float
    distilled: float
    difference: float


class GainAnswer(Answer):
    """Distilled minus baseline on test, in percentage points, paired over the seeds that succeeded in both arms: judged
    as `/comparisons` and a study's contrasts are.
    """

    verdict: ContrastVerdict
    """How the distilled student stands to its baseline."""
    sentence: str
    """The verdict with the numbers it rests on."""
    level: float | None
    """What `p_t` must be below at this look; null: nothing is decided by p."""
    mean: float | None
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    """The paired t-test's; null below two pairs, and when all differences are equal."""
    p_t: float | None
    """Of the paired t-test, two-sided."""
    margin: float | None
    """Differences within ± this count as none; by the data set."""
    p_equivalence: float | None
    """Of two one-sided tests (TOST) against the margin."""
    more_seeds: int | None
    """When open: about how many more seeds would show a difference as large as the margin, or that there is none, at
    this spread, as a further look; null without a margin.
    """
    minutes: float | None
    """What those seeds would take, one after the other."""
    pairs: list[PairAnswer]
    gap_closed: float | None
    """(distilled - baseline) / (teacher - baseline)."""
    gap_reason: str | None
    """Why `gap_closed` is null."""


class DistillationAnswer(Answer):
    """Teacher, baseline and distilled student side by side."""

    experiment_id: str
    name: str | None
    complete: bool
    """Whether every run of every arm has succeeded."""
    sentence: str
    temperature: float
    alpha: float
    features: FeatureSpec | None
    """What of the teacher is matched beside its logits; null: nothing."""
    rows: list[ArmAnswer]
    gain: GainAnswer
    warnings: list[str]
    links: dict[str, str]


@router.get(
    "/{experiment_id}/distillation",
    response_model=DistillationAnswer,
    responses={
        200: {"content": {"text/csv": {}, "text/markdown": {}}},
        404: {"description": "No such experiment, or not a distillation"},
    },
)
def read_distillation(
    session: Reading,
    experiment: TheExperiment,
    format: Literal["json", "md", "csv"] = "json",  # noqa: A002
) -> Any:
    """What the student has learned from its teacher, beside the same student without one; at any time, with what there
    is.
    """
    outcome = load_outcome(session, experiment)
    match format:
        case "json":
            return _answer(outcome)
        case "md":
            return Response(markdown_of(outcome), media_type=MARKDOWN)
        case "csv":
            disposition = f'attachment; filename="{experiment.id}-distillation.csv"'
            return Response(
                csv_of(outcome), media_type=CSV, headers={"Content-Disposition": disposition}
            )


@router.get(
    "/{experiment_id}/distillation.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_distillation(
    session: Reading,
    experiment: TheExperiment,
    extension: PictureFormat,
    appearance: TheAppearance,
    panel: Annotated[
        ComparisonPanel | None, Query(description="One of the three panels alone; null: all")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Training loss, val loss and val accuracy of teacher, baseline and distilled student, side by side or one of them
    as a file of its own; means and ranges over seeds.
    """
    curves = distillation_curves(session, experiment, panel)
    return picture(curves, extension, appearance, if_none_match)


def _answer(comparison: DistillationOutcome) -> DistillationAnswer:
    base = f"/experiments/{comparison.experiment_id}"
    return DistillationAnswer(
        experiment_id=comparison.experiment_id,
        name=comparison.name,
        complete=comparison.complete,
        sentence=sentence(comparison),
        temperature=comparison.temperature,
        alpha=comparison.alpha,
        features=comparison.features,
        rows=[_row(arm, comparison.share_of_teacher(arm)) for arm in comparison.arms],
        gain=_gain_answer(comparison),
        warnings=warnings(comparison),
        links={
            "self": f"{base}/distillation",
            "picture": f"{base}/distillation.png",
            **{panel: f"{base}/distillation.png?panel={panel}" for panel in COMPARISON_PANELS},
            "experiment": base,
        },
    )


def _row(arm: Arm, share: float | None) -> ArmAnswer:
    return ArmAnswer(
        role=arm.role,
        experiment_id=arm.experiment_id,
        num_runs=len(arm.runs),
        seeds=[run.seed for run in arm.succeeded],
        network=arm.network,
        parameters=arm.parameters,
        share_of_teacher=share,
        macs_per_sample=arm.macs_per_sample,
        **{
            name: None if (found := arm.summary(name)) is None else SummaryAnswer.of(found)
            for name in SCORES
        },
    )


def _gain_answer(comparison: DistillationOutcome) -> GainAnswer:
    paired, judgement, gap = comparison.gain.paired, comparison.gain.judgement, gap_of(comparison)
    return GainAnswer(
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        level=judgement.level,
        mean=paired.mean,
        std=paired.std,
        n=paired.n,
        ci95=paired.ci95,
        p_t=paired.p_t,
        margin=paired.margin,
        p_equivalence=paired.p_tost,
        more_seeds=judgement.more_seeds,
        minutes=judgement.minutes,
        pairs=_pairs(comparison),
        gap_closed=gap.closed,
        gap_reason=gap.reason,
    )


def _pairs(comparison: DistillationOutcome) -> list[PairAnswer]:
    scores, baseline = comparison.gain.scores, comparison.baseline
    if scores is None or baseline is None:
        return []
    alone, taught = baseline.by_seed("accuracy"), comparison.distilled.by_seed("accuracy")
    return [
        PairAnswer(seed=seed, baseline=alone[seed], distilled=taught[seed], difference=points)
        for seed, points in zip(scores.seeds, scores.paired.differences, strict=True)
    ]
