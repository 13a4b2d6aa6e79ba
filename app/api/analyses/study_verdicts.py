"""What a study shows, over HTTP: its contrasts, its source's claims, and what is wrong with the source's own table."""

from typing import Any

from fastapi import Response

from app.api.analyses.comparisons import ComparisonAnswer, comparison_answer
from app.api.analyses.study_tables import MetricName
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.pictures import UNCHANGED, IfNoneMatch, is_current, revalidated
from app.api.schemas import Answer
from app.services.analyses.scores import ScoreKind, read_metric
from app.services.analyses.study_verdicts import (
    AnsweredClaim,
    ContrastResult,
    claims_of,
    contrasts_of,
)
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.services.studies.study_cautions import cautions
from app.storage.states import RunStatus
from lab_models.recipes.catalog import RECIPES
from lab_models.recipes.linting import lint_recipe
from lab_models.statistics.verdicts import Verdict

router = passes.router(prefix="/studies", tags=["studies"])


class ContrastAnswer(Answer):
    """Two cells compared."""

    title: str
    treatment: str
    control: str
    factor: str
    family: str
    verdict: Verdict
    sentence: str
    comparison: ComparisonAnswer | None
    """null where the two cannot be compared; the sentence says why."""


class ClaimAnswer(Answer):
    """Something that the source says, and what the study says to it."""

    key: str
    text: str
    source: str
    verdict: Verdict
    sentence: str
    estimate: float | None
    ci95: tuple[float, float] | None
    p: float | None
    n: int
    evidence: list[str]
    note: str


class VerdictsAnswer(Answer):
    """Everything that a study decides."""

    study_id: str
    title: str
    metric: str
    complete: bool
    """Whether every run has succeeded."""
    contrasts: list[ContrastAnswer]
    claims: list[ClaimAnswer]
    cautions: list[str]
    """What to keep in mind when reading the verdicts."""
    findings: list[dict[str, Any]]
    """What a linter finds in the source's own table: wrong differences, impossible digits, unmatched arms."""
    links: dict[str, str]


@router.get("/{study_id}/verdicts", response_model=VerdictsAnswer, responses=UNCHANGED)
def read_verdicts(
    session: Reading,
    study: TheStudy,
    settings: TheSettings,
    metric: MetricName = "test.accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Contrasts with Holm's correction, claims with their evidence, findings in the source's table; at any time, with
    what there is.
    """
    wanted = read_metric(metric)
    headers = revalidated("verdicts", metric, revisions.of_study(session, study))
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    whole = studies.whole(session, study)
    return passes.answer(
        verdicts_answer(
            whole,
            contrasts_of(session, settings.runs_folder, whole, wanted),
            claims_of(session, whole),
            wanted,
        ),
        headers=headers,
    )


def verdicts_answer(
    whole: WholeStudy,
    contrasts: list[ContrastResult],
    claims: list[AnsweredClaim],
    metric: ScoreKind,
) -> VerdictsAnswer:
    """What a study decides, as JSON."""
    base = f"/studies/{whole.study.id}"
    recipe = RECIPES.get(whole.study.recipe or "")
    return VerdictsAnswer(
        study_id=whole.study.id,
        title=whole.study.name,
        metric=metric.name,
        complete=whole.status is RunStatus.SUCCEEDED,
        contrasts=[_contrast(result) for result in contrasts],
        claims=[_claim(answered) for answered in claims],
        cautions=list(cautions(whole)),
        findings=[] if recipe is None else [vars(finding) for finding in lint_recipe(recipe)],
        links={"self": f"{base}/verdicts", "study": base, "differences": f"{base}/differences.png"},
    )


def _contrast(result: ContrastResult) -> ContrastAnswer:
    comparison, judgement = result.comparison, result.judgement
    return ContrastAnswer(
        title=result.title,
        treatment=result.contrast.treatment,
        control=result.contrast.control,
        factor=result.contrast.factor,
        family=result.contrast.family,
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        comparison=None
        if comparison is None
        else comparison_answer(comparison, judgement, result.p_holm),
    )


def _claim(answered: AnsweredClaim) -> ClaimAnswer:
    claim, result = answered.claim, answered.result
    return ClaimAnswer(
        key=claim.key,
        text=claim.text,
        source=claim.source,
        verdict=result.verdict,
        sentence=result.sentence,
        estimate=result.estimate,
        ci95=result.ci95,
        p=result.p,
        n=result.n,
        evidence=list(result.evidence),
        note=claim.note,
    )
