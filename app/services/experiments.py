"""Experiments: written with their runs, found, cancelled, and seen as a whole."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, tuple_
from sqlalchemy import select as select_columns
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.errors import AlreadyFinished, IdempotencyConflict, NotFound
from app.services import deletion, lifecycle
from app.services.estimates import Estimate
from app.services.lifecycle import NewRun
from app.services.metrics import seconds_per_epoch
from app.services.paging import read_cursor, write_cursor
from app.services.status_filters import has_status
from app.services.waiting import QueuePlace, epochs_trained, place_of
from app.services.workers import online
from app.states import RunStatus, StatusReason, experiment_status
from app.tables import LOCAL, Experiment, Run, new_id, utc_now
from lab_models.specs import AnySpec, fingerprint

KEY_LOCK = 7_236_013
"""Any number, the same in every process: the class of PostgreSQL's advisory locks on idempotency keys of experiments."""

LISTED = ("id", "created_at", "owner", "name", "labels", "kind", "fingerprint")
"""What a list shows of an experiment; specs and bodies stay in the database."""

PROGRESS = ("id", "experiment_id", "seed", "position", "status", "epochs", "epochs_done", "step", "num_steps")
"""What a list shows of a run."""


@dataclass(frozen=True)
class Filters:
    """Which experiments a list shows; None means any. `labels` holds (key, value) pairs that must all match.

    `owner` is whose are asked for, `seen_by` who sees only their own: both must hold.
    """

    status: RunStatus | None = None
    kind: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    study_id: str | None = None
    owner: str | None = None
    seen_by: str | None = None


@dataclass(frozen=True)
class Whole:
    """An experiment with everything its record shows."""

    experiment: Experiment
    runs: list[Run]
    status: RunStatus
    status_reason: StatusReason
    place: QueuePlace | None
    estimated_finish_at: datetime | None
    disk_bytes: int


@dataclass(frozen=True)
class Place:
    """A cell of a study."""

    study_id: str
    cell: str


@dataclass(frozen=True)
class Draft:
    """An experiment that is ready to be written, its ids made and everything worked out that takes time; one draft is written once.

    `needs` is the run that all of its runs wait for, unless it has succeeded (`is_ready`).
    """

    spec: dict[str, Any]
    fingerprint: str
    cost: Estimate
    epochs: int
    seeds: tuple[int, ...]
    submitted: dict[str, Any]
    request_hash: str
    name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    needs: str | None = None
    is_ready: bool = True
    related: dict[str, Any] = field(default_factory=dict)
    place: Place | None = None
    owner: str = LOCAL
    idempotency_key: str | None = None
    id: str = field(default_factory=lambda: new_id("exp"))
    run_ids: tuple[str, ...] = ()

    def run_of(self, seed: int) -> str:
        """The id of the run with that seed."""
        return self.run_ids[self.seeds.index(seed)]


@dataclass(frozen=True)
class Stored:
    """What a request has made, or what an earlier one with its key had made (`is_new` is False); `num_queued` runs have been queued."""

    id: str
    num_queued: int
    is_new: bool = True


def draft(spec: AnySpec, cost: Estimate, seeds: tuple[int, ...], submitted: dict[str, Any], **said: Any) -> Draft:
    """A draft of a spec; `said` are those of its fields that have a default."""
    return Draft(
        spec=spec.model_dump(mode="json"),
        fingerprint=fingerprint(spec),
        cost=cost,
        epochs=spec.planned_epochs,
        seeds=seeds,
        submitted=submitted,
        request_hash=request_hash(submitted),
        run_ids=tuple(new_id("run") for _ in seeds),
        **said,
    )


def earlier(session: Session, idempotency_key: str, submitted: dict[str, Any], owner: str = LOCAL, *, lock: bool = True) -> Experiment | None:
    """The experiment that this key of the owner's has made; raises IdempotencyConflict when that one had another body.

    With `lock`, for who writes, nobody else finds out until the transaction ends, so that two requests with one key cannot both find nothing.
    """
    if lock:
        hold_key(session, KEY_LOCK, idempotency_key)
    found = session.exec(select(Experiment).where(col(Experiment.owner) == owner, col(Experiment.idempotency_key) == idempotency_key)).first()
    if found is not None and found.request_hash != request_hash(submitted):
        raise IdempotencyConflict(f"the key {idempotency_key!r} belongs to experiment {found.id}, which had another body")
    return found


def hold_key(session: Session, kind: int, idempotency_key: str) -> None:
    """Begin the write transaction, and keep an idempotency key of that kind until it ends."""
    if session.connection().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(kind, func.hashtext(idempotency_key))))


