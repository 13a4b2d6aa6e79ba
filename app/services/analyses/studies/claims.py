"""What a study says to the claims of its recipe's source."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, assert_never

from sqlmodel import Session

from app.services.analyses.pairing import margin_of
from app.services.analyses.scores import ScoreKind, Scores, read_metric
from app.services.studies.studies import StudyCell, WholeStudy
from lab_models.architectures.sameness import effect_of
from lab_models.recipes.recipe import Better, Claim, NotMonotone, Reaches, Trend
from lab_models.specs import read_spec
from lab_models.statistics import claims
from lab_models.statistics.claims import ClaimResult
from lab_models.statistics.verdicts import not_measured


@dataclass(frozen=True)
class AnsweredClaim:
    """A claim of the source and what the study says to it."""

    claim: Claim
    result: ClaimResult


def claims_of(session: Session, whole: WholeStudy) -> list[AnsweredClaim]:
    """Every claim of the study's recipe, answered with what there is."""
    answers = _Answers(Scores(session, whole.runs), whole)
    return [AnsweredClaim(claim, answers.to(claim)) for claim in whole.design.claims]


class _Answers:
    """Cells that train the same count once: there is no difference between them that a claim could be about."""

    def __init__(self, read: Scores, whole: WholeStudy) -> None:
        self._read, self._whole = read, whole
        self._cells: dict[str, StudyCell] = {cell.cell.key: cell for cell in whole.cells}
        self._effect = cache(lambda key: effect_of(read_spec(self._cells[key].experiment.spec)))

    def to(self, claim: Claim) -> ClaimResult:
        test, metric = claim.test, read_metric(claim.test.metric)
        match test:
            case Better():
                return self._to_better(test, metric)
            case Trend() | NotMonotone():
                return self._along(test, metric)
            case Reaches():
                values = list(self._scores(test.cell, metric).values())
                seconds = self._seconds([test.cell])
                terms = {**self._terms(metric), "unit": metric.level_unit}
                return claims.reaches(values, test.value, seconds_per_seed=seconds, **terms)
            case _:
                assert_never(test)

    def _to_better(self, test: Better, metric: ScoreKind) -> ClaimResult:
        pairs = [pair for pair in test.contrasts if len(set(map(self._effect, pair))) > 1]
        left_out = [self._against(*pair) for pair in test.contrasts if pair not in pairs]
        if not pairs:
            return _nothing_to_compare()
        result = claims.better(
            [
                {
                    seed: (value, control[seed])
                    for seed, value in self._scores(treated, metric).items()
                    if seed in control
                }
                for treated, key in pairs
                if (control := self._scores(key, metric)) is not None
            ],
            titles=[self._against(*pair) for pair in pairs],
            lower_is_better=metric.lower_is_better,
            seconds_per_seed=self._seconds(key for pair in pairs for key in pair),
            **self._terms(metric),
        )
        same = [f"{title}: both train the same, left out" for title in left_out]
        return replace(result, evidence=(*result.evidence, *same))

    def _along(self, test: Trend | NotMonotone, metric: ScoreKind) -> ClaimResult:
        different: dict[str, str] = {}
        for key in test.cells:
            different.setdefault(self._effect(key), key)
        keys = list(different.values())
        if len(keys) == 1 < len(test.cells):
            return _nothing_to_compare()
        scores = [self._scores(key, metric) for key in keys]
        more: dict[str, Any] = {
            **self._terms(metric),
            "titles": [self._cells[key].cell.title for key in keys],
            "seconds_per_seed": self._seconds(keys),
        }
        result = (
            claims.trend(scores, test.rises, **more)
            if isinstance(test, Trend)
            else claims.not_monotone(scores, **more)
        )
        same = [
            f"{self._cells[key].cell.title}: trains the same as an earlier setting, left out"
            for key in test.cells
            if key not in keys
        ]
        return replace(result, evidence=(*result.evidence, *same))

    def _terms(self, metric: ScoreKind) -> dict[str, Any]:
        """How the claim's numbers are spoken of, and what counts as none."""
        dataset = self._whole.cells[0].experiment.spec["dataset"]["name"]
        is_accuracy = metric.name.endswith("accuracy")
        wanted = self._whole.design.margin_points if is_accuracy else None
        margin = margin_of(metric, dataset, wanted)
        return {"margin": margin, "unit": metric.unit, "scale": metric.scale}

    def _scores(self, key: str, metric: ScoreKind) -> dict[int, float]:
        return self._read.by_seed(self._cells[key].runs, metric)

    def _seconds(self, keys: Iterable[str]) -> float | None:
        """Of one more seed of all the cells."""
        means = [list(self._scores(key, ScoreKind("seconds")).values()) for key in set(keys)]
        return sum(sum(found) / len(found) for found in means) if all(means) else None

    def _against(self, treatment: str, control: str) -> str:
        return f"{self._cells[treatment].cell.title} against {self._cells[control].cell.title}"


def _nothing_to_compare() -> ClaimResult:
    said = not_measured("all the settings that it compares train the same in this study")
    return ClaimResult(said.verdict, said.sentence, None, None, None, 0, ())
