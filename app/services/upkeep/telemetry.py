"""The service in numbers, counted from the rows on every read: all API processes say the same, and a restart forgets
nothing.

What is deleted is not counted any more, so a count of the past can fall.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, func, tuple_
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

RECENT, MOST_RECENT = timedelta(hours=1), 200
"""Epochs of runs that run, or succeeded at most this long ago, make the mean; of the latter so many, the last."""


LOOKED_AT_ONCE = 100
"""Waiting runs in one statement."""


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

    A run waits since it was queued the last time, and since what it needs has succeeded: no longer than it is there. So
    the oldest are looked at first, and no more once those that are left are younger than the longest wait.
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
    oldest_first: Select[*tuple[Any, ...]] = (
        select_columns(col(Run.id).label("id"), col(Run.created_at).label("created_at"))
        .where(claimable(), has_hours())
        .order_by(col(Run.created_at), col(Run.id))
    )
    longest: datetime | None = None
    after: tuple[datetime, str] | None = None
    while True:
        part = oldest_first.limit(LOOKED_AT_ONCE)
        if after is not None:
            part = part.where(tuple_(col(Run.created_at), col(Run.id)) > after)
        some = part.subquery()
        rows = session.execute(
            select_columns(col(Run.id), col(Run.created_at), queued, col(teacher.finished_at))
            .join(some, some.c.id == col(Run.id))
            .outerjoin(teacher, col(teacher.id) == col(Run.needs))
            .order_by(col(Run.created_at), col(Run.id)),
            {"first_day": first_day()},
        ).all()
        begun = [max(moment for moment in row[1:] if moment is not None) for row in rows]
        longest = min([*begun, *([] if longest is None else [longest])], default=None)
        if len(rows) < LOOKED_AT_ONCE or (longest is not None and longest <= rows[-1][1]):
            break
        after = (rows[-1][1], rows[-1][0])
    return 0.0 if longest is None else max(0.0, (utc_now() - longest).total_seconds())


def _runs(session: Session) -> dict[str, int]:
    counts: dict[str, int] = dict(
        session.exec(select(Run.status, func.count()).group_by(col(Run.status))).all()
    )
    return {status.value: counts.get(status.value, 0) for status in RunStatus}


def _failures(session: Session) -> dict[str, int]:
    code = func.coalesce(col(Run.error_code), "unknown")
    counted = select_columns(code, func.count()).where(col(Run.status) == RunStatus.FAILED)
    return {row[0]: row[1] for row in session.execute(counted.group_by(code).order_by(code))}


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
    ended = (
        select(Run.id)
        .where(col(Run.finished_at) > utc_now() - RECENT, col(Run.status) == RunStatus.SUCCEEDED)
        .order_by(col(Run.finished_at).desc())
        .limit(MOST_RECENT)
    )
    running = select(Run.id).where(col(Run.status) == RunStatus.RUNNING)
    timed = (
        select_columns(
            func.coalesce(col(Experiment.arch), "unknown"),
            func.sum(Metric.value),
            func.sum(case((col(Metric.split) == "train", 1), else_=0)),
        )
        .select_from(Run)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .join(Metric, col(Metric.run_id) == col(Run.id))
        .where(
            col(Run.id).in_([*session.exec(ended), *session.exec(running)]),
            col(Run.reused_from).is_(None),
            col(Metric.name) == "seconds",
            col(Metric.split).in_(SCORE_SPLITS),
        )
        .group_by(col(Experiment.arch))
        .order_by(col(Experiment.arch))
    )
    return {arch: seconds / epochs for arch, seconds, epochs in session.execute(timed) if epochs}
