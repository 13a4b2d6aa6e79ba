"""Studies: prepared, written with all their experiments in one short transaction, found, extended, cancelled, retried,
deleted, and seen as a whole.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import insert
from sqlmodel import Session, col, select

from app.errors import IdempotencyConflict, InvalidRequest, NotFound
from app.services.datasets import datasets
from app.services.experiments import deletion, replicates
from app.services.experiments.equal_runs import Likeness
from app.services.experiments.estimates import Estimate
from app.services.experiments.experiments import runs_of
from app.services.experiments.replicates import Equal
from app.services.owners import limits
from app.services.owners.keys import ANYONE, Caller
from app.services.studies import study_bounds, study_progress
from app.services.studies.study_lists import StudyOutline
from app.services.submitting import submissions
from app.services.submitting.drafts import CellPlace, Stored, create, hold_key, request_hash
from app.services.submitting.foundations import HeldFoundation
from app.services.submitting.submissions import Lookups, Prepared, prepare_with
from app.settings import Settings
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import LOCAL, Experiment, Run, Study, new_id, utc_now
from lab_models.common.validation import FieldError, InvalidDocument
from lab_models.recipes.recipe import Cell
from lab_models.specs import ModelSpec
from lab_models.studies.design import (
    Design,
    cell_request,
    foundation_cell,
    read_design,
    whole_document,
)
from lab_models.studies.request import StudyRequest, design_of

MOST_ERRORS = 50
KEY_LOCK = 7_236_012
"""Any number, the same in every process: the class of PostgreSQL's advisory locks on idempotency keys of studies."""
LEAST_SECONDS = 0.1
"""What even the smallest run counts for in a study's progress."""


@dataclass(frozen=True)
class PreparedStudy:
    """A request that can be carried out: the design, by cell the request with what is to be written, and what can be
    taken over.

    No row, no session: it may be kept while nothing of the database is. `taken` has the runs whose files lie ready, and
    whose they are.
    """

    request: StudyRequest
    submitted: dict[str, Any]
    design: Design
    cells: dict[str, Prepared]
    row: dict[str, Any]
    owner: str = LOCAL
    equal: tuple[Equal, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)

    @property
    def costs(self) -> dict[str, Estimate]:
        """What one run costs, by cell."""
        return {key: cell.cost for key, cell in self.cells.items()}

    @property
    def num_runs(self) -> int:
        """Runs of all cells."""
        return study_bounds.count_runs(self.design)

    @property
    def total_seconds(self) -> float:
        """Nominal seconds of all runs, one after the other."""
        return sum(
            len(self.design.seeds_of(cell)) * self.cells[cell.key].cost.seconds
            for cell in self.design.cells
        )


@dataclass(frozen=True)
class PreparedExtension:
    """More seeds for a study: the ids that new runs get by experiment and seed, and what can be taken over, as for
    `PreparedStudy`.
    """

    study_id: str
    num_seeds: int
    run_ids: dict[tuple[str, int], str]
    equal: tuple[Equal, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)


ToTakeOver = TypeVar("ToTakeOver", PreparedStudy, PreparedExtension)


@dataclass(frozen=True)
class StudyCell:
    """A cell with its experiment and that one's runs, in the order of the seeds."""

    cell: Cell
    experiment: Experiment
    runs: list[Run]

    @property
    def status(self) -> RunStatus:
        """The experiment's status."""
        return experiment_status(run.status for run in self.runs)


@dataclass(frozen=True)
class WholeStudy:
    """A study with everything that its record shows. `fraction` is of the work, cells weighed by their cost."""

    study: Study
    design: Design
    cells: list[StudyCell]
    status: RunStatus
    fraction: float
    estimated_finish_at: datetime | None

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for cell in self.cells for run in cell.runs]

    @property
    def counts(self) -> Counter[RunStatus]:
        """Runs by status."""
        return Counter(run.status for run in self.runs)

    @property
    def outline(self) -> StudyOutline:
        """The study as a list shows it."""
        reused = sum(run.reused_from is not None for run in self.runs)
        return StudyOutline(
            self.study, len(self.cells), self.design.pictures, self.counts, reused, self.fraction
        )


