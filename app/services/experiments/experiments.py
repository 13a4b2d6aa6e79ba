"""Experiments: written with their runs, found, cancelled, and seen as a whole."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, bindparam, tuple_
from sqlalchemy import select as select_columns
from sqlalchemy.orm import load_only
from sqlalchemy.sql.base import ExecutableOption
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.errors import AlreadyFinished, NotFound
from app.services import lifecycle
from app.services.experiments import deletion
from app.services.experiments.how_far import ADVANCING, epochs_trained
from app.services.experiments.metrics import seconds_per_epoch
from app.services.experiments.origins import origin_of
from app.services.experiments.paging import read_cursor, write_cursor
from app.services.experiments.standing import Standing, standing
from app.services.experiments.status_filters import has_status
from app.services.experiments.waiting import QueuePlace, place_of
from app.services.quotas import HoursUsedUp
from app.storage.states import RunStatus, StatusReason, experiment_status
from app.storage.tables import Experiment, Run, utc_now

LISTED = ("id", "created_at", "owner", "name", "labels", "kind", "fingerprint")
"""What a list shows of an experiment; specs and bodies stay in the database."""

PROGRESS = ("id", "experiment_id", "seed", "position", *ADVANCING)
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
    out_of_hours: HoursUsedUp | None
    estimated_finish_at: datetime | None
    disk_bytes: int
    origin: Experiment | None = None
    """The experiment that it is like."""


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
    for run in session.execute(_runs(), {"experiments": list(experiment_ids)}).scalars():
        found[run.experiment_id].append(run)
    return found


def its_runs(session: Session, experiment_id: str) -> list[Run]:
    """The runs of one experiment, in the order of its seeds."""
    return runs_of(session, [experiment_id])[experiment_id]


@cache
def _runs() -> SelectOfScalar[Run]:
    """Made once, since every record asks it."""
    return (
        select(Run)
        .where(col(Run.experiment_id).in_(bindparam("experiments", expanding=True)))
        .order_by(col(Run.position))
    )


def progress_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[Run]]:
    """As `runs_of`, each run with its progress alone."""
    found: dict[str, list[Run]] = {experiment_id: [] for experiment_id in experiment_ids}
    listed = load_only(*(getattr(Run, name) for name in PROGRESS), raiseload=True)
    for run in session.exec(
        select(Run)
        .options(listed)
        .where(col(Run.experiment_id).in_(experiment_ids))
        .order_by(col(Run.position))
    ):
        found[run.experiment_id].append(run)
    return found


def run_ids_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the runs of each experiment, in the order of its seeds."""
    found: dict[str, list[str]] = {experiment_id: [] for experiment_id in experiment_ids}
    rows = (
        select_columns(col(Run.experiment_id), col(Run.id))
        .where(col(Run.experiment_id).in_(experiment_ids))
        .order_by(col(Run.position))
    )
    for experiment_id, run_id in session.execute(rows):
        found[experiment_id].append(run_id)
    return found


def seeds_of(session: Session, experiment_id: str) -> list[tuple[str, int]]:
    """Id and seed of each run, in the order of the seeds."""
    rows = (
        select_columns(col(Run.id), col(Run.seed))
        .where(col(Run.experiment_id) == experiment_id)
        .order_by(col(Run.position))
    )
    return [(run_id, seed) for run_id, seed in session.execute(rows)]


def whole(
    session: Session, experiment: Experiment, look: Callable[[Session], Standing] = standing
) -> Whole:
    """Everything that the experiment's record shows; `look` as for `place_of`."""
    look = cache(look)  # one look for the reason and the place
    runs = its_runs(session, experiment.id)
    status = experiment_status(run.status for run in runs)
    is_queued = any(run.status == RunStatus.QUEUED for run in runs)
    spent = look(session).spent.get(experiment.owner) if is_queued else None
    return Whole(
        experiment=experiment,
        runs=runs,
        status=status,
        status_reason=_reason(status, runs, spent, lambda: look(session).num_online),
        place=place_of(session, experiment.id, look) if is_queued else None,
        out_of_hours=spent,
        estimated_finish_at=_estimated_finish(session, status, runs),
        disk_bytes=deletion.disk_bytes(session, [run.id for run in runs]),
        origin=origin_of(session, experiment),
    )


