"""How the queue stands, the same for all who wait in it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
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
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Experiment, Owner, Run

MEANS_SECONDS = 10.0
"""How old the mean of a line's runs may be, where standings are read again and again."""


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

    @property
    def stuck(self) -> list[str]:
        """As of `TrainsOn.stuck`."""
        return TrainsOn.stuck(self.kinds)

    def level_of(self, priority: int, trains_on: str) -> tuple[bool, int]:
        """As of `WaitingLine.level`."""
        return trains_on in self.stuck, -priority

    def has(self, owner: str, level: tuple[bool, int], before: int) -> bool:
        """Whether a run with so many of its own line before it was there."""
        return any(
            (line.owner, line.level) == (owner, level) and line.count > before
            for line in self.lines
        )


Means = Mapping[tuple[int, str], float]
"""Seconds of a run, by the priority and the owner of its line."""


def standing(
    session: Session,
    look_at_speeds: Callable[[Session], Speeds] = speeds,
    look_at_means: Callable[[Session, Speeds], Means] | None = None,
) -> Standing:
    """How the queue stands now; how fast workers are, and how long a line's runs take, may be known from a moment
    ago.
    """
    running = Counter({row[0]: row[1] for row in session.execute(_under_way_by_owner())})
    turns = {row[0]: row[1] for row in session.execute(_turns())}
    seen = online(session)
    fit = [worker for worker in seen if worker.trouble is None]
    spent = out_of_hours(session)
    lately = look_at_speeds(session)
    kinds = frozenset(kind_of_device(worker.device) for worker in fit)
    means = (look_at_means or line_means)(session, lately)
    lines = _waiting_lines(session, means, TrainsOn.stuck(kinds))
    return Standing(
        [line for line in lines if line.owner not in spent],
        running,
        turns,
        len(fit),
        free_workers(session, lately, len(fit)),
        spent,
        None if fit else trouble_of(seen),
        kinds,
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
        self._means: tuple[float, Means] | None = None

    def __call__(self, session: Session) -> Standing:
        """As `standing`."""
        with self._lock:
            now = time.monotonic()
            if self._read is None or now - self._read[0] >= self._seconds:
                self._read = now, self.exactly(session)
            return self._read[1]

    def exactly(self, session: Session) -> Standing:
        """As it stands now. Which experiments wait is counted; how long a line's runs take is not worked out each
        time.
        """
        return standing(session, self._look_at_speeds, self._means_lately)

    def _means_lately(self, session: Session, lately: Speeds) -> Means:
        now = time.monotonic()
        if self._means is None or now - self._means[0] >= MEANS_SECONDS:
            self._means = now, line_means(session, lately)
        return self._means[1]


@dataclass(frozen=True)
class WaitingLine:
    """An owner's claimable runs of one level; `seconds` is what all take, `since` when the oldest was made."""

    level: tuple[bool, int]
    """Whether no worker online may take them, and their priority below zero: the least comes first."""
    owner: str
    count: int
    seconds: float
    since: datetime


def _waiting_lines(session: Session, means: Means, stuck: Collection[str]) -> list[WaitingLine]:
    """In the order of their levels. The mean of all others stands for a line that is not among the means yet."""
    usual = sum(means.values()) / len(means) if means else 0.0
    lines: dict[tuple[tuple[bool, int], str], WaitingLine] = {}
    for priority, owner, trains_on, count, since in session.execute(_lines()):
        level = (trains_on in stuck, -priority)
        seconds = count * means.get((priority, owner), usual)
        line = lines.get((level, owner), WaitingLine(level, owner, 0, 0.0, since))
        lines[level, owner] = WaitingLine(
            level, owner, line.count + count, line.seconds + seconds, min(line.since, since)
        )
    return sorted(lines.values(), key=lambda line: line.level)


@cache
def _lines() -> Executable:
    """An owner's claimable runs of one priority and kind of device."""
    keys = (col(Run.priority), col(Run.owner), col(Run.trains_on))
    rows = select_columns(*keys, func.count(), func.min(Run.created_at)).where(claimable())
    return rows.group_by(*keys)


def line_means(session: Session, lately: Speeds) -> Means:
    """Seconds of a run of each line, as workers were lately."""
    found: dict[tuple[int, str], tuple[int, float]] = {}
    for priority, owner, kind, arch, count, nominal in session.execute(_costs()):
        before, seconds = found.get((priority, owner), (0, 0.0))
        more = count * lately.seconds(kind, arch, nominal / count)
        found[priority, owner] = before + count, seconds + more
    return {line: seconds / count for line, (count, seconds) in found.items()}


@cache
def _costs() -> Executable:
    """An owner's claimable runs of one priority, kind and architecture."""
    keys = (col(Run.priority), col(Run.owner), col(Experiment.kind), col(Experiment.arch))
    nominal = func.coalesce(func.sum(Experiment.nominal_seconds), 0.0)
    return (
        select_columns(*keys, func.count(), nominal)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(claimable())
        .group_by(*keys)
        .order_by(keys[0].desc())
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
