"""What a study says to the claims of its recipe's source: first the tests that each needs, then the answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from app.services.analyses.comparisons import Evidence
from app.services.analyses.scores import ScoreKind, read_metric
from app.services.analyses.sides import Side
from app.services.analyses.studies.cell_sides import margin_in
from app.services.studies.studies import WholeStudy
from lab_models.recipes.recipe import Better, Claim, NotMonotone, Reaches, Trend
from lab_models.statistics import claims
from lab_models.statistics.cells import Asked, ClaimResult, Corrected, qualified, unmeasured
from lab_models.statistics.looks import Look


@dataclass(frozen=True)
class AskedClaim:
    """A claim of the source with the tests that it needs, which are of one metric."""

    claim: Claim
    metric: ScoreKind
    asked: Asked


@dataclass(frozen=True)
class AnsweredClaim:
    """A claim of the source and what the study says to it."""

    claim: Claim
    result: ClaimResult


class Questions:
    """What the claims of a study's recipe ask of its cells. Cells that train the same count once: there is no
    difference between them that a claim could be about.
    """

    def __init__(self, evidence: Evidence, whole: WholeStudy, sides: Mapping[str, Side]) -> None:
        self._evidence, self._whole, self._sides = evidence, whole, sides
        self._asked: dict[Claim, AskedClaim] = {}

    def of(self, claim: Claim) -> AskedClaim:
        """The claim with its tests, worked out once."""
        if claim not in self._asked:
            self._asked[claim] = self._ask(claim)
        return self._asked[claim]

    def _ask(self, claim: Claim) -> AskedClaim:
        test, metric = claim.test, read_metric(claim.test.metric)
        match test:
            case Better():
                asked = self._better(test, metric)
            case Trend() | NotMonotone():
                asked = self._along(test, metric)
            case Reaches():
                asked = claims.reaches(
                    self._scores(test.cell, metric),
                    metric.compared(test.value),
                    cell=self._whole.design.trained(test.cell),
                    lower_is_better=metric.lower_is_better,
                    limits=(0.0, 100.0) if metric.is_bounded else None,
                    seconds_per_seed=self._seconds([test.cell]),
                    **{**self._terms(metric), "unit": metric.level_unit},
                )
            case _:
                assert_never(test)
        return AskedClaim(claim, metric, asked)

    def _better(self, test: Better, metric: ScoreKind) -> Asked:
        pairs = [
            pair for pair in test.contrasts if len({self._sides[key].effect for key in pair}) > 1
        ]
        trained = self._whole.design.trained
        left_out = [self._against(*pair) for pair in test.contrasts if pair not in pairs]
        if not pairs:
            return _nothing_to_compare()
        scores = [tuple(self._scores(key, metric) for key in pair) for pair in pairs]
        rows = [
            {seed: (value, control[seed]) for seed, value in treated.items() if seed in control}
            for treated, control in scores
        ]
        asked = claims.better(
            rows,
            cells=[(trained(treated), trained(control)) for treated, control in pairs],
            titles=[self._against(*pair) for pair in pairs],
            lower_is_better=metric.lower_is_better,
            seconds_per_seed=self._seconds(key for pair in pairs for key in pair),
            **self._terms(metric),
        )
        same = [f"{title}: both train the same, left out" for title in left_out]
        return _with(
            asked, [*same, *self._remarks([key for pair in pairs for key in pair], metric)]
        )

    def _along(self, test: Trend | NotMonotone, metric: ScoreKind) -> Asked:
        different: dict[str, str] = {}
        for key in test.cells:
            different.setdefault(self._sides[key].effect, key)
        keys = list(different.values())
        if len(keys) == 1 < len(test.cells):
            return _nothing_to_compare()
        scores = [self._scores(key, metric) for key in keys]
        more: dict[str, Any] = {
            **self._terms(metric),
            "cells": [self._whole.design.trained(key) for key in keys],
            "titles": [self._sides[key].title for key in keys],
            "seconds_per_seed": self._seconds(keys),
        }
        asked = (
            claims.trend(scores, test.rises, **more)
            if isinstance(test, Trend)
            else claims.not_monotone(scores, lower_is_better=metric.lower_is_better, **more)
        )
        same = [
            f"{self._sides[key].title}: trains the same as an earlier setting, left out"
            for key in test.cells
            if key not in keys
        ]
        return _with(asked, [*same, *self._remarks(keys, metric)])

    def _terms(self, metric: ScoreKind) -> dict[str, Any]:
        """How the claim's numbers are spoken of, what counts as none, and which look at them this is."""
        dataset = self._whole.cells[0].experiment.spec["dataset"]["name"]
        return {
            "margin": margin_in(self._whole, metric, dataset),
            "unit": qualified(metric.unit, metric.measured_from),
            "look": self._look,
        }

    def _look(self, keys: Sequence[str], seeds: Sequence[int]) -> Look:
        sides = [self._sides[key] for key in dict.fromkeys(keys)]
        return self._evidence.looks.of(sides, seeds)

    def _scores(self, key: str, metric: ScoreKind) -> dict[int, float]:
        """As they are compared."""
        side = self._sides[key]
        found = self._evidence.scores.by_seed(side.runs, metric)
        return {seed: metric.compared(value) for seed, value in found.items()}

    def _remarks(self, keys: Sequence[str], metric: ScoreKind) -> list[str]:
        runs = [run for key in dict.fromkeys(keys) for run in self._sides[key].runs]
        return self._evidence.scores.remarks(runs, metric)

    def _seconds(self, keys: Iterable[str]) -> float | None:
        """Of one more seed of all the cells."""
        seconds = ScoreKind("seconds")
        means = [
            list(self._evidence.scores.by_seed(self._sides[key].runs, seconds).values())
            for key in set(keys)
        ]
        return sum(sum(found) / len(found) for found in means) if all(means) else None

    def _against(self, treatment: str, control: str) -> str:
        return f"{self._sides[treatment].title} against {self._sides[control].title}"


def _with(asked: Asked, more: Sequence[str]) -> Asked:
    """The same with more to be said of its evidence."""

    def answer(p_holm: Corrected) -> ClaimResult:
        result = asked.answer(p_holm)
        return replace(result, evidence=(*result.evidence, *more))

    return replace(asked, answer=answer)


def _nothing_to_compare() -> Asked:
    return unmeasured("all the settings that it compares train the same in this study")
