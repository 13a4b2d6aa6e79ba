"""How the queue stands, the same for all who wait in it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Executable, Select, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.pace import free_workers
from app.services.experiments.speeds import Speeds, speeds
from app.services.lifecycle.queueing import claimable
from app.services.lifecycle.workers import kind_of_device, online, trouble_of
from app.services.quotas import HoursUsedUp, out_of_hours
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Owner, Run


@dataclass(frozen=True)
class Standing:
    """How the queue stands, the same for all who wait in it; `spent` has the owners whose runs wait because they have
    trained as long as they may, and who have no line.
    """

    lines: Sequence["WaitingLine"]
    running: Counter[str]
    turns: dict[str, int]
    num_online: int
    free: Sequence[float] | None
    """As of `free_workers`."""
    spent: Mapping[str, HoursUsedUp]
    unfit: str | None = None
    """Which workers cannot train, while none can; as of `workers.trouble_of`."""
    kinds: frozenset[str] = frozenset()
    """`cpu` and `cuda`, as far as workers online have them."""

    def has(self, owner: str, priority: int, before: int) -> bool:
        """Whether a run with so many of its own line before it was there."""
        return any(
            (line.owner, line.priority) == (owner, priority) and line.count > before
            for line in self.lines
        )


def standing(session: Session, look_at_speeds: Callable[[Session], Speeds] = speeds) -> Standing:
    """How the queue stands now; how fast workers are may be known from a moment ago."""
    running = Counter({row[0]: row[1] for row in session.execute(_under_way_by_owner())})
    turns = {row[0]: row[1] for row in session.execute(_turns())}
    seen = online(session)
    fit = [worker for worker in seen if worker.trouble is None]
    spent = out_of_hours(session)
    lately = look_at_speeds(session)
    return Standing(
        [line for line in _waiting_lines(session, lately) if line.owner not in spent],
        running,
        turns,
        len(fit),
        free_workers(session, lately, len(fit)),
        spent,
        None if fit else trouble_of(seen),
        frozenset(kind_of_device(worker.device) for worker in fit),
    )


class LatestStanding:
    """How the queue stood at most `seconds` ago, read once for all threads that ask: a class that polls pays for its
    own runs alone.
    """

    def __init__(
        self, seconds: float, look_at_speeds: Callable[[Session], Speeds] = speeds
    ) -> None:
        self._seconds = seconds
        self._look_at_speeds = look_at_speeds
        self._lock = threading.Lock()
        self._read: tuple[float, Standing] | None = None

    def __call__(self, session: Session) -> Standing:
        """As `standing`."""
        with self._lock:
            now = time.monotonic()
            if self._read is None or now - self._read[0] >= self._seconds:
                self._read = now, standing(session, self._look_at_speeds)
            return self._read[1]


@dataclass(frozen=True)
class WaitingLine:
    """An owner's claimable runs of one priority; `seconds` is what all take, `since` when the oldest was made."""

    priority: int
    owner: str
    count: int
    seconds: float
    since: datetime


def _waiting_lines(session: Session, lately: Speeds) -> list[WaitingLine]:
    """Of the highest priority first."""
    lines: dict[tuple[int, str], WaitingLine] = {}
    for priority, owner, kind, arch, count, nominal, since in session.execute(_lines()):
        seconds = count * lately.seconds(kind, arch, nominal / count)
        line = lines.get((priority, owner), WaitingLine(priority, owner, 0, 0.0, since))
        lines[priority, owner] = WaitingLine(
            priority,
            owner,
            line.count + count,
            line.seconds + seconds,
            min(line.since, since),
        )
    return list(lines.values())


@cache
def _lines() -> Executable:
    """An owner's claimable runs of one priority, kind and architecture, of the highest priority first."""
    keys = (col(Run.priority), col(Run.owner), col(Experiment.kind), col(Experiment.arch))
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
