"""The queue as people see it: which place a run has, and about when it starts."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    String,
    bindparam,
    func,
    tuple_,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.pace import start_behind, starts_of
from app.services.experiments.standing import Standing, WaitingLine, standing
from app.services.lifecycle.queueing import claimable, in_order
from app.storage.column_types import UTCDateTime
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class QueuePlace:
    """A run's place in the queue, from 1, as workers will take them; `starts_at` is an estimate, None where no worker
    online may take it: such a run stands behind those that one may take.
    """

    position: int
    run_id: str
    experiment_id: str
    owner: str
    priority: int
    queued_at: datetime
    starts_at: datetime | None

    @property
    def ahead(self) -> int:
        """How many runs are taken before it."""
        return self.position - 1


class Claimable(Protocol):
    """A run that could be claimed, or those columns of it."""

    id: str
    experiment_id: str
    owner: str
    priority: int
    created_at: datetime
    position: int
    trains_on: str


def queue(session: Session, first: int | None = None) -> list[QueuePlace]:
    """Every claimable run, or the first so many, in the order in which workers will take them."""
    waiting = in_order(session, first)
    starts = starts_of(session, waiting)
    return [
        QueuePlace(
            position, run.run_id, run.experiment_id, run.owner, run.priority, run.created_at, start
        )
        for position, (run, start) in enumerate(zip(waiting, starts, strict=True), start=1)
    ]


def names_and_seeds(
    session: Session, run_ids: Collection[str]
) -> dict[str, tuple[str | None, int]]:
    """The experiments' names and the seeds of these runs."""
    rows = (
        select_columns(col(Run.id), col(Experiment.name), col(Run.seed))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.id).in_(run_ids))
    )
    return {run_id: (name, seed) for run_id, name, seed in session.execute(rows)}


def place_of(
    session: Session, experiment_id: str, look: Callable[[Session], Standing] = standing
) -> QueuePlace | None:
    """The place of the experiment's first claimable run; None when it has none, and where its owner has trained as long
    as they may.

    Counted from how many runs each owner has waiting, without listing them: whoever polls pays for the owners, not for
    the queue. Its start is estimated from the means of those ahead. `look` may answer with how the queue stood a moment
    ago.
    """
    first = session.execute(_first_claimable(), {"experiment_id": experiment_id}).first()
    return None if first is None else _place(session, first, look)


def place_among(
    session: Session, runs: Sequence[Run], look: Callable[[Session], Standing]
) -> QueuePlace | None:
    """As `place_of`, of all runs of an experiment, which are read already."""
    queued = [run for run in runs if run.status == RunStatus.QUEUED]
    if any(run.needs is not None for run in queued):  # what they need is not among them
        return place_of(session, queued[0].experiment_id, look)
    first = min(queued, key=lambda run: (-run.priority, run.created_at, run.position), default=None)
    return None if first is None else _place(session, first, look)


def places_of(
    session: Session, experiment_ids: Collection[str], look: Callable[[Session], Standing]
) -> dict[str, QueuePlace]:
    """As `place_of`, of many experiments by one statement; those that have no place are left out."""
    stands = look(session)
    firsts = _firsts(session, experiment_ids, stands)
    if not all(
        _is_in(stands, one, one.before) or one.owner in stands.spent for one in firsts.values()
    ):
        stands = standing(session)  # some have come since
        firsts = _firsts(session, experiment_ids, stands)
    return {
        experiment_id: _behind(stands, one, one.before)
        for experiment_id, one in firsts.items()
        if _is_in(stands, one, one.before)
    }


def _firsts(session: Session, experiment_ids: Collection[str], stands: Standing) -> dict[str, Any]:
    asked = {"experiments": [*experiment_ids], "stuck": stands.stuck}
    return {row.experiment_id: row for row in session.execute(_firsts_in_line(), asked)}


def _place(
    session: Session, first: Claimable, look: Callable[[Session], Standing]
) -> QueuePlace | None:
    stands = look(session)
    before = _num_before(session, first, stands)
    if not _is_in(stands, first, before) and first.owner not in stands.spent:
        stands = standing(session)  # the run has come since, or goes elsewhere
        before = _num_before(session, first, stands)
    return _behind(stands, first, before) if _is_in(stands, first, before) else None


