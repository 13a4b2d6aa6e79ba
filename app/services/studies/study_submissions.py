"""From a request to a study: prepared on a session that only reads, written with all its experiments in one short
transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.datasets import datasets
from app.services.experiments import deletion, taking_over
from app.services.experiments.equal_runs import Likeness
from app.services.experiments.estimates import Estimate
from app.services.experiments.taking_over import TakingOver
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
from lab_models.studies.design import Design, cell_request, whole_document
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
        design = design_of(request)
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
    equal = (
        taking_over.find_equal(session, _wanted(cells.values(), lookups), caller.owner)
        if request.reuse
        else ()
    )
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
        update={"labels": request.labels, "priority": request.priority}
    )
    prepared = prepare_with(lookups, checked, document, settings)
    key, foundation = design.foundation_of(cell), prepared.plan.foundation
    if (
        key is not None
        and foundation is not None
        and foundation.trained.seed not in design.seeds_of(design.cell(key))
    ):
        message = f"builds on seed {foundation.trained.seed} of cell {key!r}, which is not among that one's seeds"
        raise InvalidRequest(message, [FieldError(f"/{checked.role}/seed", message)])
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


def _own_foundations(prepared: PreparedStudy) -> dict[str, HeldFoundation]:
    """For the drafts of cells that name another cell: that one's run, which is written with them."""
    own = {}
    for cell in prepared.design.own_cells:
        key, ready = prepared.design.foundation_of(cell), prepared.cells[cell.key]
        if key is not None and ready.plan.foundation is not None:
            below = prepared.cells[key].own
            own[ready.own.id] = HeldFoundation(
                below.run_of(ready.plan.foundation.trained.seed), below.id, is_trained=False
            )
    return own


def _wanted(cells: Iterable[Prepared], lookups: Lookups) -> dict[Likeness, list[str]]:
    """The runs that are to be written, by their likeness."""
    wanted: dict[Likeness, list[str]] = defaultdict(list)
    for cell in cells:
        images = lookups.sha256(cell.info.name)
        for seed, run_id in zip(cell.own.seeds, cell.own.run_ids, strict=True):
            wanted[Likeness(cell.own.fingerprint, seed, images)].append(run_id)
    return wanted
