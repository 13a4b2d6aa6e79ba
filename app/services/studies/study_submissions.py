"""From a request to a study: prepared on a session that only reads, written with all its experiments in one short
transaction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.datasets import datasets
from app.services.experiments import deletion, taking_over
from app.services.experiments.artifacts import weights_of
from app.services.experiments.estimates import Estimate
from app.services.experiments.likeness import Likeness
from app.services.experiments.taking_over import Equal, TakingOver, WantedRun
from app.services.owners import limits
from app.services.owners.keys import ANYONE, Caller
from app.services.studies import equal_cells, study_bounds
from app.services.submitting import submissions
from app.services.submitting.drafts import CellPlace, Stored, create
from app.services.submitting.foundations import HeldFoundation
from app.services.submitting.idempotency import earlier, request_hash
from app.services.submitting.planning import Lookups
from app.services.submitting.submissions import Prepared, prepare_with
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.tables import LOCAL, Study, new_id, utc_now
from lab_models.architectures.sameness import effect_of
from lab_models.common.validation import FieldError, InvalidDocument
from lab_models.datasets.catalog import DatasetInfo
from lab_models.recipes.recipe import Cell
from lab_models.specs import ModelSpec
from lab_models.studies.design import (
    Design,
    cell_request,
    whole_document,
    with_seeds_of_foundations,
)
from lab_models.studies.designing import design_of
from lab_models.studies.request import StudyRequest

MOST_ERRORS = 50
LEAST_SECONDS = 0.1
"""What even the smallest run counts for in a study's progress."""


@dataclass(frozen=True)
class PreparedStudy(TakingOver):
    """A request that can be carried out: the design, and the request with what is to be written by each cell that has
    an experiment of its own.

    No row, no session: it may be kept while nothing of the database is.
    """

    request: StudyRequest
    submitted: dict[str, Any]
    design: Design
    cells: dict[str, Prepared]
    row: dict[str, Any]
    owner: str = LOCAL

    @property
    def costs(self) -> dict[str, Estimate]:
        """What one run costs, by cell."""
        design = self.design
        return {cell.key: self.cells[design.trained(cell.key)].cost for cell in design.cells}

    @property
    def datasets(self) -> dict[str, DatasetInfo]:
        """The data sets that its cells need."""
        return {name: info for cell in self.cells.values() for name, info in cell.datasets.items()}

    @property
    def num_runs(self) -> int:
        """Runs of all cells."""
        return study_bounds.count_runs(self.design)


def prepare_study(
    session: Session,
    request: StudyRequest,
    submitted: dict[str, Any],
    settings: Settings,
    caller: Caller = ANYONE,
) -> PreparedStudy:
    """Work the request out, check and price every cell, and look for equal runs, on a session that only reads.

    Raises InvalidRequest that names each bad cell, or says that it is too much to look at.
    """
    try:
        design = with_seeds_of_foundations(design_of(request))
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error
    lookups = Lookups(session, datasets.catalog(settings), caller)
    faults: list[FieldError] = []
    cells: dict[str, Prepared] = {}
    layers: dict[tuple[ModelSpec, str], int] = {}
    first: dict[tuple[str, int | None], str] = {}
    for number, cell in enumerate(design.cells):
        try:
            prepared = _prepare_cell(lookups, request, design, cell, settings)
        except (InvalidDocument, InvalidRequest) as error:
            faults += [
                study_bounds.in_the_study(request, number, cell, fault) for fault in error.errors
            ]
        else:
            effect = effect_of(prepared.plan.spec), cell.num_seeds
            if (same := first.setdefault(effect, cell.key)) != cell.key:
                # at once, since a later cell may build on it
                design = equal_cells.with_same(design, cell, same)
                continue
            cells[cell.key] = prepared
            layers |= prepared.layers
            study_bounds.refuse_many_layers(sum(layers.values()), settings)
        if len(faults) >= MOST_ERRORS:
            break
    if faults:
        faults = list(dict.fromkeys(faults))
        raise InvalidRequest("; ".join(fault.message for fault in faults[:3]), faults[:MOST_ERRORS])
    study_bounds.refuse_many_runs(study_bounds.count_runs(design), settings)
    design = equal_cells.with_notes(design)
    study_id = new_id("stu")
    cells = _placed(cells, study_id)
    equal = _equal(session, design, cells, lookups) if request.reuse else ()
    row = {"id": study_id, "owner": caller.owner, **_row(request, submitted, design, cells)}
    return PreparedStudy(request, submitted, design, cells, row, caller.owner, equal=equal)