def earlier(
    session: Session,
    idempotency_key: str,
    submitted: dict[str, Any],
    owner: str = LOCAL,
    *,
    lock: bool = True,
) -> Study | None:
    """The study that this key of the owner's has made; raises IdempotencyConflict when that one had another body.
    `lock` is for who writes.
    """
    if lock:
        hold_key(session, KEY_LOCK, idempotency_key)
    found = session.exec(
        select(Study).where(
            col(Study.owner) == owner, col(Study.idempotency_key) == idempotency_key
        )
    ).first()
    if found is not None and found.request_hash != request_hash(submitted):
        raise IdempotencyConflict(
            f"the key {idempotency_key!r} belongs to study {found.id}, which had another body"
        )
    return found


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
    for number, cell in enumerate(design.cells):
        try:
            cells[cell.key] = _prepare_cell(lookups, request, design, cell, settings)
        except (InvalidDocument, InvalidRequest) as error:
            faults += [
                study_bounds.in_the_study(request, number, cell, fault) for fault in error.errors
            ]
        else:
            layers |= cells[cell.key].layers
            study_bounds.refuse_many_layers(sum(layers.values()), settings)
        if len(faults) >= MOST_ERRORS:
            break
    if faults:
        faults = list(dict.fromkeys(faults))
        raise InvalidRequest("; ".join(fault.message for fault in faults[:3]), faults[:MOST_ERRORS])
    study_bounds.refuse_many_runs(study_bounds.count_runs(design), settings)
    study_id = new_id("stu")
    cells = _placed(cells, study_id)
    equal = (
        replicates.find_equal(session, _wanted(cells.values(), lookups), caller.owner)
        if request.reuse
        else ()
    )
    row = {"id": study_id, "owner": caller.owner, **_row(request, submitted, design, cells)}
    return PreparedStudy(request, submitted, design, cells, row, caller.owner, equal)


def take_files(prepared: ToTakeOver, settings: Settings) -> ToTakeOver:
    """The same with the files of what it takes over in place; to be called once, with no session open, just before it
    is stored.
    """
    return replace(prepared, taken=replicates.take_files(prepared.equal, settings.runs_folder))


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
    replicates.remove_unless_committed(session, prepared.taken, settings.runs_folder)
    found = (
        earlier(session, idempotency_key, prepared.submitted, prepared.owner)
        if idempotency_key is not None
        else None
    )
    if found is not None:
        deletion.remove_folders(settings.runs_folder, prepared.taken)
        return Stored(found.id, 0, is_new=False)
    cells = list(prepared.cells.values())
    submissions.require_datasets(session, cells, settings)
    drafts = submissions.built(session, cells, _own_foundations(prepared))
    session.execute(
        insert(Study),
        [{**prepared.row, "created_at": utc_now(), "idempotency_key": idempotency_key}],
    )
    create(session, drafts)
    moved = replicates.take_over(session, prepared.taken, settings.runs_folder)
    limits.refuse_full_queue(session, prepared.owner, settings)
    return Stored(prepared.row["id"], sum(len(one.seeds) for one in drafts) - len(moved))


def get(session: Session, study_id: str) -> Study:
    """The study, or NotFound."""
    study = session.get(Study, study_id)
    if study is None:
        raise NotFound(f"there is no study {study_id!r}; GET /studies lists them")
    return study


def whole(session: Session, study: Study) -> WholeStudy:
    """Everything that the study's record shows; raises NotFound when it has just been deleted."""
    design = read_design(study.design)
    by_key = {experiment.cell: experiment for experiment in _experiments(session, study)}
    if not by_key:
        raise NotFound(f"study {study.id} has just been deleted")
    runs = runs_of(session, [experiment.id for experiment in by_key.values()])
    cells = [StudyCell(cell, by_key[cell.key], runs[by_key[cell.key].id]) for cell in design.cells]
    status = experiment_status(run.status for cell in cells for run in cell.runs)
    weights = study.nominal_seconds
    weighed = [(weights[cell.cell.key], run) for cell in cells for run in cell.runs]
    return WholeStudy(
        study,
        design,
        cells,
        status,
        study_progress.fraction(weighed),
        study_progress.estimated_finish(session, weighed, status),
    )


