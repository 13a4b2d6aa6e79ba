"""Studies: written with all their experiments in one transaction, found, extended, cancelled, retried, deleted, and seen as a whole."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import IdempotencyConflict, InvalidRequest, NotFound
from app.services import datasets, deletion, replicates, study_progress
from app.services.estimates import Estimate, estimate
from app.services.experiments import Place, request_hash, runs_of
from app.services.keys import ANYONE, Caller
from app.services.study_lists import StudyOutline
from app.services.submissions import Prepared, prepare, submit
from app.settings import Settings
from app.states import RunStatus, experiment_status
from app.tables import LOCAL, Experiment, Run, Study, utc_now
from lab_models.recipes.recipe import Cell
from lab_models.specs import DistillRequest, TransferRequest
from lab_models.specs.base import MAX_SEED
from lab_models.studies.design import BUILT_ON, Design, cell_built_on, cell_request, read_design, whole_document
from lab_models.studies.request import StudyRequest, design_of
from lab_models.validation import FieldError, InvalidDocument

MOST_ERRORS = 50
KEY_LOCK = 7_236_012
"""Any number, the same in every process: the class of PostgreSQL's advisory locks on idempotency keys of studies."""
LEAST_SECONDS = 0.1
"""What even the smallest run counts for in a study's progress."""


@dataclass(frozen=True)
class PreparedStudy:
    """A request that can be carried out: the design, and by cell the request and what one run costs."""

    request: StudyRequest
    design: Design
    cells: dict[str, Prepared]
    costs: dict[str, Estimate]
    owner: str = LOCAL

    @property
    def num_runs(self) -> int:
        """Runs of all cells."""
        return sum(len(self.design.seeds_of(cell)) for cell in self.design.cells)

    @property
    def total_seconds(self) -> float:
        """Nominal seconds of all runs, one after the other."""
        return sum(len(self.design.seeds_of(cell)) * self.costs[cell.key].seconds for cell in self.design.cells)


@dataclass(frozen=True)
class StudyCell:
    """A cell with its experiment and that one's runs, in the order of the seeds."""

    cell: Cell
    experiment: Experiment
    runs: list[Run]

    @property
    def status(self) -> RunStatus:
        """The experiment's status."""
        return experiment_status(RunStatus(run.status) for run in self.runs)


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
    def counts(self) -> Counter[str]:
        """Runs by status."""
        return Counter(run.status for run in self.runs)

    @property
    def outline(self) -> StudyOutline:
        """The study as a list shows it."""
        reused = sum(run.reused_from is not None for run in self.runs)
        return StudyOutline(self.study, len(self.cells), self.design.pictures, self.counts, reused, self.fraction)


def earlier(session: Session, idempotency_key: str, submitted: dict[str, Any], owner: str = LOCAL, *, lock: bool = True) -> Study | None:
    """The study that this key of the owner's has made; raises IdempotencyConflict when that one had another body.

    With `lock`, in a session that writes, nobody else makes one with the same key until the transaction ends.
    """
    connection = session.connection()  # the write transaction begins here, so that two requests with one key cannot both find nothing
    if lock and connection.dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(KEY_LOCK, func.hashtext(idempotency_key))))
    found = session.exec(select(Study).where(col(Study.owner) == owner, col(Study.idempotency_key) == idempotency_key)).first()
    if found is not None and found.request_hash != request_hash(submitted):
        raise IdempotencyConflict(f"the key {idempotency_key!r} belongs to study {found.id}, which had another body")
    return found