def status_of(session: Session, experiment_id: str) -> RunStatus:
    """The experiment's status alone."""
    return statuses_of(session, [experiment_id])[experiment_id]


def statuses_of(session: Session, experiment_ids: Collection[str]) -> dict[str, RunStatus]:
    """The statuses of those of the experiments that are there."""
    found: dict[str, list[RunStatus]] = {}
    for experiment_id, status in session.execute(
        select_columns(col(Run.experiment_id), col(Run.status)).where(
            col(Run.experiment_id).in_(experiment_ids)
        )
    ):
        found.setdefault(experiment_id, []).append(status)
    return {experiment_id: experiment_status(statuses) for experiment_id, statuses in found.items()}


def page(
    session: Session, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[Experiment], str | None]:
    """Experiments with what a list shows of them, the newest first, and the cursor of the next page if there is one."""
    statement = (
        matching(filters)
        .options(listed())
        .order_by(col(Experiment.created_at).desc(), col(Experiment.id).desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        statement = statement.where(
            tuple_(col(Experiment.created_at), col(Experiment.id)) < read_cursor(cursor)
        )
    rows = list(session.exec(statement))
    more = len(rows) > limit
    return rows[:limit], write_cursor(
        rows[limit - 1].created_at, rows[limit - 1].id
    ) if more else None


def listed() -> ExecutableOption:
    """Load of an experiment what a list shows."""
    return load_only(*(getattr(Experiment, name) for name in LISTED), raiseload=True)


def matching(filters: Filters) -> SelectOfScalar[Experiment]:
    """A selection of the experiments that the filters let through."""
    return select(Experiment).where(*conditions(filters))


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """What holds of the experiments that the filters let through."""
    named = (
        (Experiment.kind, filters.kind),
        (Experiment.study_id, filters.study_id),
        (Experiment.owner, filters.owner),
        (Experiment.owner, filters.seen_by),
    )
    return [
        *(col(column) == value for column, value in named if value is not None),
        *(col(Experiment.labels)[key].as_string() == value for key, value in filters.labels),
        *([] if filters.status is None else has_status(filters.status)),
    ]


def cancel(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> None:
    """Cancel every unfinished run. Cancelling twice is no error; cancelling what ended otherwise is AlreadyFinished."""
    runs = its_runs(session, experiment.id)
    if not lifecycle.cancel(session, [run.id for run in runs], actor):
        status = experiment_status(run.status for run in runs)
        if status is not RunStatus.CANCELLED:
            raise AlreadyFinished(
                f"experiment {experiment.id} has {status} already; nothing is left to cancel"
            )
    session.expire_all()


def _reason(
    status: RunStatus, runs: list[Run], spent: HoursUsedUp | None, num_online: Callable[[], int]
) -> StatusReason:
    """Why the experiment has its status: the reason of the first run that decides it."""
    deciding = [run for run in runs if run.status == status] or [
        run for run in runs if not run.status.is_terminal
    ]
    reasons = [run_reason(run) for run in deciding]
    if set(reasons) == {StatusReason.WAITING_FOR_WORKER}:
        if spent is not None:
            return StatusReason.WAITING_FOR_HOURS
        if not num_online():
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
    return run.status_reason


def _estimated_finish(session: Session, status: RunStatus, runs: list[Run]) -> datetime | None:
    """Remaining epochs at the mean pace so far, shared among the runs that are running; None before the first step is
    known.
    """
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    if status is not RunStatus.RUNNING or not running:
        return None
    pace = seconds_per_epoch(session, [run.id for run in runs]) or _pace_within_first_epoch(running)
    if pace is None:
        return None
    remaining = sum(run.epochs - epochs_trained(run) for run in runs if not run.status.is_terminal)
    return utc_now() + timedelta(seconds=max(0.0, remaining) * pace / len(running))


def _pace_within_first_epoch(running: list[Run]) -> float | None:
    """Seconds per epoch of the first run that has taken steps since it was first claimed, the time to load data and
    model included.
    """
    for run in running:
        if run.attempt == 1 and run.started_at is not None and epochs_trained(run) > 0:
            return (utc_now() - run.started_at).total_seconds() / epochs_trained(run)
    return None
