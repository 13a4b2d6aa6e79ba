"""What a study shows: its contrasts with Holm's correction, its source's claims, and what a linter finds in the
source's table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sqlmodel import Session

from app.errors import Conflict
from app.services.analyses.comparisons import Comparison, Evidence, compare_sides
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.pairing import ONE_AND_THE_SAME, Side, margin_of
from app.services.analyses.scores import ScoreKind
from app.services.analyses.studies.claims import AnsweredClaim, claims_of
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
from lab_models.statistics.families import holm
from lab_models.statistics.verdicts import Judgement, not_measured


@dataclass(frozen=True)
class ContrastResult:
    """One contrast; `comparison` is None, with the reason in `refused`, where the two cells cannot be compared."""

    contrast: Contrast
    title: str
    comparison: Comparison | None
    refused: str = ""
    p_holm: float | None = None

    @property
    def is_one(self) -> bool:
        """Whether there is nothing to compare, because both cells train the same."""
        return self.refused == ONE_AND_THE_SAME

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict on "treatment is better than control", as one of its family."""
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
    return Exhibit(
        "study verdicts",
        (metric.name,),
        revisions.of_study(session, study),
        lambda: verdicts_of(session, files, studies.whole(session, study), metric),
    )


def verdicts_of(
    session: Session, files: FileStore, whole: WholeStudy, metric: ScoreKind
) -> StudyVerdicts:
    """What a study that has been read decides."""
    recipe = RECIPES.get(whole.study.recipe or "")
    return StudyVerdicts(
        whole,
        metric,
        contrasts_of(session, files, whole, metric),
        claims_of(session, whole),
        list(cautions(whole)),
        # what is found in the source's table, and in its design, is of the source's work alone
        lint_recipe(recipe) if recipe is not None and whole.design.sources else [],
    )


def contrasts_of(
    session: Session, files: FileStore, whole: WholeStudy, metric: ScoreKind
) -> list[ContrastResult]:
    """Every contrast of the study; p is corrected by Holm over each family."""
    evidence = Evidence(session, files, whole.runs)
    sides = {
        cell.cell.key: Side(cell.experiment, cell.runs, cell.cell.title) for cell in whole.cells
    }
    found = [
        _compared(evidence, whole, sides, contrast, metric) for contrast in whole.design.contrasts
    ]
    return [
        replace(result, p_holm=p) for result, p in zip(found, _holm_by_family(found), strict=True)
    ]


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
    margin = margin_of(
        metric,
        treatment.experiment.spec["dataset"]["name"],
        whole.design.margin_points if metric.name.endswith("accuracy") else None,
    )
    try:
        comparison = compare_sides(
            evidence, treatment, control, metric, margin=margin, factor=contrast.factor
        )
    except Conflict as error:
        return ContrastResult(contrast, title, None, str(error))
    return ContrastResult(contrast, title, comparison)


def _holm_by_family(found: list[ContrastResult]) -> list[float | None]:
    adjusted: list[float | None] = [None] * len(found)
    for family in dict.fromkeys(result.contrast.family for result in found):
        places = [place for place, result in enumerate(found) if result.contrast.family == family]
        raw = [
            None if (comparison := found[place].comparison) is None else comparison.paired.p_t
            for place in places
        ]
        for place, p in zip(places, holm(raw), strict=True):
            adjusted[place] = p
    return adjusted
