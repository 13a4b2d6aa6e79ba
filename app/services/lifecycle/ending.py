"""How a holder's attempt ends: as it says itself, or because it is lost."""

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlmodel import Session, col, select

from app.services.lifecycle.holding import Intent, Lease, LeaseLost, asked, held, intent_of, renew
from app.services.lifecycle.moves import RECONCILER, Move, remember, tell_dependents
from app.services.lifecycle.reports import Forgotten, Halved
from app.services.quotas import count_training
from app.storage.states import LEGAL_MOVES, RunStatus, StatusReason
from app.storage.tables import Attempt, Run, utc_now


def succeed(
    session: Session,
    lease: Lease,
    *,
    best: dict[str, Any],
    test: dict[str, Any],
    train: dict[str, Any] | None = None,
    stop_reason: str = "all_epochs",
    artifact_bytes: int = 0,
) -> None:
    """running -> succeeded, with files of so many bytes. Success that commits first wins over a cancel."""
    reason = StatusReason.COMPLETED if stop_reason == "all_epochs" else StatusReason.EARLY_STOPPED
    _finish(
        session,
        lease,
        RunStatus.SUCCEEDED,
        reason,
        best=best,
        test=test,
        train=train,
        stop_reason=stop_reason,
        artifact_bytes=artifact_bytes,
    )


def fail(session: Session, lease: Lease, error: dict[str, Any]) -> None:
    """running -> failed, with an error that carries a stable code."""
    _finish(session, lease, RunStatus.FAILED, StatusReason.TRAINING_FAILED, error=error)


def confirm_cancel(session: Session, lease: Lease) -> None:
    """running -> cancelled, once its trainer is dead."""
    _finish(session, lease, RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER)


def confirm_pause(session: Session, lease: Lease) -> None:
    """running -> paused, once its trainer has saved itself or is dead."""
    _leave(
        session,
        lease,
        RunStatus.PAUSED,
        StatusReason.PAUSED_BY_USER,
        actor=lease.worker_id,
        worker_id=None,
        pause_requested=False,
    )


def release(
    session: Session, lease: Lease, reason: StatusReason = StatusReason.WORKER_SHUTDOWN
) -> RunStatus:
    """running -> queued because the worker was asked to stop, which counts as no crash; cancelled or paused if that was
    asked for.
    """
    match asked(session, lease, lock=True):
        case Intent.CANCEL:
            confirm_cancel(session, lease)
            return RunStatus.CANCELLED
        case Intent.PAUSE:
            confirm_pause(session, lease)
            return RunStatus.PAUSED
        case Intent.NOTHING:
            _leave(session, lease, RunStatus.QUEUED, reason, actor=lease.worker_id, worker_id=None)
            return RunStatus.QUEUED


