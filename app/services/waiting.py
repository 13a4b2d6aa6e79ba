"""The queue as people see it: which place a run has, and about when it starts."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, tuple_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.services.lifecycle.queueing import Waiting, claimable, in_order
from app.services.workers import online
from app.states import RunStatus
from app.tables import Experiment, Run, utc_now

LONG_QUEUE = 500
"""With more runs than this, an experiment's record has a place but no estimate: GET /queue has both."""
RUNS_FOR_PACE = 20


@dataclass(frozen=True)
class QueuePlace:
    """A run's place in the queue, from 1, as workers will take them; `starts_at` is an estimate."""

    position: int
    run_id: str
    experiment_id: str
    owner: str
    priority: int
    queued_at: datetime
    starts_at: datetime | None


def queue(session: Session) -> list[QueuePlace]:
    """Every claimable run in the order in which workers will take them."""
    waiting = in_order(session)
    starts = _starts(session, waiting)
    return [
        QueuePlace(position, run.run_id, run.experiment_id, run.owner, run.priority, run.created_at, start)
        for position, (run, start) in enumerate(zip(waiting, starts, strict=True), start=1)
    ]


def place_of(session: Session, experiment_id: str) -> QueuePlace | None:
    """The place of the experiment's first claimable run; None when it has none."""
    count, owners = session.execute(select_columns(func.count(), func.count(func.distinct(col(Run.owner)))).where(claimable())).one()
    if count <= LONG_QUEUE or owners > 1:
        return next((place for place in queue(session) if place.experiment_id == experiment_id), None)
    best_first = (col(Run.priority).desc(), col(Run.created_at), col(Run.experiment_id), col(Run.position))
    first = session.exec(select(Run).where(claimable(), col(Run.experiment_id) == experiment_id).order_by(*best_first).limit(1)).first()
    if first is None:
        return None
    age = tuple_(col(Run.created_at), col(Run.experiment_id), col(Run.position))
    older = (col(Run.priority) == first.priority) & (age < (first.created_at, first.experiment_id, first.position))
    ahead = session.exec(select(func.count()).select_from(Run).where(claimable(), (col(Run.priority) > first.priority) | older)).one()
    return QueuePlace(ahead + 1, first.id, experiment_id, first.owner, first.priority, first.created_at, None)


def epochs_trained(run: Run) -> float:
    """Whole epochs and the part of the one that is under way."""
    return run.epochs_done + (run.step / run.num_steps if run.num_steps else 0.0)


def _starts(session: Session, waiting: Sequence[Waiting]) -> list[datetime | None]:
    """When each would start, if every run took its nominal time at the pace of late: whichever worker is free first takes the next."""
    workers, pace = len(online(session)), _pace(session)
    if not workers or pace is None:
        return [None] * len(waiting)
    columns = (col(Experiment.id), col(Experiment.nominal_seconds))
    nominal = {row.id: row.nominal_seconds for row in session.execute(select_columns(*columns).where(_has_unfinished()))}
    left = [pace * (nominal[run.experiment_id] or 0.0) * (1 - min(1.0, epochs_trained(run) / run.epochs)) for run in _under_way(session)]
    free = sorted(left)[-workers:] + [0.0] * (workers - len(left))
    heapq.heapify(free)
    now = utc_now()
    starts: list[datetime | None] = []
    for run in waiting:
        begins = free[0]
        starts.append(now + timedelta(seconds=begins))
        heapq.heapreplace(free, begins + pace * (nominal[run.experiment_id] or 0.0))
    return starts


def _pace(session: Session) -> float | None:
    """Seconds that a run takes for each of its nominal seconds, over the last runs that succeeded at their first attempt; None before the first."""
    lately = (
        select_columns(col(Run.started_at), col(Run.finished_at), col(Experiment.nominal_seconds))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.SUCCEEDED, col(Run.attempt) == 1, col(Experiment.nominal_seconds) > 0)
        .order_by(col(Run.finished_at).desc())
        .limit(RUNS_FOR_PACE)
    )
    rows = session.execute(lately).all()
    nominal = sum(row.nominal_seconds for row in rows)
    return sum((row.finished_at - row.started_at).total_seconds() for row in rows) / nominal if nominal else None


def _under_way(session: Session) -> Sequence[Run]:
    return session.exec(select(Run).where(col(Run.status) == RunStatus.RUNNING)).all()


def _has_unfinished() -> ColumnElement[bool]:
    unfinished = select_columns(col(Run.experiment_id)).where(col(Run.status).in_((RunStatus.QUEUED, RunStatus.RUNNING)))
    return col(Experiment.id).in_(unfinished)
