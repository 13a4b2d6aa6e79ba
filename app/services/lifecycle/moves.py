"""What every move of a run brings with it: a line in its history, and news for the runs that wait for it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.storage.states import RunStatus, StatusReason
from app.storage.tables import LOCAL, Run, StatusChange, utc_now

USER = LOCAL
"""Who asks, while the service wants no keys."""

RECONCILER = "reconciler"

WAITING = (RunStatus.QUEUED, RunStatus.PAUSED)
"""Where a run that waits for another may stand."""


@dataclass(frozen=True)
class Move:
    """A run's change of status."""

    run_id: str
    attempt: int
    before: RunStatus | None
    after: RunStatus
    reason: StatusReason


def remember(session: Session, moves: Iterable[Move], actor: str) -> None:
    """Append to the runs' histories who moved them, when and why."""
    now = utc_now()
    rows = [
        {
            "run_id": move.run_id,
            "attempt": move.attempt,
            "from_status": move.before,
            "to_status": move.after,
            "reason": move.reason,
            "actor": actor,
            "at": now,
        }
        for move in moves
    ]
    if rows:
        session.execute(insert(StatusChange), rows)


def tell_dependents(session: Session, run_ids: Sequence[str], became: RunStatus) -> None:
    """Runs that need one of these may start now, or can never: then they end as failed, in the same transaction."""
    if not run_ids:
        return
    if became is RunStatus.SUCCEEDED:
        waiting = (
            col(Run.needs).in_(run_ids),
            col(Run.status_reason) == StatusReason.WAITING_FOR_TEACHER,
        )
        session.execute(
            update(Run).where(*waiting).values(status_reason=StatusReason.WAITING_FOR_WORKER)
        )
    elif became.is_terminal:
        _end_dependents(session, run_ids, became)


def _end_dependents(session: Session, run_ids: Sequence[str], became: RunStatus) -> None:
    """By what they need, since each is told which run that was; mostly it is one that many need, or none needs."""
    waiting = select_columns(col(Run.id), col(Run.needs), col(Run.status)).where(
        col(Run.needs).in_(run_ids), col(Run.status).in_(WAITING)
    )
    told: dict[tuple[str, RunStatus], list[str]] = defaultdict(list)
    for dependent, needed, before in session.execute(
        waiting.order_by(col(Run.id)).with_for_update()
    ):
        told[needed, before].append(dependent)
    for (needed, before), dependents in told.items():
        error = _teacher_failed(needed, became)
        ended = session.execute(
            update(Run)
            .where(col(Run.id).in_(dependents), col(Run.status) == before)
            .values(
                status=RunStatus.FAILED,
                status_reason=StatusReason.TEACHER_FAILED,
                error=error,
                error_code=error["code"],
                finished_at=utc_now(),
            )
            .returning(col(Run.id), col(Run.attempt))
        ).all()
        moves = [
            Move(
                row.id,
                row.attempt,
                before,
                RunStatus.FAILED,
                StatusReason.TEACHER_FAILED,
            )
            for row in ended
        ]
        remember(session, moves, RECONCILER)
        tell_dependents(session, [move.run_id for move in moves], RunStatus.FAILED)


def _teacher_failed(run_id: str, became: RunStatus) -> dict[str, Any]:
    return {
        "code": "teacher_failed",
        "message": f"run {run_id}, which it builds on, ended as {became}",
        "hint": f"GET /runs/{run_id} says why; retry its experiment first, then this one",
        "traceback_tail": "",
    }
