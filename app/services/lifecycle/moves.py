"""What every move of a run brings with it: a line in its history, and news for the runs that wait for it."""

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col

from app.states import RunStatus, StatusReason
from app.tables import LOCAL, Run, StatusChange, utc_now

USER = LOCAL
"""Who asks, while the service wants no keys."""

RECONCILER = "reconciler"


def remember(session: Session, run_id: str, attempt: int, before: RunStatus | None, after: RunStatus, reason: StatusReason, actor: str) -> None:
    """Append to the run's history who moved it, when and why."""
    session.add(StatusChange(run_id=run_id, attempt=attempt, from_status=before, to_status=after, reason=reason, actor=actor, at=utc_now()))


def tell_dependents(session: Session, run_id: str, became: RunStatus) -> None:
    """Runs that need this one may start now, or can never: then they end as failed, in the same transaction."""
    if became is RunStatus.SUCCEEDED:
        waiting = (col(Run.needs) == run_id, col(Run.status_reason) == StatusReason.WAITING_FOR_TEACHER)
        session.execute(update(Run).where(*waiting).values(status_reason=StatusReason.WAITING_FOR_WORKER))
    elif became.is_terminal:
        for before in (RunStatus.QUEUED, RunStatus.PAUSED):
            ended = session.execute(
                update(Run)
                .where(col(Run.needs) == run_id, col(Run.status) == before)
                .values(status=RunStatus.FAILED, status_reason=StatusReason.TEACHER_FAILED, error=_teacher_failed(run_id, became), finished_at=utc_now())
                .returning(col(Run.id), col(Run.attempt))
            ).all()
            for dependent, attempt in ended:
                remember(session, dependent, attempt, before, RunStatus.FAILED, StatusReason.TEACHER_FAILED, RECONCILER)
                tell_dependents(session, dependent, RunStatus.FAILED)


def _teacher_failed(run_id: str, became: RunStatus) -> dict[str, Any]:
    return {
        "code": "teacher_failed",
        "message": f"run {run_id}, which it builds on, ended as {became}",
        "hint": f"GET /runs/{run_id} says why; retry its experiment first, then this one",
        "traceback_tail": "",
    }