def prepare_extension(
    session: Session, study: Study, num_seeds: int, settings: Settings
) -> PreparedExtension:
    """Find what can be taken over by the replicates that `extend` would add now, on a session that only reads; raises
    as it does.
    """
    extended = study_bounds.with_next_seeds(read_design(study.design), num_seeds, settings)
    cells = {cell.key: cell for cell in extended.cells}
    written = session.exec(
        select(Experiment.id, Experiment.cell, Experiment.fingerprint, Experiment.spec).where(
            col(Experiment.study_id) == study.id
        )
    ).all()
    new = extended.seeds[-num_seeds:]
    run_ids = {
        (experiment_id, seed): new_id("run")
        for experiment_id, cell, _, _ in written
        for seed in new
        if seed in extended.seeds_of(cells[str(cell)])
    }
    if not study.reuse:
        return PreparedExtension(study.id, num_seeds, run_ids)
    sha256 = cache(datasets.catalog(settings).sha256)
    wanted: dict[Likeness, list[str]] = defaultdict(list)
    for experiment_id, _, fingerprint, spec in written:
        for seed in new:
            if (experiment_id, seed) in run_ids:
                likeness = Likeness(fingerprint, seed, sha256(spec["dataset"]["name"]))
                wanted[likeness].append(run_ids[experiment_id, seed])
    return PreparedExtension(
        study.id, num_seeds, run_ids, replicates.find_equal(session, wanted, study.owner)
    )


def extend(session: Session, study: Study, prepared: PreparedExtension, settings: Settings) -> int:
    """Add replicates to every cell that takes the study's seeds, under the next seeds that the study has not; returns
    how many runs are new.

    Where another has extended it since that was prepared, the seeds are other ones, and what was found for those is
    trained anew.
    """
    replicates.remove_unless_committed(session, prepared.taken, settings.runs_folder)
    lock(session, study)
    extended = study_bounds.with_next_seeds(read_design(study.design), prepared.num_seeds, settings)
    cells = {cell.key: cell for cell in extended.cells}
    in_order = (
        select(Experiment.id, Experiment.cell)
        .where(col(Experiment.study_id) == study.id)
        .order_by(col(Experiment.created_at), col(Experiment.id))
    )
    written = session.exec(in_order).all()
    seeds = {experiment_id: extended.seeds_of(cells[str(cell)]) for experiment_id, cell in written}
    added = replicates.add_seeds(session, seeds, prepared.run_ids)
    deletion.remove_folders(settings.runs_folder, set(prepared.taken) - set(added))
    replicates.take_over(
        session,
        {run_id: prepared.taken[run_id] for run_id in added if run_id in prepared.taken},
        settings.runs_folder,
    )
    study.design = extended.model_dump(mode="json")
    session.add(study)
    limits.refuse_full_queue(session, study.owner, settings)
    session.expire_all()
    return len(added)


def delete(session: Session, study: Study) -> list[str]:
    """Remove the study, its experiments and runs; returns the runs whose folders go after the commit. Raises as
    `deletion.delete_together` does.
    """
    lock(session, study)
    removed = deletion.delete_together(session, _experiments(session, study))
    session.delete(study)
    session.flush()
    return removed


def _prepare_cell(
    lookups: Lookups, request: StudyRequest, design: Design, cell: Cell, settings: Settings
) -> Prepared:
    document = whole_document(design, cell)
    checked = cell_request(design, cell).model_copy(
        update={"labels": request.labels, "priority": request.priority}
    )
    prepared = prepare_with(lookups, checked, document, settings)
    key, foundation = foundation_cell(cell.request), prepared.plan.foundation
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
    for cell in prepared.design.cells:
        key, ready = foundation_cell(cell.request), prepared.cells[cell.key]
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


def _experiments(session: Session, study: Study) -> Sequence[Experiment]:
    return session.exec(select(Experiment).where(col(Experiment.study_id) == study.id)).all()


def lock(session: Session, study: Study) -> None:
    """Hold the study's row until the transaction ends, and read it again: one change at a time. Raises NotFound when it
    has just been deleted.

    SQLite has the whole database locked for writing by then.
    """
    held = (
        select(Study)
        .where(col(Study.id) == study.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if session.exec(held).one_or_none() is None:
        raise NotFound(f"study {study.id} has just been deleted")
