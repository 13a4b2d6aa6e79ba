"""What a study shows, over HTTP: its contrasts, its source's claims, and what is wrong with the source's own table."""

from typing import Any

from app.api.analyses.comparisons import ComparisonAnswer, comparison_answer
from app.api.analyses.parameters import MetricName
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.pictures import UNCHANGED, IfNoneMatch, exhibited
from app.api.schemas import Answer
from app.services.analyses.scores import read_metric
from app.services.analyses.studies.claims import AnsweredClaim
from app.services.analyses.studies.verdicts import ContrastResult, StudyVerdicts, verdicts
from app.storage.files.places import file_store
from app.storage.states import RunStatus
from lab_models.statistics.verdicts import ClaimVerdict, ContrastVerdict

router = passes.router(prefix="/studies", tags=["studies"])


class ContrastAnswer(Answer):
    """Two cells compared."""

    title: str
    treatment: str
    control: str
    factor: str
    verdict: ContrastVerdict
    """How the treatment stands to the control."""
    sentence: str
    level: float | None
    """What p, corrected, must be below at this look; null: nothing is decided by p."""
    comparison: ComparisonAnswer | None
    """null where the two cannot be compared; the sentence says why."""


class ClaimAnswer(Answer):
    """Something that the source says, and what the study says to it."""

    key: str
    text: str
    source: str
    verdict: ClaimVerdict
    sentence: str
    estimate: float | None
    ci95: tuple[float, float] | None
    p: float | None
    """Of the test that decides, two-sided."""
    p_holm: float | None
    """The same after Holm's correction over all that the study tests on the claim's metric."""
    level: float | None
    """What `p_holm` must be below at this look; null: nothing is decided by p."""
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
    """Contrasts and claims with Holm's correction over both, findings in the source's table; at any time, with
    what there is.
    """
    exhibit = verdicts(session, file_store(settings), study, read_metric(metric))
    return exhibited(
        exhibit,
        "json",
        if_none_match,
        lambda found, headers: passes.answer(verdicts_answer(found), headers=headers),
    )


def verdicts_answer(found: StudyVerdicts) -> VerdictsAnswer:
    """What a study decides, as JSON."""
    whole = found.whole
    base = f"/studies/{whole.study.id}"
    return VerdictsAnswer(
        study_id=whole.study.id,
        title=whole.study.name,
        metric=found.metric.name,
        complete=whole.status is RunStatus.SUCCEEDED,
        contrasts=[_contrast(result) for result in found.contrasts],
        claims=[_claim(answered) for answered in found.claims],
        cautions=found.cautions,
        findings=[vars(finding) for finding in found.findings],
        links={"self": f"{base}/verdicts", "study": base, "differences": f"{base}/differences.png"},
    )


def _contrast(result: ContrastResult) -> ContrastAnswer:
    comparison, judgement = result.comparison, result.judgement
    return ContrastAnswer(
        title=result.title,
        treatment=result.contrast.treatment,
        control=result.contrast.control,
        factor=result.contrast.factor,
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        level=judgement.level,
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
        p_holm=result.p_holm,
        level=result.level,
        n=result.n,
        evidence=list(result.evidence),
        note=claim.note,
    )