def create(session: Session, drafts: Sequence[Draft]) -> None:
    """Write experiments and their queued runs, needed ones first, in a handful of statements; each a microsecond younger, so that they are trained in order."""
    now = utc_now()
    timed = [(one, now + timedelta(microseconds=number)) for number, one in enumerate(drafts)]
    session.execute(insert(Experiment), [_row(one, created_at) for one, created_at in timed])
    lifecycle.enqueue(session, [run for one, created_at in timed for run in _new_runs(one, created_at)])


def _row(one: Draft, created_at: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "created_at": created_at,
        "owner": one.owner,
        "name": one.name,
        "labels": one.labels,
        "kind": one.spec["kind"],
        "fingerprint": one.fingerprint,
        "submitted": one.submitted,
        "spec": one.spec,
        "priority": one.priority,
        "parameters": one.cost.parameters,
        "trainable_parameters": one.cost.trainable_parameters,
        "macs_per_sample": one.cost.macs_per_sample,
        "memory_bytes": one.cost.memory_bytes,
        "nominal_seconds": one.cost.seconds,
        "related": one.related,
        "study_id": None if one.place is None else one.place.study_id,
        "cell": None if one.place is None else one.place.cell,
        "idempotency_key": one.idempotency_key,
        "request_hash": one.request_hash,
    }


def _new_runs(one: Draft, created_at: datetime) -> Iterator[NewRun]:
    for position, (run_id, seed) in enumerate(zip(one.run_ids, one.seeds, strict=True)):
        yield NewRun(
            id=run_id,
            experiment_id=one.id,
            seed=seed,
            position=position,
            owner=one.owner,
            priority=one.priority,
            created_at=created_at,
            epochs=one.epochs,
            num_steps=one.cost.steps // one.epochs,
            needs=one.needs,
            is_ready=one.is_ready,
        )


def request_hash(submitted: dict[str, Any]) -> str:
    """SHA-256 of a body, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(submitted, sort_keys=True).encode()).hexdigest()


def get(session: Session, experiment_id: str) -> Experiment:
    """The experiment, or NotFound."""
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"there is no experiment {experiment_id!r}; GET /experiments lists them")
    return experiment


def get_run(session: Session, run_id: str) -> Run:
    """The run, or NotFound."""
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id!r}; an experiment's record lists its runs")
    return run


def runs_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of each experiment, in the order of its seeds."""
    found: dict[str, list[Run]] = {experiment_id: [] for experiment_id in experiment_ids}
    for run in session.exec(select(Run).where(col(Run.experiment_id).in_(experiment_ids)).order_by(col(Run.position))):
        found[run.experiment_id].append(run)
    return found


def progress_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[Run]]:
    """As `runs_of`, each run with its progress alone."""
    found: dict[str, list[Run]] = {experiment_id: [] for experiment_id in experiment_ids}
    listed = load_only(*(getattr(Run, name) for name in PROGRESS), raiseload=True)
    for run in session.exec(select(Run).options(listed).where(col(Run.experiment_id).in_(experiment_ids)).order_by(col(Run.position))):
        found[run.experiment_id].append(run)
    return found


def run_ids_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the runs of each experiment, in the order of its seeds."""
    found: dict[str, list[str]] = {experiment_id: [] for experiment_id in experiment_ids}
    rows = select_columns(col(Run.experiment_id), col(Run.id)).where(col(Run.experiment_id).in_(experiment_ids)).order_by(col(Run.position))
    for experiment_id, run_id in session.execute(rows):
        found[experiment_id].append(run_id)
    return found


def seeds_of(session: Session, experiment_id: str) -> list[tuple[str, int]]:
    """Id and seed of each run, in the order of the seeds."""
    rows = select_columns(col(Run.id), col(Run.seed)).where(col(Run.experiment_id) == experiment_id).order_by(col(Run.position))
    return [(run_id, seed) for run_id, seed in session.execute(rows)]


def whole(session: Session, experiment: Experiment) -> Whole:
    """Everything that the experiment's record shows."""
    runs = runs_of(session, [experiment.id])[experiment.id]
    status = experiment_status(RunStatus(run.status) for run in runs)
    return Whole(
        experiment=experiment,
        runs=runs,
        status=status,
        status_reason=_reason(session, status, runs),
        place=place_of(session, experiment.id) if any(run.status == RunStatus.QUEUED for run in runs) else None,
        estimated_finish_at=_estimated_finish(session, status, runs),
        disk_bytes=deletion.disk_bytes(session, [run.id for run in runs]),
    )


