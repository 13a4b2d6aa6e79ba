"""The service in numbers, counted from the rows on every read: all API processes say the same, and a restart forgets
nothing.

What is deleted is not counted any more, so a count of the past can fall.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, func, or_
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.services.experiments.metrics import SCORE_SPLITS
from app.services.lifecycle import RECONCILER, claimable, queued_runs
from app.services.lifecycle.queueing import has_hours
from app.services.lifecycle.workers import ONLINE_SECONDS
from app.services.quotas import first_day
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Metric, Run, StatusChange, Worker, utc_now
from lab_models.specs import read_spec

RECENT = timedelta(hours=1)
"""Epochs of runs that run, or ended at most this long ago, make the mean."""


@dataclass(frozen=True)
class Telemetry:
    """One moment. Keys: statuses, error codes, architectures, devices."""

    queue_depth: int
    oldest_wait_seconds: float
    runs: dict[str, int]
    failures: dict[str, int]
    epoch_seconds: dict[str, float]
    lease_losses: int
    workers_online: dict[str, int]
    workers_in_trouble: dict[str, int]


def read(session: Session) -> Telemetry:
    """All of it, from one consistent state."""
    online, in_trouble = _workers(session)
    return Telemetry(
        queue_depth=queued_runs(session),
        oldest_wait_seconds=oldest_wait_seconds(session),
        runs=_runs(session),
        failures=_failures(session),
        epoch_seconds=_epoch_seconds(session),
        lease_losses=_lease_losses(session),
        workers_online=online,
        workers_in_trouble=in_trouble,
    )


def oldest_wait_seconds(session: Session) -> float:
    """How long the run has waited that has waited longest of those a worker could claim now; 0 when none waits.

    A run waits since it was queued the last time, and since what it needs has succeeded.
    """
    teacher = aliased(Run)
    queued = (
        select(func.max(StatusChange.at))
        .where(
            col(StatusChange.run_id) == col(Run.id), col(StatusChange.to_status) == RunStatus.QUEUED
        )
        .correlate(Run)
        .scalar_subquery()
    )
    rows = session.execute(
        select(col(Run.created_at), queued, col(teacher.finished_at))
        .outerjoin(teacher, col(teacher.id) == col(Run.needs))
        .where(claimable(), has_hours()),
        {"first_day": first_day()},
    )
    begun = [max(moment for moment in row if moment is not None) for row in rows]
    return max(0.0, (utc_now() - min(begun)).total_seconds()) if begun else 0.0


def _runs(session: Session) -> dict[str, int]:
    counts: dict[str, int] = dict(
        session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all()
    )
    return {status.value: counts.get(status.value, 0) for status in RunStatus}


def _failures(session: Session) -> dict[str, int]:
    errors = session.exec(select(Run.error).where(col(Run.status) == RunStatus.FAILED)).all()
    return dict(
        sorted(Counter(str((error or {}).get("code", "unknown")) for error in errors).items())
    )


def _lease_losses(session: Session) -> int:
    """Moves out of `running` that the holder did not make."""
    lost = (
        col(StatusChange.actor) == RECONCILER,
        col(StatusChange.from_status) == RunStatus.RUNNING,
    )
    return session.exec(select(func.count()).select_from(StatusChange).where(*lost)).one()


def _workers(session: Session) -> tuple[dict[str, int], dict[str, int]]:
    """Those that can train and those that cannot, by device; `cpu` and the devices of the workers of the last day are
    there with 0, so that an alert sees a 0 and not a gap.
    """
    since = utc_now() - timedelta(seconds=ONLINE_SECONDS)
    online, in_trouble = {"cpu": 0}, {"cpu": 0}
    columns = (col(Worker.device), col(Worker.seen_at), col(Worker.trouble))
    for device, seen_at, trouble in session.execute(select_columns(*columns)):
        is_there = seen_at > since
        online[device] = online.get(device, 0) + (is_there and trouble is None)
        in_trouble[device] = in_trouble.get(device, 0) + (is_there and trouble is not None)
    return dict(sorted(online.items())), dict(sorted(in_trouble.items()))


def _epoch_seconds(session: Session) -> dict[str, float]:
    """Mean seconds of an epoch's training and validation, by architecture."""
    recent = or_(col(Run.status) == RunStatus.RUNNING, col(Run.finished_at) > utc_now() - RECENT)
    timed = (
        select(
            col(Run.experiment_id),
            func.sum(Metric.value),
            func.sum(case((col(Metric.split) == "train", 1), else_=0)),
        )
        .join(Metric, col(Metric.run_id) == col(Run.id))
        .where(
            recent,
            col(Run.reused_from).is_(None),
            col(Metric.name) == "seconds",
            col(Metric.split).in_(SCORE_SPLITS),
        )
        .group_by(col(Run.experiment_id))
    )
    sums: dict[str, tuple[float, int]] = {}
    for experiment_id, seconds, epochs in session.execute(timed).all():
        arch = read_spec(session.get_one(Experiment, experiment_id).spec).network.arch
        before = sums.get(arch, (0.0, 0))
        sums[arch] = (before[0] + float(seconds or 0.0), before[1] + int(epochs))
    return {arch: seconds / epochs for arch, (seconds, epochs) in sorted(sums.items()) if epochs}
