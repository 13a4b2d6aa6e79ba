"""Who comes next: the highest priority, then the owner with the fewest runs under way, then the one served longest ago,
then the oldest run. What no worker online may take, for want of its kind of device, stands behind all others.

An owner's `turn` is a count, not a time: a claim sets it to one more than the largest there is. So two owners who have
both queued much take turns run by run, however much earlier one of them came, and a third who comes later is next.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, or_, update
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.services.lifecycle.kinds import for_kinds
from app.services.lifecycle.workers import kinds_of_devices
from app.services.quotas import (
    QuotaKind,
    first_day,
    limit_of,
    of_their_role,
    out_of_hours,
    owners_out_of_hours,
)
from app.storage.advisory_locks import AdvisoryLock, hold
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Experiment, Owner, RoleQuota, Run


@dataclass(frozen=True)
class Waiting:
    """A run that could be claimed."""

    run_id: str
    experiment_id: str
    owner: str
    priority: int
    created_at: datetime
    trains_on: str
    """A `TrainsOn`."""


def queued_runs(session: Session) -> int:
    """How many runs could be claimed now."""
    counted = select_columns(func.count()).select_from(Run).where(claimable(), has_hours())
    return int(session.execute(counted, {"first_day": first_day()}).scalar_one())


@cache
def claimable() -> ColumnElement[bool]:
    """Queued, and what it needs has succeeded. Made once: an alias takes longer than most queries."""
    teacher = aliased(Run)
    trained = select(teacher.id).where(col(teacher.status) == RunStatus.SUCCEEDED)
    return and_(
        col(Run.status) == RunStatus.QUEUED,
        or_(col(Run.needs).is_(None), col(Run.needs).in_(trained)),
    )


@cache
def has_hours() -> ColumnElement[bool]:
    """Its owner has not trained as long as they may; parameter `first_day`, as for `owners_out_of_hours`."""
    spent = owners_out_of_hours().with_only_columns(col(Owner.name))
    return col(Run.owner).not_in(spent.correlate(None))


def is_any_to_take(session: Session, max_running_per_owner: int, kinds: Collection[str]) -> bool:
    """Whether a claim by a worker of any memory, on a device of one of these kinds, would find a run now."""
    found, _ = _to_take(None, max_running_per_owner, for_kinds(kinds))
    return session.execute(found.limit(1), {"first_day": first_day()}).first() is not None


def next_run(
    memory_bytes: int | None, max_running_per_owner: int, may_take: ColumnElement[bool]
) -> ColumnElement[str]:
    """The id of the run that a claim takes, of those that it `may_take`; null when there is none. Parameter
    `first_day`, as for `owners_out_of_hours`.

    `max_running_per_owner` holds where an owner has no quota of their own or of their role; 0 means any number.
    """
    found, running = _to_take(memory_bytes, max_running_per_owner, may_take)
    return (
        found.order_by(
            col(Run.priority).desc(),
            running,
            func.coalesce(col(Owner.turn), 0),
            col(Run.created_at),
            col(Run.experiment_id),
            col(Run.position),
        )
        .limit(1)
        .with_for_update(skip_locked=True, of=Run)
        .scalar_subquery()
    )


def one_at_a_time(session: Session) -> None:
    """Until the transaction ends no other claims: each sees the turns and the runs under way that the one before has
    left. SQLite's writers do so anyway.
    """
    hold(session.connection(), AdvisoryLock.CLAIM)


def has_been_served(session: Session, owner: str) -> None:
    """The owner goes to the back of the line of owners."""
    latest = select_columns(func.coalesce(func.max(col(Owner.turn)), 0) + 1).scalar_subquery()
    session.execute(update(Owner).where(col(Owner.name) == owner).values(turn=latest))


def in_order(session: Session, first: int | None = None) -> list[Waiting]:
    """Every claimable run, or the first so many, in the order in which claims would take them if none under way
    finished before. Not those of owners who have trained as long as they may.
    """
    in_line = (col(Run.created_at), col(Run.experiment_id), col(Run.position))
    nth = func.row_number().over(
        partition_by=(col(Run.owner), col(Run.priority), col(Run.trains_on)), order_by=in_line
    )
    columns: tuple[Any, ...] = (
        col(Run.id).label("run_id"),
        col(Run.experiment_id),
        col(Run.owner),
        col(Run.priority),
        col(Run.created_at),
        col(Run.trains_on),
        col(Run.position),
    )
    lines = select_columns(*columns, nth.label("nth")).where(claimable()).subquery()
    found = select_columns(*(lines.c[name] for name in Waiting.__dataclass_fields__))
    if first is not None:  # of a line so many at most are among them
        found = found.where(lines.c.nth <= first)
    rows = session.execute(
        found.order_by(
            lines.c.priority.desc(), lines.c.created_at, lines.c.experiment_id, lines.c.position
        )
    ).all()
    spent = out_of_hours(session)
    stuck = TrainsOn.stuck(kinds_of_devices(session))
    waiting = sorted(
        (run for run in (Waiting(*row) for row in rows) if run.owner not in spent),
        key=lambda run: run.trains_on in stuck,
    )
    owners = {run.owner for run in waiting}
    if len(owners) < 2:
        return waiting[:first]
    under_way = _under_way()
    running = defaultdict(
        int,
        {
            row.owner: row.running
            for row in session.execute(select_columns(under_way.c.owner, under_way.c.running))
        },
    )
    turns = defaultdict(int, {owner.name: owner.turn for owner in session.exec(select(Owner))})
    return _take_turns(waiting, running, turns, stuck, first)


def _to_take(
    memory_bytes: int | None, max_running_per_owner: int, may_take: ColumnElement[bool]
) -> tuple[Select[str], ColumnElement[int]]:
    """The ids of the runs that may be taken now, in no order, joined to their owners, and how many runs these have
    under way. Parameter `first_day`.
    """
    under_way = _under_way()
    running = func.coalesce(under_way.c.running, 0)
    limit = limit_of(QuotaKind.RUNNING, max_running_per_owner)
    too_large = select(Experiment.id).where(col(Experiment.memory_bytes) > (memory_bytes or 0))
    conditions = [claimable(), may_take, has_hours(), or_(limit == 0, running < limit)]
    conditions += [] if memory_bytes is None else [col(Run.experiment_id).not_in(too_large)]
    found = (
        select_columns(col(Run.id))
        .outerjoin(under_way, under_way.c.owner == col(Run.owner))
        .outerjoin(Owner, col(Owner.name) == col(Run.owner))
        .outerjoin(RoleQuota, of_their_role())
        .where(*conditions)
    )
    return found, running


def _under_way() -> Subquery:
    """How many runs each owner has under way."""
    other = aliased(Run)
    counts = select_columns(col(other.owner), func.count().label("running")).where(
        col(other.status) == RunStatus.RUNNING
    )
    return counts.group_by(col(other.owner)).subquery()


def _take_turns(
    waiting: list[Waiting],
    running: dict[str, int],
    turns: dict[str, int],
    stuck: Collection[str],
    first: int | None,
) -> list[Waiting]:
    """What repeated claims do, without claiming, or the first so many of them; `waiting` comes by priority and age,
    what is `stuck` at the end.
    """
    ordered: list[Waiting] = []
    latest = max(turns.values(), default=0)
    levels: dict[tuple[bool, int], dict[str, deque[Waiting]]] = defaultdict(
        lambda: defaultdict(deque)
    )
    for run in waiting:
        levels[run.trains_on in stuck, -run.priority][run.owner].append(run)
    for level in sorted(levels):
        lines = levels[level]

        def rank(
            owner: str, lines: dict[str, deque[Waiting]] = lines
        ) -> tuple[int, int, datetime, str, str]:
            first = lines[owner][0]
            return running[owner], turns[owner], first.created_at, first.experiment_id, owner

        heap = [rank(owner) for owner in lines]
        heapq.heapify(heap)
        while heap:
            if len(ordered) == first:
                return ordered
            owner = heapq.heappop(heap)[-1]
            ordered.append(lines[owner].popleft())
            latest += 1
            running[owner] += 1
            turns[owner] = latest
            if lines[owner]:
                heapq.heappush(heap, rank(owner))
    return ordered
