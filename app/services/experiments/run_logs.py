"""A run's logs as who follows them must know them: which attempts there are, where, and whether more may come."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import LogElsewhere
from app.services.experiments.logs import find_log, why_missing
from app.storage.tables import Attempt, Run


@dataclass(frozen=True)
class AttemptOfRun:
    """One attempt at it."""

    number: int
    worker: str
    started_at: datetime
    has_ended: bool


@dataclass(frozen=True)
class RunLogs:
    """The attempts at a run, the first first, and whether it has ended, so that none will follow by itself."""

    run_id: str
    is_over: bool
    attempts: tuple[AttemptOfRun, ...]

    @property
    def newest(self) -> int:
        """The last attempt's number, 0 where nothing has begun."""
        return self.attempts[-1].number if self.attempts else 0

    def attempt(self, number: int) -> AttemptOfRun | None:
        """The attempt of that number."""
        return next((one for one in self.attempts if one.number == number), None)

    def after(self, number: int) -> AttemptOfRun | None:
        """The next attempt."""
        return next((one for one in self.attempts if one.number > number), None)

    def why_missing(self, attempt: AttemptOfRun, home: Path) -> str | None:
        """Why an attempt's log cannot be read here; None where it can, or is still to be written on this machine."""
        if find_log(self.run_id, attempt.number, home) is not None:
            return None
        reason = why_missing(self.run_id, attempt.number, attempt.worker)
        is_told = attempt.has_ended or isinstance(reason, LogElsewhere)
        return str(reason) if is_told else None


def run_logs(session: Session, run_ids: Collection[str]) -> dict[str, RunLogs]:
    """Of those of the runs that are there, by two statements."""
    runs = session.execute(
        select_columns(col(Run.id), col(Run.status)).where(col(Run.id).in_(run_ids))
    ).all()
    attempts: dict[str, list[AttemptOfRun]] = {run_id: [] for run_id, _ in runs}
    columns = (
        col(Attempt.run_id),
        col(Attempt.number),
        col(Attempt.worker_id),
        col(Attempt.started_at),
        col(Attempt.finished_at),
    )
    rows = select_columns(*columns).where(col(Attempt.run_id).in_(run_ids))
    for run_id, number, worker, started_at, finished_at in session.execute(
        rows.order_by(col(Attempt.run_id), col(Attempt.number))
    ):
        if run_id in attempts:
            attempts[run_id].append(
                AttemptOfRun(number, worker, started_at, finished_at is not None)
            )
    return {
        run_id: RunLogs(run_id, status.is_terminal, tuple(attempts[run_id]))
        for run_id, status in runs
    }
