"""The queue as people see it: which place a run has, and about when it starts."""

import heapq
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, Executable, Integer, Select, String, bindparam, func, tuple_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.lifecycle.queueing import Waiting, claimable, in_order
from app.services.lifecycle.workers import num_online
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Owner, Run, UTCDateTime, utc_now

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
        QueuePlace(
            position, run.run_id, run.experiment_id, run.owner, run.priority, run.created_at, start
        )
        for position, (run, start) in enumerate(zip(waiting, starts, strict=True), start=1)
    ]


@dataclass(frozen=True)
class Standing:
    """How the queue stands, the same for all who wait in it."""

    lines: Sequence["_Line"]
    running: Counter[str]
    turns: dict[str, int]
    num_online: int
    free: tuple[Sequence[float], float] | None
    """As of `_free`."""

    def has(self, owner: str, priority: int, before: int) -> bool:
        """Whether a run with so many of its own line before it was there."""
        return any(
            (line.owner, line.priority) == (owner, priority) and line.count > before
            for line in self.lines
        )


def standing(session: Session) -> Standing:
    """How the queue stands now."""
    running = Counter({row[0]: row[1] for row in session.execute(_under_way_by_owner())})
    turns = {row[0]: row[1] for row in session.execute(_turns())}
    workers = num_online(session)
    return Standing(
        [_Line(*row) for row in session.execute(_lines())],
        running,
        turns,
        workers,
        _free(session, workers),
    )


