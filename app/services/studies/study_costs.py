"""What studies and recipes take here: every cell's runs, as long as runs like them took lately."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.experiments.estimates import Estimate
from app.services.experiments.speeds import Speeds, basis
from app.services.studies.study_submissions import PreparedStudy, prepare_study
from app.settings import Settings
from lab_models.recipes.catalog import RECIPES
from lab_models.studies.request import StudyRequest

Priced = tuple[Estimate, int]
"""What one run costs, and how many there are of it."""


@dataclass(frozen=True)
class Cost:
    """Seconds of all runs, one after the other: to be expected here, and nominally; `based_on` says by what."""

    seconds: float
    nominal_seconds: float
    based_on: str


def study_cost(prepared: PreparedStudy, lately: Speeds) -> Cost:
    """What a study takes that is not stored yet."""
    return cost(_priced(prepared), lately)


def cost(priced: Iterable[Priced], lately: Speeds) -> Cost:
    """What so many runs take."""
    found = [(lately.of(one), count) for one, count in priced if count]
    return Cost(
        sum(count * each.seconds for each, count in found),
        sum(count * each.nominal_seconds for each, count in found),
        basis([each for each, _ in found]),
    )


class RecipeCosts:
    """What recipes take, each priced once by what prices a study; None where this service allows less than it asks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._priced: dict[tuple[str, str], list[Priced] | None] = {}

    def __call__(self, session: Session, lately: Speeds, name: str) -> dict[str, Cost | None]:
        """By scale."""
        found = {scale: self._of(session, name, scale) for scale in RECIPES[name].scales}
        return {
            scale: None if priced is None else cost(priced, lately)
            for scale, priced in found.items()
        }

    def _of(self, session: Session, name: str, scale: str) -> list[Priced] | None:
        with self._lock:
            if (name, scale) not in self._priced:
                self._priced[name, scale] = self._price(session, name, scale)
            return self._priced[name, scale]

    def _price(self, session: Session, name: str, scale: str) -> list[Priced] | None:
        document = {"recipe": name, "scale": scale}
        request = StudyRequest.model_validate(document)
        try:
            return _priced(prepare_study(session, request, document, self._settings))
        except InvalidRequest:
            return None


def _priced(prepared: PreparedStudy) -> list[Priced]:
    """All cells, and what is no cell but has to be trained first, each once."""
    cells = [
        (prepared.costs[cell.key], len(prepared.design.seeds_of(cell)))
        for cell in prepared.design.own_cells
    ]
    first: dict[str, Estimate] = {}
    for cell in prepared.design.own_cells:
        ready = prepared.cells[cell.key]
        if ready.foundation is not None and prepared.design.foundation_of(cell) is None:
            for below in ready.plan.foundations.values():
                if below.run_id is None:
                    first[below.key] = ready.foundation.cost
    return [*cells, *((cost, 1) for cost in first.values())]
