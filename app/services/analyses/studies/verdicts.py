"""What a study shows: its contrasts with Holm's correction, its source's claims, and what a linter finds in the
source's table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import assert_never

from sqlmodel import Session

from app.errors import Conflict
from app.services.analyses.comparisons import Comparison, Evidence, compare_sides
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.pairing import Side, margin_of
from app.services.analyses.scores import ScoreKind, Scores, read_metric
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.services.studies.study_cautions import cautions
from app.storage.tables import Study
from lab_models.recipes.catalog import RECIPES
from lab_models.recipes.findings import Finding
from lab_models.recipes.linting import lint_recipe
from lab_models.recipes.recipe import Better, Claim, Contrast, NotMonotone, Reaches, Trend
from lab_models.statistics import claims
from lab_models.statistics.claims import ClaimResult
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

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict on "treatment is better than control", as one of its family."""
        if self.comparison is None:
            return not_measured(self.refused)
        return self.comparison.judged(self.p_holm)


@dataclass(frozen=True)
class AnsweredClaim:
    """A claim of the source and what the study says to it."""

    claim: Claim
    result: ClaimResult


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
    session: Session, runs_folder: Path, study: Study, metric: ScoreKind
) -> Exhibit[StudyVerdicts]:
    """What a study decides, with what there is."""
    return Exhibit(
        "study verdicts",
        (metric.name,),
        revisions.of_study(session, study),
        lambda: verdicts_of(session, runs_folder, studies.whole(session, study), metric),
    )


def verdicts_of(
    session: Session, runs_folder: Path, whole: WholeStudy, metric: ScoreKind
) -> StudyVerdicts:
    """What a study that has been read decides."""
    recipe = RECIPES.get(whole.study.recipe or "")
    return StudyVerdicts(
        whole,
        metric,
        contrasts_of(session, runs_folder, whole, metric),
        claims_of(session, whole),
        list(cautions(whole)),
        [] if recipe is None else lint_recipe(recipe),
    )


def contrasts_of(
    session: Session, runs_folder: Path, whole: WholeStudy, metric: ScoreKind
) -> list[ContrastResult]:
    """Every contrast of the study; p is corrected by Holm over each family."""
    evidence = Evidence(session, runs_folder, whole.runs)
    sides = {
        cell.cell.key: Side(cell.experiment, cell.runs, cell.cell.title) for cell in whole.cells
    }
    found = [
        _compared(evidence, whole, sides, contrast, metric) for contrast in whole.design.contrasts
    ]
    return [
        replace(result, p_holm=p) for result, p in zip(found, _holm_by_family(found), strict=True)
    ]


def claims_of(session: Session, whole: WholeStudy) -> list[AnsweredClaim]:
    """Every claim of the study's recipe, answered with what there is."""
    read = Scores(session, whole.runs)
    return [AnsweredClaim(claim, _answer(read, whole, claim)) for claim in whole.design.claims]


def _compared(
    evidence: Evidence,
    whole: WholeStudy,
    sides: Mapping[str, Side],
    contrast: Contrast,
    metric: ScoreKind,
) -> ContrastResult:
    treatment, control = sides[contrast.treatment], sides[contrast.control]
    title = contrast.title or f"{treatment.title} against {control.title}"
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


def _answer(read: Scores, whole: WholeStudy, claim: Claim) -> ClaimResult:
    test, cells = claim.test, {cell.cell.key: cell for cell in whole.cells}
    metric = read_metric(test.metric)
    dataset = whole.cells[0].experiment.spec["dataset"]["name"]
    margin = margin_of(
        metric, dataset, whole.design.margin_points if metric.name.endswith("accuracy") else None
    )

    def scores(key: str) -> dict[int, float]:
        return read.by_seed(cells[key].runs, metric)

    def seconds(keys: set[str]) -> float | None:
        means = [list(read.by_seed(cells[key].runs, ScoreKind("seconds")).values()) for key in keys]
        return sum(sum(found) / len(found) for found in means) if all(means) else None

    match test:
        case Better():
            return claims.better(
                [
                    {
                        seed: (value, control[seed])
                        for seed, value in scores(treated).items()
                        if seed in control
                    }
                    for treated, key in test.contrasts
                    if (control := scores(key)) is not None
                ],
                margin,
                unit=metric.unit,
                scale=metric.scale,
                titles=[
                    f"{cells[treated].cell.title} against {cells[key].cell.title}"
                    for treated, key in test.contrasts
                ],
                lower_is_better=metric.lower_is_better,
                seconds_per_seed=seconds({key for pair in test.contrasts for key in pair}),
            )
        case Trend():
            titles = [cells[key].cell.title for key in test.cells]
            return claims.trend(
                [scores(key) for key in test.cells],
                test.rises,
                margin,
                unit=metric.unit,
                scale=metric.scale,
                titles=titles,
                seconds_per_seed=seconds(set(test.cells)),
            )
        case NotMonotone():
            titles = [cells[key].cell.title for key in test.cells]
            return claims.not_monotone(
                [scores(key) for key in test.cells],
                margin,
                unit=metric.unit,
                scale=metric.scale,
                titles=titles,
                seconds_per_seed=seconds(set(test.cells)),
            )
        case Reaches():
            return claims.reaches(
                list(scores(test.cell).values()),
                test.value,
                margin,
                unit=metric.level_unit,
                scale=metric.scale,
                seconds_per_seed=seconds({test.cell}),
            )
        case _:
            assert_never(test)
