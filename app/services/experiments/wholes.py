"""An experiment seen as a whole: everything that its record shows, read by as few statements as can be."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Select, bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments import deletion
from app.services.experiments.experiments import unknown
from app.services.experiments.how_far import epochs_trained
from app.services.experiments.metrics import seconds_per_epoch
from app.services.experiments.origins import origin_of
from app.services.experiments.standing import Standing, standing
from app.services.experiments.waiting import QueuePlace, place_among
from app.services.quotas import HoursUsedUp
from app.storage.states import RunStatus, StatusReason, experiment_status
from app.storage.tables import Experiment, Run, utc_now


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


def whole(
    session: Session,
    experiment_id: str,
    may_see: Callable[[str], bool] = lambda _: True,
    look: Callable[[Session], Standing] = standing,
) -> Whole:
    """By one statement, so that its rows agree also without a transaction, and one more where it waits, trains or is
    like another.
    NotFound where there is none whose owner `may_see` lets through; `look` as for `place_of`.
    """
    found = session.execute(_with_runs_and_sizes(), {"experiment_id": experiment_id}).all()
    if not found or not may_see(found[0][0].owner):
        raise unknown(experiment_id)
    look = cache(look)  # one look for the reason and the place
    runs = [run for _, run, _ in found]
    status = experiment_status(run.status for run in runs)
    experiment = found[0][0]
    is_queued = any(run.status == RunStatus.QUEUED for run in runs)
    spent = look(session).spent.get(experiment.owner) if is_queued else None
    return Whole(
        experiment=experiment,
        runs=runs,
        status=status,
        status_reason=_reason(status, runs, spent, lambda: look(session).num_online),
        place=place_among(session, runs, look),
        out_of_hours=spent,
        estimated_finish_at=_estimated_finish(session, status, runs),
        disk_bytes=sum(int(size) for _, _, size in found),
        origin=origin_of(session, experiment),
    )


@cache
def _with_runs_and_sizes() -> Select[Experiment, Run, int]:
    """Made once, since every record asks it."""
    return (
        select_columns(Experiment, Run, deletion.size_of_run())
        .join(Run, col(Run.experiment_id) == col(Experiment.id))
        .where(col(Experiment.id) == bindparam("experiment_id"))
        .order_by(col(Run.position))
    )


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
