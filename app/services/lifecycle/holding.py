"""What a run's holder does: claim, prove the lease, finish; and what becomes of a run whose holder is lost."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlmodel import Session, col, select

from app.services.lifecycle.moves import RECONCILER, Move, remember, tell_dependents
from app.services.lifecycle.queueing import has_been_served, next_run, one_at_a_time
from app.storage.states import LEGAL_MOVES, RunStatus, StatusReason
from app.storage.tables import Attempt, Run, utc_now


@dataclass(frozen=True)
class Lease:
    """The right to write for a run, as long as `fence` is the run's own."""

    run_id: str
    fence: int
    attempt: int
    worker_id: str


class LeaseLost(Exception):
    """Somebody else holds the run now, or it is finished: stop, write nothing."""


class Intent(IntEnum):
    """What a person has asked of a run that is under way; what is asked last and most holds."""

    NOTHING = 0
    PAUSE = 1
    CANCEL = 2


def claim(
    session: Session,
    worker_id: str,
    memory_bytes: int | None = None,
    max_running_per_owner: int = 0,
) -> Lease | None:
    """Take the best queued run, as `queueing` orders them.

    With `memory_bytes`, which a worker has that shares its machine, runs that need more for certain are left to others.
    With `max_running_per_owner`, so are those of an owner who has that many under way.
    """
    one_at_a_time(session)
    now = utc_now()
    claimed = session.execute(
        update(Run)
        .where(
            col(Run.id) == next_run(memory_bytes, max_running_per_owner),
            col(Run.status) == RunStatus.QUEUED,
        )
        .values(
            status=RunStatus.RUNNING,
            status_reason=StatusReason.STARTING,
            fence=col(Run.fence) + 1,
            heartbeat=col(Run.heartbeat) + 1,
            attempt=col(Run.attempt) + 1,
            worker_id=worker_id,
        )
        .returning(
            col(Run.id),
            col(Run.fence),
            col(Run.attempt),
            col(Run.started_at),
            col(Run.owner),
            col(Run.micro_batches),
        )
    ).one_or_none()
    if claimed is None:
        return None
    lease = Lease(claimed.id, claimed.fence, claimed.attempt, worker_id)
    if claimed.started_at is None:
        session.execute(update(Run).where(col(Run.id) == lease.run_id).values(started_at=now))
    attempt = Attempt(
        run_id=lease.run_id,
        number=lease.attempt,
        fence=lease.fence,
        worker_id=worker_id,
        started_at=now,
        micro_batches=claimed.micro_batches,
    )
    session.add(attempt)
    remember(
        session,
        [
            Move(
                lease.run_id,
                lease.attempt,
                RunStatus.QUEUED,
                RunStatus.RUNNING,
                StatusReason.STARTING,
            )
        ],
        worker_id,
    )
    has_been_served(session, claimed.owner)
    return lease


def hold(session: Session, lease: Lease, **values: Any) -> Intent:
    """Prove and extend the lease, writing `values` in the same statement; returns what a person has asked for.

    Raises LeaseLost when the run is no longer this holder's.
    """
    row = session.execute(
        update(Run)
        .where(*_held(lease))
        .values(heartbeat=col(Run.heartbeat) + 1, **values)
        .returning(col(Run.cancel_requested), col(Run.pause_requested))
    ).one_or_none()
    if row is None:
        raise LeaseLost(lease.run_id)
    return _asked(*row)


def asked(session: Session, lease: Lease, *, lock: bool = False) -> Intent:
    """Without writing: what a person has asked for; with `lock`, nothing more can be asked until the transaction ends.
    Raises LeaseLost.
    """
    wishes = select(Run.cancel_requested, Run.pause_requested).where(*_held(lease))
    row = session.exec(wishes.with_for_update() if lock else wishes).one_or_none()
    if row is None:
        raise LeaseLost(lease.run_id)
    return _asked(*row)


def succeed(
    session: Session,
    lease: Lease,
    *,
    best: dict[str, Any],
    test: dict[str, Any],
    stop_reason: str = "all_epochs",
) -> None:
    """running -> succeeded. Success that commits first wins over a cancel."""
    reason = StatusReason.COMPLETED if stop_reason == "all_epochs" else StatusReason.EARLY_STOPPED
    _finish(
        session, lease, RunStatus.SUCCEEDED, reason, best=best, test=test, stop_reason=stop_reason
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


def crashed(session: Session, lease: Lease, message: str, max_crashes: int) -> None:
    """running -> queued because the trainer died, or -> failed with `crash_loop` at the last allowed time; cancelled or
    paused if that was asked for.
    """
    run = session.exec(
        select(Run).where(*_held(lease)).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if run is None:
        raise LeaseLost(lease.run_id)
    to, reason, values = _after_a_crash(run, message, max_crashes, StatusReason.TRAINER_CRASHED)
    _leave(session, lease, to, reason, actor=lease.worker_id, **values)


def out_of_memory(session: Session, lease: Lease, micro_batches: int) -> RunStatus:
    """running -> queued, to be tried again with each batch in `micro_batches` parts; cancelled or paused if that was
    asked for.

    No crash: it ends, because a batch can be halved only so often.
    """
    hold(session, lease, micro_batches=micro_batches)
    return release(session, lease, StatusReason.OUT_OF_MEMORY)


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
    wanted = _asked(run.cancel_requested, run.pause_requested)
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


def _asked(cancel_requested: bool, pause_requested: bool) -> Intent:
    return (
        Intent.CANCEL if cancel_requested else Intent.PAUSE if pause_requested else Intent.NOTHING
    )


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
    moved = session.execute(
        update(Run)
        .where(*_held(lease), *guards)
        .values(status=to, status_reason=reason, heartbeat=col(Run.heartbeat) + 1, **values)
        .returning(col(Run.id))
    ).one_or_none()
    if moved is None:
        raise LeaseLost(lease.run_id)
    session.execute(
        update(Attempt)
        .where(col(Attempt.run_id) == lease.run_id, col(Attempt.number) == lease.attempt)
        .values(finished_at=utc_now(), outcome=reason)
    )
    remember(session, [Move(lease.run_id, lease.attempt, RunStatus.RUNNING, to, reason)], actor)
    tell_dependents(session, [lease.run_id], to)


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Run.id) == lease.run_id,
        col(Run.status) == RunStatus.RUNNING,
        col(Run.fence) == lease.fence,
    )


def _crash_loop(crashes: int, message: str) -> dict[str, Any]:
    return {
        "code": "crash_loop",
        "message": f"ended {crashes} times by a crash; the last time: {message}",
        "hint": "the model or batch may need more memory than this machine has; the worker's log says more",
        "traceback_tail": "",
    }
