"""What a study shows: its contrasts and its source's claims, corrected together, and what a linter finds in the
source's table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sqlmodel import Session

from app.errors import Conflict
from app.services.analyses.comparisons import Comparison, Evidence, compare_sides
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.pairing import ONE_AND_THE_SAME
from app.services.analyses.scores import ScoreKind
from app.services.analyses.sides import Side
from app.services.analyses.studies.cell_sides import margin_in, sides_of
from app.services.analyses.studies.claims import AnsweredClaim, Questions
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.services.studies.study_cautions import cautions
from app.storage.files.store import FileStore
from app.storage.tables import Study
from lab_models.recipes.catalog import RECIPES
from lab_models.recipes.findings import Finding
from lab_models.recipes.linting import lint_recipe
from lab_models.recipes.recipe import Contrast
from lab_models.statistics.cells import Corrected
from lab_models.statistics.families import Test, TestKey, corrected, pair_key
from lab_models.statistics.verdicts import Judgement, not_measured


@dataclass(frozen=True)
class ContrastResult:
    """One contrast; `comparison` is None, with the reason in `refused`, where the two cells cannot be compared."""

    contrast: Contrast
    title: str
    comparison: Comparison | None
    refused: str = ""
    p_holm: float | None = None
    key: TestKey = None
    """Names its test, which a claim or another contrast may need as well."""

    @property
    def is_one(self) -> bool:
        """Whether there is nothing to compare, because both cells train the same."""
        return self.refused == ONE_AND_THE_SAME

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict on treatment against control, as one of its family."""
        if self.comparison is None:
            return not_measured(self.refused)
        return self.comparison.judged(self.p_holm)


@dataclass(frozen=True)
class StudyVerdicts:
    """Everything that a study decides; `findings` are about the source's own table, where it has one."""

    whole: WholeStudy
    metric: ScoreKind
    contrasts: list[ContrastResult]
    claims: list[AnsweredClaim]
    cautions: list[str]
    findings: list[Finding]


def verdicts(
    session: Session, files: FileStore, study: Study, metric: ScoreKind
) -> Exhibit[StudyVerdicts]:
    """What a study decides, with what there is."""

    def read() -> StudyVerdicts:
        whole = studies.whole(session, study)
        return verdicts_of(Evidence(session, files, whole.runs), whole, metric)

    return Exhibit(
        "study verdicts",
        (metric.name,),
        revisions.of_study(session, study),
        read,
    )


def verdicts_of(evidence: Evidence, whole: WholeStudy, metric: ScoreKind) -> StudyVerdicts:
    """What a study that has been read decides."""
    recipe = RECIPES.get(whole.study.recipe or "")
    page = _Page(evidence, whole)
    return StudyVerdicts(
        whole,
        metric,
        page.contrasts(metric),
        page.claims(),
        list(cautions(whole)),
        # what is found in the source's table, and in its design, is of the source's work alone
        lint_recipe(recipe) if recipe is not None and whole.design.sources else [],
    )


def contrasts_of(
    session: Session, files: FileStore, whole: WholeStudy, metric: ScoreKind
) -> list[ContrastResult]:
    """Every contrast of the study, corrected as on its page."""
    return _Page(Evidence(session, files, whole.runs), whole).contrasts(metric)


class _Page:
    """All that a study tests. The contrasts on one metric and the claims on the same are one family for Holm's
    correction, in which a pair of cells is one test, whoever asks for it: a claim and a contrast have the same p.
    """

    def __init__(self, evidence: Evidence, whole: WholeStudy) -> None:
        self._evidence, self._whole = evidence, whole
        self._sides = sides_of(whole)
        self._questions = Questions(evidence, whole, self._sides)
        self._compared: dict[str, list[ContrastResult]] = {}
        self._corrected: dict[str, Corrected] = {}

    def contrasts(self, metric: ScoreKind) -> list[ContrastResult]:
        """Every contrast of the study."""
        p_holm = self._family(metric)
        return [
            result if result.comparison is None else replace(result, p_holm=p_holm[result.key])
            for result in self._compare(metric)
        ]

    def claims(self) -> list[AnsweredClaim]:
        """Every claim, answered."""
        asked = [self._questions.of(claim) for claim in self._whole.design.claims]
        return [
            AnsweredClaim(one.claim, one.asked.answer(self._family(one.metric))) for one in asked
        ]

    def _family(self, metric: ScoreKind) -> Corrected:
        """Every p on this metric, corrected; the same whichever metric the page is asked for."""
        if metric.name not in self._corrected:
            tests: dict[TestKey, Test] = {
                result.key: Test(result.comparison.paired, result.comparison.look)
                for result in self._compare(metric)
                if result.comparison is not None
            }
            for claim in self._whole.design.claims:
                if claim.test.metric == metric.name:
                    tests = {**self._questions.of(claim).asked.tests, **tests}
            self._corrected[metric.name] = corrected(tests)
        return self._corrected[metric.name]

    def _compare(self, metric: ScoreKind) -> list[ContrastResult]:
        if metric.name not in self._compared:
            self._compared[metric.name] = [
                _compared(self._evidence, self._whole, self._sides, contrast, metric)
                for contrast in self._whole.design.contrasts
            ]
        return self._compared[metric.name]


def _compared(
    evidence: Evidence,
    whole: WholeStudy,
    sides: Mapping[str, Side],
    contrast: Contrast,
    metric: ScoreKind,
) -> ContrastResult:
    treatment, control = sides[contrast.treatment], sides[contrast.control]
    title = contrast.title or f"{treatment.title} against {control.title}"
    if treatment.effect == control.effect:
        return ContrastResult(contrast, title, None, ONE_AND_THE_SAME)
    margin = margin_in(whole, metric, treatment.experiment.spec["dataset"]["name"])
    try:
        comparison = compare_sides(
            evidence, treatment, control, metric, margin=margin, factor=contrast.factor
        )
    except Conflict as error:
        return ContrastResult(contrast, title, None, str(error))
    trained = whole.design.trained
    key = pair_key(trained(contrast.treatment), trained(contrast.control))
    return ContrastResult(contrast, title, comparison, key=key)
