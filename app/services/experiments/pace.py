"""When workers will be free, from what runs took lately, and so when those that wait will start."""

import heapq
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, Executable
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.how_far import ADVANCING, fraction_done
from app.services.lifecycle.queueing import Waiting
from app.services.lifecycle.workers import num_online
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run, utc_now

RUNS_FOR_PACE = 20


def start_behind(
    free: tuple[Sequence[float], float] | None, ahead: int, nominal_seconds: float
) -> datetime | None:
    """When a run starts with so many ahead of it, which take so long together, each as long as the others; `free` as of
    `free_workers`.
    """
    if free is None:
        return None
    times, pace = list(free[0]), free[1]
    each = pace * nominal_seconds / ahead if ahead else 0.0
    level = len(times) * math.ceil((max(times) - min(times)) / each) if each else ahead
    # once all workers are level, a round of runs takes each as long
    rounds = max(0, ahead - level) // len(times)
    for _ in range(ahead - rounds * len(times) if each else 0):
        heapq.heapreplace(times, times[0] + each)
    return utc_now() + timedelta(seconds=times[0] + rounds * each)


def starts_of(session: Session, waiting: Sequence[Waiting]) -> list[datetime | None]:
    """When each would start, if every run took its nominal time at the pace of late: whichever worker is free first
    takes the next.
    """
    free = free_workers(session, num_online(session))
    if free is None:
        return [None] * len(waiting)
    times, pace = free
    columns = (col(Experiment.id), col(Experiment.nominal_seconds))
    nominal = {
        row.id: row.nominal_seconds
        for row in session.execute(select_columns(*columns).where(_has_queued()))
    }
    now = utc_now()
    starts: list[datetime | None] = []
    for run in waiting:
        begins = times[0]
        starts.append(now + timedelta(seconds=begins))
        heapq.heapreplace(times, begins + pace * (nominal[run.experiment_id] or 0.0))
    return starts


def free_workers(session: Session, workers: int) -> tuple[list[float], float] | None:
    """In how many seconds each of so many workers will be free, as a heap, and the pace; None without a worker, or
    before any run has ended.
    """
    pace = _pace(session) if workers else None
    if pace is None:
        return None
    left = [
        pace * (run.nominal_seconds or 0.0) * (1 - fraction_done(run))
        for run in session.execute(_under_way())
    ]
    times = sorted(left)[-workers:] + [0.0] * (workers - len(left))
    heapq.heapify(times)
    return times, pace


def _pace(session: Session) -> float | None:
    """Seconds that a run takes for each of its nominal seconds, over the last runs that succeeded at their first
    attempt; None before the first.
    """
    rows = session.execute(_lately()).all()
    nominal = sum(row.nominal_seconds for row in rows)
    return (
        sum((row.finished_at - row.started_at).total_seconds() for row in rows) / nominal
        if nominal
        else None
    )


@cache
def _lately() -> Executable:
    return (
        select_columns(col(Run.started_at), col(Run.finished_at), col(Experiment.nominal_seconds))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(
            col(Run.status) == RunStatus.SUCCEEDED,
            col(Run.attempt) == 1,
            col(Experiment.nominal_seconds) > 0,
        )
        .order_by(col(Run.finished_at).desc())
        .limit(RUNS_FOR_PACE)
    )


@cache
def _under_way() -> Executable:
    how_far = (col(getattr(Run, name)) for name in ADVANCING)
    return (
        select_columns(*how_far, col(Experiment.nominal_seconds))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.RUNNING)
    )


def _has_queued() -> ColumnElement[bool]:
    return col(Experiment.id).in_(
        select_columns(col(Run.experiment_id)).where(col(Run.status) == RunStatus.QUEUED)
    )
