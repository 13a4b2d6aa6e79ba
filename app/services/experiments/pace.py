"""When workers will be free, from what runs took lately, and so when those that wait will start."""

import heapq
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Executable
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.how_far import ADVANCING, fraction_done
from app.services.experiments.speeds import Speeds, speeds
from app.services.lifecycle.queueing import Waiting
from app.services.lifecycle.workers import kinds_of_devices, num_online
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Experiment, Run, utc_now

COST: tuple[Any, ...] = (
    col(Experiment.kind),
    col(Experiment.arch),
    col(Experiment.nominal_seconds),
)
"""What `Speeds` makes a time of."""
MOST_NAMED = 1000
"""Experiments that a statement names; a database takes only so many parameters."""


def start_behind(free: Sequence[float] | None, ahead: int, seconds: float) -> datetime | None:
    """When a run starts with so many ahead of it, which take so long together, each as long as the others; `free` as of
    `free_workers`.
    """
    if free is None:
        return None
    times = list(free)
    each = seconds / ahead if ahead else 0.0
    level = len(times) * math.ceil((max(times) - min(times)) / each) if each else ahead
    # once all workers are level, a round of runs takes each as long
    rounds = max(0, ahead - level) // len(times)
    for _ in range(ahead - rounds * len(times) if each else 0):
        heapq.heapreplace(times, times[0] + each)
    return utc_now() + timedelta(seconds=times[0] + rounds * each)


def starts_of(session: Session, waiting: Sequence[Waiting]) -> list[datetime | None]:
    """When each would start, if every run took what those like it took lately: whichever worker is free first takes the
    next. None for what no worker online may take; it keeps none busy.
    """
    lately = speeds(session)
    times = free_workers(session, lately, num_online(session))
    if times is None:
        return [None] * len(waiting)
    seconds = {
        row.id: lately.seconds(row.kind, row.arch, row.nominal_seconds or 0.0)
        for row in session.execute(
            select_columns(col(Experiment.id), *COST).where(
                col(Experiment.id).in_({run.experiment_id for run in waiting})
                if len(waiting) <= MOST_NAMED
                else _has_queued()
            )
        )
    }
    kinds = kinds_of_devices(session)
    now = utc_now()
    starts: list[datetime | None] = []
    for run in waiting:
        if not TrainsOn(run.trains_on).may_go(kinds):
            starts.append(None)
            continue
        begins = times[0]
        starts.append(now + timedelta(seconds=begins))
        heapq.heapreplace(times, begins + seconds[run.experiment_id])
    return starts


def free_workers(session: Session, lately: Speeds, workers: int) -> list[float] | None:
    """In how many seconds each of so many workers will be free, as a heap; None without a worker, or before any run has
    ended.
    """
    if not workers or not lately.are_known:
        return None
    left = [
        lately.seconds(run.kind, run.arch, run.nominal_seconds or 0.0) * (1 - fraction_done(run))
        for run in session.execute(_under_way())
    ]
    times = sorted(left)[-workers:] + [0.0] * (workers - len(left))
    heapq.heapify(times)
    return times


@cache
def _under_way() -> Executable:
    how_far = (col(getattr(Run, name)) for name in ADVANCING)
    return (
        select_columns(*how_far, *COST)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.RUNNING)
    )


def _has_queued() -> ColumnElement[bool]:
    return col(Experiment.id).in_(
        select_columns(col(Run.experiment_id)).where(col(Run.status) == RunStatus.QUEUED)
    )
