"""Which run is built on, as a student's teacher or a transfer's source: one that is named, an equal one that there is, or one that is made first."""

from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.errors import InvalidRequest, NotFound
from app.services import experiments
from app.services.keys import ANYONE, Caller
from app.services.visibility import visible_experiment, visible_run
from app.states import RunStatus
from app.tables import Experiment, Run
from lab_models.datasets.catalog import Catalog
from lab_models.specs import Reference, Trained, TrainSpec, fingerprint, read_spec
from lab_models.validation import FieldError

USABLE = (RunStatus.SUCCEEDED, RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PAUSED)
"""Statuses of a run that is or can still become a teacher; the first is preferred to the others, then the oldest."""


@dataclass(frozen=True)
class Teacher:
    """What a reference stands for. `run` is None where nothing equal has been trained or is under way."""

    trained: Trained
    run: Run | None


def find(session: Session, reference: Reference, role: str, catalog: Catalog, caller: Caller = ANYONE) -> Teacher:
    """The trained network that is meant by the field `role`; raises InvalidRequest where there is none, or where it can never be one.

    A named one must be one that the caller may see; an equal one is looked for among the caller's own.
    """
    if reference.spec is not None:
        trained = Trained(spec=reference.spec, seed=reference.seed or 0)
        return Teacher(trained, _equal_run(session, trained, catalog, caller.owner))
    run = _named_run(session, reference, role, caller)
    spec = read_spec(experiments.get(session, run.experiment_id).spec)
    if not isinstance(spec, TrainSpec):
        raise _refused(role, "run" if reference.run else "experiment", f"run {run.id} is itself built on another: a {role} is of kind 'train'")
    if RunStatus(run.status) not in USABLE:
        raise _refused(role, "run" if reference.run else "experiment", f"run {run.id} has {run.status} and has no weights", "name a run that has succeeded")
    return Teacher(Trained(spec=spec, seed=run.seed), run)


def hold_still(session: Session, teacher: Teacher, role: str) -> Teacher:
    """The same, its run locked until the transaction ends: it cannot fail unseen while what needs it is written. Raises InvalidRequest if it just has."""
    if teacher.run is None:
        return teacher
    wanted = teacher.run.id
    locked = select(Run).where(col(Run.id) == wanted).with_for_update().execution_options(populate_existing=True)
    run = session.exec(locked).one_or_none()
    if run is None:
        raise _refused(role, "run", f"run {wanted} has just been deleted", "name a run that has succeeded")
    if RunStatus(run.status) not in USABLE:
        raise _refused(role, "run", f"run {run.id} has just {run.status} and has no weights", "name a run that has succeeded")
    return Teacher(teacher.trained, run)


def _named_run(session: Session, reference: Reference, role: str, caller: Caller) -> Run:
    try:
        if reference.run is not None:
            return visible_run(session, caller, reference.run)
        assert reference.experiment is not None
        runs = experiments.runs_of(session, [visible_experiment(session, caller, reference.experiment).id])[reference.experiment]
    except NotFound as error:
        raise _refused(role, "run" if reference.run else "experiment", str(error)) from error
    chosen = [run for run in runs if reference.seed in (None, run.seed)]
    if not chosen:
        raise _refused(
            role, "seed", f"experiment {reference.experiment} has no run with seed {reference.seed}", f"it has {', '.join(str(run.seed) for run in runs)}"
        )
    return chosen[0]


def _equal_run(session: Session, trained: Trained, catalog: Catalog, owner: str) -> Run | None:
    """A run of the owner's of an equal spec with the same seed, on the same images, that has succeeded or still can."""
    images = catalog.sha256(trained.spec.dataset.name)
    found = session.exec(
        select(Run)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Experiment.fingerprint) == fingerprint(trained.spec), col(Run.owner) == owner, col(Run.seed) == trained.seed, col(Run.status).in_(USABLE))
        .order_by(col(Run.created_at))
    ).all()
    same = [run for run in found if images is None or run.environment is None or run.environment["dataset_sha256"] == images]
    return min(same, key=lambda run: USABLE.index(RunStatus(run.status)), default=None)


def _refused(role: str, field: str, message: str, hint: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, [FieldError(f"/{role}/{field}", message, hint)])