def status_of(session: Session, experiment: Experiment) -> RunStatus:
    """The experiment's status alone."""
    return experiment_status(RunStatus(status) for status in session.exec(select(Run.status).where(col(Run.experiment_id) == experiment.id)))


def statuses_of(session: Session, experiment_ids: Collection[str]) -> dict[str, RunStatus]:
    """The statuses of those of the experiments that are there."""
    found: dict[str, list[RunStatus]] = {}
    for experiment_id, status in session.execute(select_columns(col(Run.experiment_id), col(Run.status)).where(col(Run.experiment_id).in_(experiment_ids))):
        found.setdefault(experiment_id, []).append(RunStatus(status))
    return {experiment_id: experiment_status(statuses) for experiment_id, statuses in found.items()}


def page(session: Session, filters: Filters, limit: int, cursor: str | None) -> tuple[list[Experiment], str | None]:
    """Experiments with what a list shows of them, the newest first, and the cursor of the next page if there is one."""
    listed = load_only(*(getattr(Experiment, name) for name in LISTED), raiseload=True)
    statement = matching(filters).options(listed).order_by(col(Experiment.created_at).desc(), col(Experiment.id).desc()).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(tuple_(col(Experiment.created_at), col(Experiment.id)) < read_cursor(cursor))
    rows = list(session.exec(statement))
    more = len(rows) > limit
    return rows[:limit], write_cursor(rows[limit - 1].created_at, rows[limit - 1].id) if more else None


def matching(filters: Filters) -> SelectOfScalar[Experiment]:
    """A selection of the experiments that the filters let through."""
    statement = select(Experiment)
    named = ((Experiment.kind, filters.kind), (Experiment.study_id, filters.study_id), (Experiment.owner, filters.owner), (Experiment.owner, filters.seen_by))
    statement = statement.where(*(col(column) == value for column, value in named if value is not None))
    for key, value in filters.labels:
        statement = statement.where(col(Experiment.labels)[key].as_string() == value)
    if filters.status is not None:
        statement = statement.where(*has_status(filters.status))
    return statement


def cancel(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> None:
    """Cancel every unfinished run. Cancelling twice is no error; cancelling what ended otherwise is AlreadyFinished."""
    runs = runs_of(session, [experiment.id])[experiment.id]
    if not lifecycle.cancel(session, [run.id for run in runs], actor):
        status = experiment_status(RunStatus(run.status) for run in runs)
        if status is not RunStatus.CANCELLED:
            raise AlreadyFinished(f"experiment {experiment.id} has {status} already; nothing is left to cancel")
    session.expire_all()


def _reason(session: Session, status: RunStatus, runs: list[Run]) -> StatusReason:
    """Why the experiment has its status: the reason of the first run that decides it."""
    deciding = [run for run in runs if run.status == status] or [run for run in runs if not RunStatus(run.status).is_terminal]
    reasons = [run_reason(run) for run in deciding]
    if StatusReason.WAITING_FOR_WORKER in reasons and len(set(reasons)) == 1 and not online(session):
        return StatusReason.NO_WORKER_ONLINE
    return reasons[0]


def run_reason(run: Run) -> StatusReason:
    """Why a run has its status; what the row cannot say by itself is derived here."""
    if run.status == RunStatus.RUNNING:
        if run.cancel_requested:
            return StatusReason.CANCELLING
        if run.pause_requested:
            return StatusReason.PAUSING
        if run.epochs_done >= run.epochs:
            return StatusReason.EVALUATING
    return StatusReason(run.status_reason)


def _estimated_finish(session: Session, status: RunStatus, runs: list[Run]) -> datetime | None:
    """Remaining epochs at the mean pace so far, shared among the runs that are running; None before the first step is known."""
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    if status is not RunStatus.RUNNING or not running:
        return None
    pace = seconds_per_epoch(session, [run.id for run in runs]) or _pace_within_first_epoch(running)
    if pace is None:
        return None
    remaining = sum(run.epochs - epochs_trained(run) for run in runs if not RunStatus(run.status).is_terminal)
    return utc_now() + timedelta(seconds=max(0.0, remaining) * pace / len(running))


def _pace_within_first_epoch(running: list[Run]) -> float | None:
    """Seconds per epoch of the first run that has taken steps since it was first claimed, the time to load data and model included."""
    for run in running:
        if run.attempt == 1 and run.started_at is not None and epochs_trained(run) > 0:
            return (utc_now() - run.started_at).total_seconds() / epochs_trained(run)
    return None