def prepare_study(session: Session, request: StudyRequest, settings: Settings, caller: Caller = ANYONE) -> PreparedStudy:
    """Work the request out and check every cell; raises InvalidRequest that names each bad cell."""
    try:
        design = design_of(request)
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error
    faults: list[FieldError] = []
    cells: dict[str, Prepared] = {}
    for number, cell in enumerate(design.cells):
        try:
            cells[cell.key] = _prepare_cell(session, request, design, cell, settings, caller)
        except (InvalidDocument, InvalidRequest) as error:
            faults += [_in_the_study(request, number, cell, fault) for fault in error.errors]
        if len(faults) >= MOST_ERRORS:
            break
    if faults:
        faults = list(dict.fromkeys(faults))
        raise InvalidRequest("; ".join(fault.message for fault in faults[:3]), faults[:MOST_ERRORS])
    costs = {key: estimate(prepared.plan.spec, prepared.info) for key, prepared in cells.items()}
    prepared_study = PreparedStudy(request, design, cells, costs, caller.owner)
    if prepared_study.num_runs > settings.max_study_runs:
        message = f"{prepared_study.num_runs:,} runs are more than this service's {settings.max_study_runs:,} of one study (LAB_MAX_STUDY_RUNS)"
        raise InvalidRequest(message, [FieldError("/seeds", message, "ask for fewer seeds or cells")])
    return prepared_study


def create(session: Session, prepared: PreparedStudy, submitted: dict[str, Any], settings: Settings, idempotency_key: str | None = None) -> Study:
    """Write the study, an experiment per cell and its runs; equal runs that have finished are taken over unless that is not wanted."""
    request, design = prepared.request, prepared.design
    study = Study(
        created_at=utc_now(),
        owner=prepared.owner,
        name=design.title,
        labels=request.labels,
        recipe=request.recipe,
        scale=None if request.recipe is None else request.scale,
        submitted=submitted,
        design=design.model_dump(mode="json"),
        nominal_seconds={key: max(cost.seconds, LEAST_SECONDS) for key, cost in prepared.costs.items()},
        reuse=request.reuse,
        idempotency_key=idempotency_key,
        request_hash=request_hash(submitted),
    )
    session.add(study)
    session.flush()
    written: dict[str, Experiment] = {}
    for cell in design.cells:
        ready = _built_on_own_cell(session, prepared.cells[cell.key], cell, written)
        written[cell.key] = submit(session, ready, place=Place(study.id, cell.key))
    if request.reuse:
        _take_over_equal(session, list(written.values()), settings)
    return study


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
    status = experiment_status(RunStatus(run.status) for cell in cells for run in cell.runs)
    weights = study.nominal_seconds
    weighed = [(weights[cell.cell.key], run) for cell in cells for run in cell.runs]
    return WholeStudy(study, design, cells, status, study_progress.fraction(weighed), study_progress.estimated_finish(session, weighed, status))


def extend(session: Session, study: Study, num_seeds: int, settings: Settings) -> int:
    """Add replicates to every cell that takes the study's seeds, under the next seeds that the study has not; returns how many runs are new."""
    lock(session, study)
    design = read_design(study.design)
    following = max(design.seeds) + 1
    seeds = (*design.seeds, *range(following, following + num_seeds))
    extended = design.model_copy(update={"seeds": seeds, "looks": (*(design.looks or (len(design.seeds),)), len(seeds))})
    written = _experiments(session, study)
    cells = {cell.key: cell for cell in design.cells}
    total = sum(len(extended.seeds_of(cells[str(experiment.cell)])) for experiment in written)
    if total > settings.max_study_runs:
        message = f"{total:,} runs are more than this service's {settings.max_study_runs:,} of one study (LAB_MAX_STUDY_RUNS)"
        raise InvalidRequest(message, [FieldError("/seeds", message)])
    if len(extended.seeds) > settings.max_seeds:
        message = f"{len(extended.seeds)} seeds are more than this service's {settings.max_seeds} (LAB_MAX_SEEDS)"
        raise InvalidRequest(message, [FieldError("/seeds", message)])
    if extended.seeds[-1] > MAX_SEED:
        message = f"the next seeds, {following:,} and up, would go beyond {MAX_SEED:,}, the largest there is"
        raise InvalidRequest(message, [FieldError("/seeds", message, "start a study with smaller seeds; equal finished runs are taken over")])
    added = sum(len(replicates.add_seeds(session, experiment, extended.seeds_of(cells[str(experiment.cell)]))) for experiment in written)
    if study.reuse:
        _take_over_equal(session, written, settings)
    study.design = extended.model_dump(mode="json")
    session.add(study)
    session.flush()
    return added