class LatestStanding:
    """How the queue stood at most `seconds` ago, read once for all threads that ask: a class that polls pays for its
    own runs alone.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._read: tuple[float, Standing] | None = None

    def __call__(self, session: Session) -> Standing:
        """As `standing`."""
        with self._lock:
            now = time.monotonic()
            if self._read is None or now - self._read[0] >= self._seconds:
                self._read = now, standing(session)
            return self._read[1]


def place_of(
    session: Session, experiment_id: str, look: Callable[[Session], Standing] = standing
) -> QueuePlace | None:
    """The place of the experiment's first claimable run; None when it has none.

    Counted from how many runs each owner has waiting, without listing them: whoever polls pays for the owners, not for
    the queue. Its start is estimated from the means of those ahead. `look` may answer with how the queue stood a moment
    ago.
    """
    first = session.execute(_first_claimable(), {"experiment_id": experiment_id}).first()
    if first is None:
        return None
    place = {
        name: getattr(first, name)
        for name in ("owner", "priority", "created_at", "experiment_id", "position")
    }
    before: int = session.execute(_older_of_its_line(), place).scalar_one()
    stands = look(session)
    if not stands.has(first.owner, first.priority, before):
        stands = standing(session)  # the run has come since
    ahead = _ahead(
        [line for line in stands.lines if line.priority >= first.priority],
        stands.running,
        stands.turns,
        (first.owner, first.priority),
        before,
    )
    seconds = sum(line.nominal_seconds / line.count * count for line, count in ahead)
    position = 1 + sum(count for _, count in ahead)
    start = _start(stands.free, position - 1, seconds)
    return QueuePlace(
        position, first.id, experiment_id, first.owner, first.priority, first.created_at, start
    )


# Statements are made once: to make one takes longer than to ask it, and whoever waits asks all of them again and again.


@cache
def _first_claimable() -> Select[str, str, str, int, datetime, int]:
    best_first = (
        col(Run.priority).desc(),
        col(Run.created_at),
        col(Run.experiment_id),
        col(Run.position),
    )
    columns = (
        col(Run.id),
        col(Run.experiment_id),
        col(Run.owner),
        col(Run.priority),
        col(Run.created_at),
        col(Run.position),
    )
    return (
        select_columns(*columns)
        .where(claimable(), col(Run.experiment_id) == bindparam("experiment_id"))
        .order_by(*best_first)
        .limit(1)
    )


@cache
def _older_of_its_line() -> Select[int]:
    own = (col(Run.owner) == bindparam("owner"), col(Run.priority) == bindparam("priority"))
    age = tuple_(col(Run.created_at), col(Run.experiment_id), col(Run.position))
    than = tuple_(
        bindparam("created_at", type_=UTCDateTime),
        bindparam("experiment_id", type_=String()),
        bindparam("position", type_=Integer()),
    )
    return select_columns(func.count()).select_from(Run).where(claimable(), *own, age < than)


def epochs_trained(run: Run) -> float:
    """Whole epochs and the part of the one that is under way."""
    return run.epochs_done + (run.step / run.num_steps if run.num_steps else 0.0)


@dataclass(frozen=True)
class _Line:
    """An owner's claimable runs of one priority; `nominal_seconds` of all of them, `since` is when the oldest was
    made.
    """

    priority: int
    owner: str
    count: int
    nominal_seconds: float
    since: datetime


@cache
def _lines() -> Executable:
    """The columns of `_Line`, of the highest priority first."""
    keys = (col(Run.priority), col(Run.owner))
    numbers = (
        func.count(),
        func.coalesce(func.sum(Experiment.nominal_seconds), 0.0),
        func.min(Run.created_at),
    )
    rows = (
        select_columns(*keys, *numbers)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(claimable())
        .group_by(*keys)
    )
    return rows.order_by(keys[0].desc())


def _ahead(
    lines: Sequence[_Line],
    running: Counter[str],
    turns: dict[str, int],
    mine: tuple[str, int],
    before: int,
) -> list[tuple[_Line, int]]:
    """How many of each line are taken before a run of the line `mine` (owner, priority) that has `before` of its own
    line before it.

    Claims take the owner with the fewest runs under way, then the one served longest ago. So when a run is taken at
    whose owner n are under way, every other owner has come to n too, as far as their lines and those under way allow;
    of the owners at n come first those who were there already, then those who were at n - 1, and so on: each was served
    just before the next.
    """
    running, turns = running.copy(), dict(turns)
    owner, priority = mine
    found: list[tuple[_Line, int]] = []
    for level in dict.fromkeys(line.priority for line in lines):
        standing = [line for line in lines if line.priority == level]
        rank = {
            line.owner: (-running[line.owner], turns.get(line.owner, 0), line.since)
            for line in standing
        }
        if level == priority:
            at = running[owner] + before
            for line in standing:
                taken = min(line.count, max(0, at - running[line.owner]))
                is_level = running[line.owner] + taken == at and taken < line.count
                found.append(
                    (
                        line,
                        before
                        if line.owner == owner
                        else taken + (is_level and rank[line.owner] < rank[owner]),
                    )
                )
            return found
        last_served = sorted(
            standing, key=lambda line: (running[line.owner] + line.count, *rank[line.owner])
        )
        latest = max(turns.values(), default=0)
        turns |= {line.owner: latest + place for place, line in enumerate(last_served, start=1)}
        running += Counter({line.owner: line.count for line in standing})
        found += [(line, line.count) for line in standing]
    return found


def _start(
    free: tuple[Sequence[float], float] | None, ahead: int, nominal_seconds: float
) -> datetime | None:
    """When a run starts with so many ahead of it, which take so long together, each as long as the others; `free` as of
    `_free`.
    """
    if free is None:
        return None
    times, pace = list(free[0]), free[1]
    each = pace * nominal_seconds / ahead if ahead else 0.0
    level = len(times) * math.ceil((max(times) - min(times)) / each) if each else ahead
    rounds = max(0, ahead - level) // len(
        times
    )  # once all workers are level, a round of runs takes each as long
    for _ in range(ahead - rounds * len(times) if each else 0):
        heapq.heapreplace(times, times[0] + each)
    return utc_now() + timedelta(seconds=times[0] + rounds * each)


def _starts(session: Session, waiting: Sequence[Waiting]) -> list[datetime | None]:
    """When each would start, if every run took its nominal time at the pace of late: whichever worker is free first
    takes the next.
    """
    free = _free(session, num_online(session))
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


def _free(session: Session, workers: int) -> tuple[list[float], float] | None:
    """In how many seconds each of so many workers will be free, as a heap, and the pace; None without a worker, or
    before any run has ended.
    """
    pace = _pace(session) if workers else None
    if pace is None:
        return None
    left = [
        pace * (nominal or 0.0) * (1 - min(1.0, (done + (step / steps if steps else 0.0)) / epochs))
        for done, step, steps, epochs, nominal in session.execute(_under_way())
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
    columns = (
        col(Run.epochs_done),
        col(Run.step),
        col(Run.num_steps),
        col(Run.epochs),
        col(Experiment.nominal_seconds),
    )
    return (
        select_columns(*columns)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.RUNNING)
    )


@cache
def _turns() -> Select[str, int]:
    return select_columns(col(Owner.name), col(Owner.turn))


@cache
def _under_way_by_owner() -> Select[str, int]:
    return (
        select_columns(col(Run.owner), func.count())
        .where(col(Run.status) == RunStatus.RUNNING)
        .group_by(col(Run.owner))
    )


def _has_queued() -> ColumnElement[bool]:
    return col(Experiment.id).in_(
        select_columns(col(Run.experiment_id)).where(col(Run.status) == RunStatus.QUEUED)
    )