def store(
    session: Session,
    prepared: PreparedStudy,
    settings: Settings,
    idempotency_key: str | None = None,
) -> Stored:
    """Write the study, an experiment per cell and its runs in one short transaction; equal runs whose files were taken
    are taken over.

    What has changed since is looked at again, as by `submissions.store`.
    """
    taking_over.remove_unless_committed(session, prepared.taken, file_store(settings))
    found = earlier(session, Study, idempotency_key, prepared.submitted, prepared.owner)
    if found is not None:
        deletion.remove_files(file_store(settings), prepared.taken)
        return Stored(found.id, 0, is_new=False)
    cells = list(prepared.cells.values())
    submissions.require_datasets(session, cells, settings)
    drafts = submissions.built(session, cells, _own_foundations(prepared))
    session.execute(
        insert(Study),
        [{**prepared.row, "created_at": utc_now(), "idempotency_key": idempotency_key}],
    )
    create(session, drafts)
    moved = taking_over.take_over(session, prepared.taken, file_store(settings))
    limits.refuse_full_queue(session, prepared.owner, settings)
    return Stored(prepared.row["id"], sum(len(one.seeds) for one in drafts) - len(moved))


def _prepare_cell(
    lookups: Lookups, request: StudyRequest, design: Design, cell: Cell, settings: Settings
) -> Prepared:
    document = whole_document(design, cell)
    checked = cell_request(design, cell).model_copy(
        update={
            "labels": request.labels,
            "priority": request.priority,
            "device": request.device,
        }
    )
    prepared = prepare_with(lookups, checked, document, settings)
    key = design.foundation_of(cell)
    if key is not None:
        study_bounds.refuse_missing_seeds(
            design, key, {below.seed for below in prepared.plan.foundations.values()}, checked.role
        )
    return prepared


def _row(
    request: StudyRequest, submitted: dict[str, Any], design: Design, cells: Mapping[str, Prepared]
) -> dict[str, Any]:
    return {
        "name": design.title,
        "labels": request.labels,
        "recipe": request.recipe,
        "scale": None if request.recipe is None else request.scale,
        "submitted": submitted,
        "design": design.model_dump(mode="json"),
        "nominal_seconds": {
            key: max(cell.cost.seconds, LEAST_SECONDS) for key, cell in cells.items()
        },
        "reuse": request.reuse,
        "request_hash": request_hash(submitted),
    }


def _placed(cells: Mapping[str, Prepared], study_id: str) -> dict[str, Prepared]:
    """The same, each as a cell of the study."""
    return {
        key: replace(cell, own=replace(cell.own, place=CellPlace(study_id, key)))
        for key, cell in cells.items()
    }


def _own_foundations(prepared: PreparedStudy) -> dict[str, dict[int, HeldFoundation]]:
    """For the drafts of cells that name another cell: by seed that one's run, which is written with them."""
    own = {}
    for cell in prepared.design.own_cells:
        key, ready = prepared.design.foundation_of(cell), prepared.cells[cell.key]
        if key is not None:
            below = prepared.cells[key].own
            own[ready.own.id] = {
                seed: HeldFoundation(below.run_of(foundation.seed), below.id, is_trained=False)
                for seed, foundation in ready.plan.foundations.items()
            }
    return own


def _equal(
    session: Session, design: Design, cells: Mapping[str, Prepared], lookups: Lookups
) -> tuple[Equal, ...]:
    """What can be taken over: first by cells that name no other, then by those that do, as far as what they are built
    on will be taken over as well.
    """
    owner = lookups.caller.owner
    outside = [
        below.run_id
        for cell in cells.values()
        for below in cell.plan.foundations.values()
        if below.run_id is not None
    ]
    trained = weights_of(session, outside)
    first: list[WantedRun] = []
    for key, cell in cells.items():
        if design.foundation_of(design.cell(key)) is None:
            below = {
                seed: trained.get(str(foundation.run_id))
                for seed, foundation in cell.plan.foundations.items()
            }
            first += _wanted(cell, below, lookups)
    found = taking_over.find_equal(session, first, owner)
    will_have = {one.run_id: one.weights for one in found}
    then: list[WantedRun] = []
    for key, cell in cells.items():
        if (foundation_key := design.foundation_of(design.cell(key))) is not None:
            draft = cells[foundation_key].own
            below = {
                seed: will_have.get(draft.run_of(foundation.seed))
                for seed, foundation in cell.plan.foundations.items()
            }
            then += _wanted(cell, below, lookups)
    return *found, *taking_over.find_equal(session, then, owner)


def _wanted(
    cell: Prepared, below: Mapping[int, str | None], lookups: Lookups
) -> Iterator[WantedRun]:
    """The runs of a cell that may be taken over. `below` is by seed the SHA-256 of the weights that each would be built
    on; None where those are not trained yet, so that nothing can be known to equal what comes of them.
    """
    spec = cell.plan.spec
    for seed, run_id in zip(cell.own.seeds, cell.own.run_ids, strict=True):
        if seed not in below or below[seed] is not None:
            likeness = Likeness(
                cell.own.fingerprint,
                seed,
                lookups.sha256(cell.info.name),
                below.get(seed),
                lookups.places.platforms(spec),
            )
            yield WantedRun(run_id, cell.own.id, likeness)