def _num_before(session: Session, first: Claimable, stands: Standing) -> int:
    """How many of its own line are taken before it."""
    place = {
        name: getattr(first, name)
        for name in ("owner", "priority", "created_at", "experiment_id", "position")
    }
    asked = {**place, "stuck": stands.stuck, "is_stuck": first.trains_on in stands.stuck}
    return int(session.execute(_older_of_its_line(), asked).scalar_one())


def _is_in(stands: Standing, first: Claimable, before: int) -> bool:
    """Whether the queue as it stood has the run, with so many of its own line before it."""
    level = stands.level_of(first.priority, first.trains_on)
    return first.owner not in stands.spent and stands.has(first.owner, level, before)


def _behind(stands: Standing, first: Claimable, before: int) -> QueuePlace:
    level = stands.level_of(first.priority, first.trains_on)
    ahead = _ahead(
        [line for line in stands.lines if line.level <= level],
        stands.running,
        stands.turns,
        (first.owner, level),
        before,
    )
    seconds = sum(line.seconds / line.count * count for line, count in ahead)
    position = 1 + sum(count for _, count in ahead)
    return QueuePlace(
        position,
        first.id,
        first.experiment_id,
        first.owner,
        first.priority,
        first.created_at,
        start_behind(stands.free, position - 1, seconds)
        if TrainsOn(first.trains_on).may_go(stands.kinds)
        else None,
    )


# Statements are made once: to make one takes longer than to ask it, and whoever waits asks all of them again and again.


@cache
def _first_claimable() -> Select[str, str, str, int, datetime, int, str]:
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
        col(Run.trains_on),
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
    alike = _is_stuck() == bindparam("is_stuck", type_=Boolean())
    return select_columns(func.count()).select_from(Run).where(claimable(), *own, alike, age < than)


@cache
def _firsts_in_line() -> Select[Any]:
    """The first claimable run of each of some experiments, with how many of its own line are before it."""
    line = (col(Run.owner), col(Run.priority))
    lines = (*line, _is_stuck())
    age = (col(Run.created_at), col(Run.experiment_id), col(Run.position))
    before = func.row_number().over(partition_by=lines, order_by=age) - 1
    its: BindParameter[str] = bindparam("experiments", expanding=True)
    owners = select_columns(col(Experiment.owner)).where(col(Experiment.id).in_(its))
    waiting = (
        select_columns(col(Run.id), col(Run.trains_on), *line, *age, before.label("before"))
        .where(claimable(), col(Run.owner).in_(owners))
        .subquery()
    )
    best_first = (waiting.c.priority.desc(), waiting.c.created_at, waiting.c.position)
    nth = func.row_number().over(partition_by=waiting.c.experiment_id, order_by=best_first)
    ranked = (
        select_columns(waiting, nth.label("nth")).where(waiting.c.experiment_id.in_(its)).subquery()
    )
    return select_columns(ranked).where(ranked.c.nth == 1)


def _is_stuck() -> ColumnElement[bool]:
    stuck: BindParameter[str] = bindparam("stuck", expanding=True)
    return col(Run.trains_on).in_(stuck)


def _ahead(
    lines: Sequence[WaitingLine],
    running: Counter[str],
    turns: dict[str, int],
    mine: tuple[str, tuple[bool, int]],
    before: int,
) -> list[tuple[WaitingLine, int]]:
    """How many of each line are taken before a run of the line `mine` (owner, level) that has `before` of its own
    line before it.

    Claims take the owner with the fewest runs under way, then the one served longest ago. So when a run is taken at
    whose owner n are under way, every other owner has come to n too, as far as their lines and those under way allow;
    of the owners at n come first those who were there already, then those who were at n - 1, and so on: each was served
    just before the next.
    """
    running, turns = running.copy(), dict(turns)
    owner, own_level = mine
    found: list[tuple[WaitingLine, int]] = []
    for level in dict.fromkeys(line.level for line in lines):
        of_level = [line for line in lines if line.level == level]
        rank = {
            line.owner: (-running[line.owner], turns.get(line.owner, 0), line.since)
            for line in of_level
        }
        if level == own_level:
            at = running[owner] + before
            for line in of_level:
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
            of_level, key=lambda line: (running[line.owner] + line.count, *rank[line.owner])
        )
        latest = max(turns.values(), default=0)
        turns |= {line.owner: latest + nth for nth, line in enumerate(last_served, start=1)}
        running += Counter({line.owner: line.count for line in of_level})
        found += [(line, line.count) for line in of_level]
    return found