def delete(session: Session, study: Study) -> list[str]:
    """Remove the study, its experiments and runs; returns the runs whose folders go after the commit. Raises as `deletion.delete_together` does."""
    lock(session, study)
    removed = deletion.delete_together(session, _experiments(session, study))
    session.delete(study)
    session.flush()
    return removed


def _prepare_cell(session: Session, request: StudyRequest, design: Design, cell: Cell, settings: Settings, caller: Caller) -> Prepared:
    document = whole_document(design, cell)
    checked = cell_request(design, cell).model_copy(update={"labels": request.labels, "priority": request.priority})
    prepared = prepare(session, checked, document, settings, caller)
    key, found = cell_built_on(cell.request), prepared.plan.built_on
    if key is not None and found is not None and found.trained.seed not in design.seeds_of(design.cell(key)):
        message = f"builds on seed {found.trained.seed} of cell {key!r}, which is not among that one's seeds"
        raise InvalidRequest(message, [FieldError(f"/{BUILT_ON[checked.kind]}/seed", message)])
    return prepared


def _in_the_study(request: StudyRequest, number: int, cell: Cell, fault: FieldError) -> FieldError:
    """A cell's fault where the person who sent the study can find it."""
    if request.specs is not None:
        return FieldError(f"/specs/{number}{fault.pointer}", f"cell {cell.key!r}: {fault.message}", fault.hint)
    if request.spec is not None:
        path = fault.pointer.lstrip("/").replace("/", ".")
        varied = next((name for name in request.vary or {} if path == name or path.startswith(name + ".")), None)
        place = f"/spec{fault.pointer}" if varied is None else f"/vary/{varied}"
        return FieldError(place, f"cell {cell.key!r}: {fault.message}" if varied is not None else fault.message, fault.hint)
    changed = "/overrides" if request.overrides or request.cell_overrides else "/recipe"
    return FieldError(changed, f"cell {cell.key!r}, {fault.pointer or 'its request'}: {fault.message}", fault.hint)


def _built_on_own_cell(session: Session, prepared: Prepared, cell: Cell, written: dict[str, Experiment]) -> Prepared:
    """The same, built on the study's own run where the cell names another cell."""
    key, found = cell_built_on(cell.request), prepared.plan.built_on
    if key is None or found is None or not isinstance(prepared.request, DistillRequest | TransferRequest):
        return prepared
    run = next(run for run in runs_of(session, [written[key].id])[written[key].id] if run.seed == found.trained.seed)
    return replace(prepared, plan=replace(prepared.plan, built_on=replace(found, run=run)))


def _take_over_equal(session: Session, experiments: Sequence[Experiment], settings: Settings) -> None:
    catalog = datasets.catalog(settings)
    images = {name: catalog.sha256(name) for name in {experiment.spec["dataset"]["name"] for experiment in experiments}}
    replicates.take_over_equal(session, experiments, settings.runs_folder, images)


def _experiments(session: Session, study: Study) -> Sequence[Experiment]:
    return session.exec(select(Experiment).where(col(Experiment.study_id) == study.id)).all()


def lock(session: Session, study: Study) -> None:
    """Hold the study's row until the transaction ends, and read it again: one change at a time. Raises NotFound when it has just been deleted.

    SQLite has the whole database locked for writing by then.
    """
    held = select(Study).where(col(Study.id) == study.id).with_for_update().execution_options(populate_existing=True)
    if session.exec(held).one_or_none() is None:
        raise NotFound(f"study {study.id} has just been deleted")