def crashed(
    session: Session, lease: Lease, message: str, max_crashes: int, last_words: str = ""
) -> None:
    """running -> queued because the trainer died, or -> failed with `crash_loop` at the last allowed time; cancelled or
    paused if that was asked for. `last_words` are the last lines of its log.
    """
    run = session.exec(
        select(Run).where(*held(lease)).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if run is None:
        raise LeaseLost(lease.run_id)
    to, reason, values = _after_a_crash(run, message, max_crashes, StatusReason.TRAINER_CRASHED)
    if "error" in values:
        values["error"]["traceback_tail"] = last_words
    _leave(session, lease, to, reason, actor=lease.worker_id, **values)


def out_of_memory(session: Session, lease: Lease, micro_batches: int) -> RunStatus:
    """running -> queued, to be tried again with each batch in `micro_batches` parts; cancelled or paused if that was
    asked for.

    No crash: it ends, because a batch can be halved only so often.
    """
    renew(session, lease, Halved(micro_batches))
    return release(session, lease, StatusReason.OUT_OF_MEMORY)


def begin_anew(session: Session, lease: Lease) -> RunStatus:
    """running -> queued, as if nothing had been trained; cancelled or paused if that was asked for."""
    renew(session, lease, Forgotten())
    return release(session, lease, StatusReason.WAITING_FOR_WORKER)


def reap(
    session: Session, run_id: str, fence: int, heartbeat: int, max_crashes: int
) -> RunStatus | None:
    """Take a run back whose holder gave no sign of life since `heartbeat`; None if it did after all.

    The run is queued again, cancelled or paused if that was asked for, or failed with `crash_loop` at the last allowed
    time.
    """
    silent = (col(Run.fence) == fence, col(Run.heartbeat) == heartbeat)
    still = select(Run).where(col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING, *silent)
    run = session.exec(
        still.with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if run is None:
        return None
    to, reason, values = _after_a_crash(
        run, "its worker was lost", max_crashes, StatusReason.WORKER_LOST
    )
    try:
        _leave(
            session,
            Lease(run_id, fence, run.attempt, run.worker_id or ""),
            to,
            reason,
            silent[1],
            actor=RECONCILER,
            **values,
        )
    except LeaseLost:
        return None
    return to


def _after_a_crash(
    run: Run, message: str, max_crashes: int, otherwise: StatusReason
) -> tuple[RunStatus, StatusReason, dict[str, Any]]:
    """Where a run goes whose attempt ended without a word."""
    crashes = run.crashes + 1
    wanted = intent_of(run.cancel_requested, run.pause_requested)
    if wanted is Intent.CANCEL:
        return (
            RunStatus.CANCELLED,
            StatusReason.CANCELLED_BY_USER,
            {"crashes": crashes, "finished_at": utc_now()},
        )
    if crashes >= max_crashes:
        return (
            RunStatus.FAILED,
            StatusReason.CRASH_LOOP,
            {"crashes": crashes, "finished_at": utc_now(), "error": _crash_loop(crashes, message)},
        )
    if wanted is Intent.PAUSE:
        return (
            RunStatus.PAUSED,
            StatusReason.PAUSED_BY_USER,
            {"crashes": crashes, "worker_id": None, "pause_requested": False},
        )
    return RunStatus.QUEUED, otherwise, {"crashes": crashes, "worker_id": None}


def _finish(
    session: Session, lease: Lease, to: RunStatus, reason: StatusReason, **values: Any
) -> None:
    _leave(session, lease, to, reason, actor=lease.worker_id, finished_at=utc_now(), **values)


def _leave(
    session: Session,
    lease: Lease,
    to: RunStatus,
    reason: StatusReason,
    *guards: ColumnElement[bool],
    actor: str,
    **values: Any,
) -> None:
    """The holder's attempt ends: move the run, close the attempt, remember both."""
    assert to in LEGAL_MOVES[RunStatus.RUNNING]
    if "error" in values:
        values["error_code"] = values["error"]["code"]
    moved = session.execute(
        update(Run)
        .where(*held(lease), *guards)
        .values(status=to, status_reason=reason, heartbeat=col(Run.heartbeat) + 1, **values)
        .returning(col(Run.owner))
    ).one_or_none()
    if moved is None:
        raise LeaseLost(lease.run_id)
    now = utc_now()
    began = session.execute(
        update(Attempt)
        .where(col(Attempt.run_id) == lease.run_id, col(Attempt.number) == lease.attempt)
        .values(finished_at=now, outcome=reason)
        .returning(col(Attempt.started_at))
    ).scalar_one_or_none()
    remember(session, [Move(lease.run_id, lease.attempt, RunStatus.RUNNING, to, reason)], actor)
    tell_dependents(session, [lease.run_id], to)
    if began is not None:
        # last, for all of an owner's attempts meet in this row: who holds it waits for nothing more
        count_training(session, moved.owner, (now - began).total_seconds(), now)


def _crash_loop(crashes: int, message: str) -> dict[str, Any]:
    return {
        "code": "crash_loop",
        "message": f"ended {crashes} times by a crash; the last time: {message}",
        "hint": "the model or batch may need more memory than this machine has; its log and the worker's say more",
        "traceback_tail": "",
    }
