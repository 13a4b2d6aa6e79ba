"""What people ask for: to queue, take over, cancel, pause, resume, retry and reorder runs."""

from collections.abc import Sequence

from sqlalchemy import null, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, col, select

from app.services.lifecycle.moves import USER, remember, tell_dependents
from app.states import RETRYABLE, RunStatus, StatusReason
from app.tables import Owner, Run, utc_now

WAITING = (RunStatus.QUEUED, RunStatus.PAUSED)


def enqueue(session: Session, runs: Sequence[Run], actor: str = USER) -> None:
    """Add new runs to the queue."""
    for owner in sorted({run.owner for run in runs}):
        _know(session, owner)
    session.add_all(runs)
    session.flush()
    for run in runs:
        remember(session, run.id, 0, None, RunStatus.QUEUED, StatusReason(run.status_reason), actor)


def take_over(session: Session, run_id: str, source: Run, actor: str = USER) -> bool:
    """queued -> succeeded with an equal run's results, before any attempt. False if the run was claimed or is finished already."""
    taken = {name: getattr(source, name) for name in ("best", "test", "environment", "stop_reason", "epochs_done")}
    moved = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status) == RunStatus.QUEUED, col(Run.attempt) == 0)
        .values(
            status=RunStatus.SUCCEEDED, status_reason=StatusReason.REUSED, reused_from=source.reused_from or source.id, step=0, finished_at=utc_now(), **taken
        )
        .returning(col(Run.id))
    ).one_or_none()
    if moved is None:
        return False
    remember(session, run_id, 0, RunStatus.QUEUED, RunStatus.SUCCEEDED, StatusReason.REUSED, actor)
    tell_dependents(session, run_id, RunStatus.SUCCEEDED)
    return True


def cancel(session: Session, run_id: str, actor: str = USER) -> bool:
    """queued or paused -> cancelled at once; running is asked to end. False if the run was finished already."""
    before = _hold_still(session, run_id)
    if before is None:
        return False
    row = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status).in_(WAITING))
        .values(status=RunStatus.CANCELLED, status_reason=StatusReason.CANCELLED_BY_USER, cancel_requested=True, finished_at=utc_now())
        .returning(col(Run.attempt))
    ).one_or_none()
    if row is not None:
        remember(session, run_id, row.attempt, RunStatus(before), RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER, actor)
        tell_dependents(session, run_id, RunStatus.CANCELLED)
        return True
    asked = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING)
        .values(cancel_requested=True, status_reason=StatusReason.CANCELLING)
        .returning(col(Run.id))
    ).one_or_none()
    return asked is not None


def pause(session: Session, run_id: str, actor: str = USER) -> bool:
    """queued -> paused at once; running is asked to save itself and leave. False if the run was paused or finished already."""
    _hold_still(session, run_id)
    row = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status) == RunStatus.QUEUED)
        .values(status=RunStatus.PAUSED, status_reason=StatusReason.PAUSED_BY_USER, pause_requested=False)
        .returning(col(Run.attempt))
    ).one_or_none()
    if row is not None:
        remember(session, run_id, row.attempt, RunStatus.QUEUED, RunStatus.PAUSED, StatusReason.PAUSED_BY_USER, actor)
        return True
    wanted = (col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING, col(Run.cancel_requested).is_(False))
    return session.execute(update(Run).where(*wanted).values(pause_requested=True).returning(col(Run.id))).one_or_none() is not None


def resume(session: Session, run_id: str, actor: str = USER) -> bool:
    """paused -> queued; a running run whose pause is not confirmed yet is to go on. False if there is nothing to resume."""
    reason = _reason_to_wait(session, run_id)
    _hold_still(session, run_id)
    if reason is not None:
        row = session.execute(
            update(Run)
            .where(col(Run.id) == run_id, col(Run.status) == RunStatus.PAUSED)
            .values(status=RunStatus.QUEUED, status_reason=reason, pause_requested=False)
            .returning(col(Run.attempt))
        ).one_or_none()
        if row is not None:
            remember(session, run_id, row.attempt, RunStatus.PAUSED, RunStatus.QUEUED, reason, actor)
            return True
    pausing = (col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING, col(Run.pause_requested).is_(True))
    return session.execute(update(Run).where(*pausing).values(pause_requested=False).returning(col(Run.id))).one_or_none() is not None


def prioritize(session: Session, run_id: str, priority: int) -> bool:
    """Give a run that waits another priority. False if it does not wait."""
    waiting = (col(Run.id) == run_id, col(Run.status).in_(WAITING))
    return session.execute(update(Run).where(*waiting).values(priority=priority).returning(col(Run.id))).one_or_none() is not None


def retry(session: Session, run_id: str, actor: str = USER) -> bool:
    """failed or cancelled -> queued, because a person asks for it; nothing else undoes an end. False if the run has not ended so, is gone,
    or needs a run that has itself failed or been cancelled.

    Attempts and fence go on counting, so a zombie of an attempt before the retry stays refused. Checkpoints stay too: the next
    attempt goes on from the newest whole one, and starts at epoch 1 where there is none. Crashes are counted anew, and batches are whole again.
    """
    reason = _reason_to_wait(session, run_id)
    if reason is None:
        return False
    forgotten = {
        "error": null(),
        "stop_reason": None,
        "finished_at": None,
        "worker_id": None,
        "cancel_requested": False,
        "pause_requested": False,
        "crashes": 0,
        "micro_batches": 1,
    }
    for before in sorted(RETRYABLE):
        row = session.execute(
            update(Run)
            .where(col(Run.id) == run_id, col(Run.status) == before)
            .values(status=RunStatus.QUEUED, status_reason=reason, **forgotten)
            .returning(col(Run.attempt))
        ).one_or_none()
        if row is not None:
            remember(session, run_id, row.attempt, before, RunStatus.QUEUED, reason, actor)
            return True
    return False


def _hold_still(session: Session, run_id: str) -> str | None:
    """The run's status, which stays until the transaction ends: no claim, release or end comes between the two moves that a verb tries."""
    return session.exec(select(Run.status).where(col(Run.id) == run_id).with_for_update()).one_or_none()


def _reason_to_wait(session: Session, run_id: str) -> StatusReason | None:
    """What a run waits for in the queue; None where it would wait for ever, because the run it needs has failed or been cancelled."""
    needed = session.exec(select(Run.needs).where(col(Run.id) == run_id)).one_or_none()
    if needed is None:
        return StatusReason.WAITING_FOR_WORKER
    # locked until the transaction ends, so that it cannot fail unseen while this run begins to wait for it
    teacher = session.exec(select(Run.status).where(col(Run.id) == needed).with_for_update()).one()
    if teacher in RETRYABLE:
        return None
    return StatusReason.WAITING_FOR_WORKER if teacher == RunStatus.SUCCEEDED else StatusReason.WAITING_FOR_TEACHER


def _know(session: Session, owner: str) -> None:
    """Give an owner who submits for the first time a place in the line of owners."""
    if session.get(Owner, owner) is None:
        insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        session.execute(insert(Owner).values(name=owner, turn=0).on_conflict_do_nothing())
