"""Foundations of a study that is extended, where each seed has its own: runs of its cells, or of experiments beside
it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from app.roles import Role
from app.services.datasets import datasets
from app.services.experiments.platforms import places_now
from app.services.owners.keys import Caller
from app.services.submitting import foundations, submissions
from app.services.submitting.drafts import Draft, create
from app.services.submitting.foundations import Foundation
from app.settings import Settings
from app.storage.tables import Experiment, Study
from lab_models.studies.design import Design, cell_request, has_own_foundations


@dataclass(frozen=True)
class OutsideFoundations:
    """By new seed what a cell is built on that is no cell; `first` trains those of them that are not there."""

    foundations: Mapping[int, Foundation]
    first: Draft | None


@dataclass(frozen=True)
class StoredFoundations:
    """What new seeds are built on, by experiment and seed; `num_queued` runs have been queued for that."""

    runs: dict[tuple[str, int], str]
    num_queued: int


def inside(design: Design, written: Sequence[Experiment]) -> dict[str, str]:
    """By the experiment of a cell whose seeds have a foundation each, which is another cell, that one's experiment."""
    ids = {str(experiment.cell): experiment.id for experiment in written}
    return {
        ids[cell.key]: ids[key]
        for cell in design.own_cells
        if has_own_foundations(cell.request) and (key := design.foundation_of(cell)) is not None
    }


def outside(
    session: Session,
    study: Study,
    design: Design,
    written: Sequence[Experiment],
    new: Sequence[int],
    settings: Settings,
) -> dict[str, OutsideFoundations]:
    """By the experiment of a cell whose seeds have a foundation each, which is no cell, those of new seeds; on a
    session that only reads. Raises InvalidRequest where there is none.
    """
    ids = {str(experiment.cell): experiment.id for experiment in written}
    caller = Caller(study.owner, Role.ADMIN)  # who has named it was allowed to
    catalog, places = datasets.catalog(settings), places_now(session)
    found = {}
    for cell in design.own_cells:
        seeds = [seed for seed in new if seed in design.seeds_of(cell)]
        if seeds and has_own_foundations(cell.request) and design.foundation_of(cell) is None:
            request = cell_request(design, cell)
            assert request.reference is not None
            assert request.role is not None
            below = foundations.find(
                session, request.reference, request.role, catalog, places, caller, seeds
            )
            first = submissions.foundation_draft(
                request, below, {"labels": study.labels, "owner": study.owner}
            )
            found[ids[cell.key]] = OutsideFoundations(below, first)
    return found


def store_outside(
    session: Session, found: Mapping[str, OutsideFoundations], owner: str, settings: Settings
) -> StoredFoundations:
    """Write those that are not there; the others are held until the transaction ends."""
    every = [below for one in found.values() for below in one.foundations.values()]
    needed = {below.info.name: below.info for below in every if not below.has_kept}
    submissions.hold_datasets(session, needed, settings)
    held = foundations.hold_still(session, every, owner) if every else {}
    drafts: list[Draft] = []
    runs: dict[tuple[str, int], str] = {}
    for experiment_id, one in found.items():
        first = submissions.trained_first(held, one.foundations.values(), one.first)
        if first is not None:
            drafts.append(first)
            held |= submissions.written_with(first, one.foundations.values())
        for seed, below in one.foundations.items():
            runs[experiment_id, seed] = held[below.key].run_id
    if drafts:
        create(session, drafts)
    return StoredFoundations(runs, sum(len(draft.seeds) for draft in drafts))
