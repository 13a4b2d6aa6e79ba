"""The life of a run: claim, renew, finish, cancel, retry, reap. The only writer of `Run.status`.

Every move is one guarded UPDATE whose WHERE names the status it leaves; a holder's move also names its fencing token, so
a stale holder changes nothing and is told so by `LeaseLost`. Times are for people; no decision here reads a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, null, or_, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.states import LEGAL_MOVES, RETRYABLE, RunStatus, StatusReason
from app.tables import Attempt, Experiment, Run, StatusChange, utc_now

USER = "user"
RECONCILER = "reconciler"


@dataclass(frozen=True)
class Lease:
    """The right to write for a run, as long as `fence` is the run's own."""

    run_id: str
    fence: int
    attempt: int
    worker_id: str


class LeaseLost(Exception):
    """Somebody else holds the run now, or it is finished: stop, write nothing."""


def queued_runs(session: Session) -> int:
    """How many runs could be claimed now."""
    return session.exec(select(func.count()).select_from(Run).where(claimable())).one()


def claimable() -> ColumnElement[bool]:
    """Queued, and what it needs has succeeded."""
    teacher = aliased(Run)
    trained = select(teacher.id).where(col(teacher.status) == RunStatus.SUCCEEDED)
    return and_(col(Run.status) == RunStatus.QUEUED, or_(col(Run.needs).is_(None), col(Run.needs).in_(trained)))


def claim(session: Session, worker_id: str, memory_bytes: int | None = None) -> Lease | None:
    """Take the best queued run: highest priority first, then oldest, then in the order of its experiment's seeds.

    With `memory_bytes`, which a worker has that shares its machine, runs that need more for certain are left to others.
    """
    too_large = select(Experiment.id).where(col(Experiment.memory_bytes) > (memory_bytes or 0))
    best = (
        select(Run.id)
        .where(claimable(), *([] if memory_bytes is None else [col(Run.experiment_id).not_in(too_large)]))
        .order_by(col(Run.priority).desc(), col(Run.created_at), col(Run.experiment_id), col(Run.position))
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    now = utc_now()
    claimed = session.execute(
        update(Run)
        .where(col(Run.id) == best.scalar_subquery(), col(Run.status) == RunStatus.QUEUED)
        .values(
            status=RunStatus.RUNNING,
            status_reason=StatusReason.STARTING,
            fence=col(Run.fence) + 1,
            heartbeat=col(Run.heartbeat) + 1,
            attempt=col(Run.attempt) + 1,
            worker_id=worker_id,
        )
        .returning(col(Run.id), col(Run.fence), col(Run.attempt), col(Run.started_at))
    ).one_or_none()
    if claimed is None:
        return None
    lease = Lease(claimed.id, claimed.fence, claimed.attempt, worker_id)
    if claimed.started_at is None:
        session.execute(update(Run).where(col(Run.id) == lease.run_id).values(started_at=now))
    session.add(Attempt(run_id=lease.run_id, number=lease.attempt, fence=lease.fence, worker_id=worker_id, started_at=now))
    _remember(session, lease.run_id, lease.attempt, RunStatus.QUEUED, RunStatus.RUNNING, StatusReason.STARTING, worker_id)
    return lease


def hold(session: Session, lease: Lease, **values: Any) -> bool:
    """Prove and extend the lease, writing `values` in the same statement; returns whether a cancel was asked for.

    Raises LeaseLost when the run is no longer this holder's.
    """
    row = session.execute(
        update(Run).where(*_held(lease)).values(heartbeat=col(Run.heartbeat) + 1, **values).returning(col(Run.cancel_requested))
    ).one_or_none()
    if row is None:
        raise LeaseLost(lease.run_id)
    return bool(row.cancel_requested)


def is_wanted(session: Session, lease: Lease) -> bool:
    """Without writing: whether the lease is still held and no cancel was asked for."""
    return session.exec(select(Run.id).where(*_held(lease), col(Run.cancel_requested).is_(False))).first() is not None


def succeed(session: Session, lease: Lease, *, best: dict[str, Any], test: dict[str, Any], stop_reason: str = "all_epochs") -> None:
    """running -> succeeded. Success that commits first wins over a cancel."""
    reason = StatusReason.COMPLETED if stop_reason == "all_epochs" else StatusReason.EARLY_STOPPED
    _finish(session, lease, RunStatus.SUCCEEDED, reason, best=best, test=test, stop_reason=stop_reason)


def fail(session: Session, lease: Lease, error: dict[str, Any]) -> None:
    """running -> failed, with an error that carries a stable code."""
    _finish(session, lease, RunStatus.FAILED, StatusReason.TRAINING_FAILED, error=error)


def confirm_cancel(session: Session, lease: Lease) -> None:
    """running -> cancelled, once its trainer is dead."""
    _finish(session, lease, RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER)


def release(session: Session, lease: Lease) -> None:
    """running -> queued because the worker was asked to stop; counts as no crash."""
    if _end_attempt_as_cancelled_if_asked(session, lease):
        return
    _leave(session, lease, RunStatus.QUEUED, StatusReason.WORKER_SHUTDOWN, actor=lease.worker_id, worker_id=None)


def crashed(session: Session, lease: Lease, message: str, max_crashes: int) -> None:
    """running -> queued because the trainer died, or -> failed with `crash_loop` at the last allowed time."""
    if _end_attempt_as_cancelled_if_asked(session, lease):
        return
    crashes = session.exec(select(Run.crashes).where(*_held(lease))).one_or_none()
    if crashes is None:
        raise LeaseLost(lease.run_id)
    if crashes + 1 >= max_crashes:
        error = _crash_loop(crashes + 1, message)
        _leave(session, lease, RunStatus.FAILED, StatusReason.CRASH_LOOP, actor=lease.worker_id, crashes=crashes + 1, error=error, finished_at=utc_now())
    else:
        _leave(session, lease, RunStatus.QUEUED, StatusReason.TRAINER_CRASHED, actor=lease.worker_id, crashes=crashes + 1, worker_id=None)


def reap(session: Session, run_id: str, fence: int, heartbeat: int, max_crashes: int) -> RunStatus | None:
    """Take a run back whose holder gave no sign of life since `heartbeat`; None if it did after all.

    The run is queued again, cancelled if that was asked for, or failed with `crash_loop` at the last allowed time.
    """
    run = session.exec(
        select(Run).where(col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING, col(Run.fence) == fence, col(Run.heartbeat) == heartbeat)
    ).one_or_none()
    if run is None:
        return None
    lease = Lease(run_id, fence, run.attempt, run.worker_id or "")
    silent = col(Run.heartbeat) == heartbeat
    values: dict[str, Any]
    crashes = run.crashes + 1
    if run.cancel_requested:
        to, reason, values = RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER, {"finished_at": utc_now()}
    elif crashes >= max_crashes:
        to, reason = RunStatus.FAILED, StatusReason.CRASH_LOOP
        values = {"finished_at": utc_now(), "error": _crash_loop(crashes, "its worker was lost")}
    else:
        to, reason, values = RunStatus.QUEUED, StatusReason.WORKER_LOST, {"worker_id": None}
    try:
        _leave(session, lease, to, reason, silent, actor=RECONCILER, crashes=crashes, **values)
    except LeaseLost:
        return None
    return to


def enqueue(session: Session, runs: Sequence[Run], actor: str = USER) -> None:
    """Add new runs to the queue."""
    session.add_all(runs)
    session.flush()
    for run in runs:
        _remember(session, run.id, 0, None, RunStatus.QUEUED, StatusReason(run.status_reason), actor)


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
    _remember(session, run_id, 0, RunStatus.QUEUED, RunStatus.SUCCEEDED, StatusReason.REUSED, actor)
    _tell_dependents(session, run_id, RunStatus.SUCCEEDED)
    return True


def cancel(session: Session, run_id: str, actor: str = USER) -> bool:
    """queued or paused -> cancelled at once; running is asked to end. False if the run was finished already."""
    waiting = (RunStatus.QUEUED, RunStatus.PAUSED)
    before = session.exec(select(Run.status).where(col(Run.id) == run_id)).one()
    row = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status).in_(waiting))
        .values(status=RunStatus.CANCELLED, status_reason=StatusReason.CANCELLED_BY_USER, cancel_requested=True, finished_at=utc_now())
        .returning(col(Run.attempt))
    ).one_or_none()
    if row is not None:
        _remember(session, run_id, row.attempt, RunStatus(before), RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER, actor)
        _tell_dependents(session, run_id, RunStatus.CANCELLED)
        return True
    asked = session.execute(
        update(Run)
        .where(col(Run.id) == run_id, col(Run.status) == RunStatus.RUNNING)
        .values(cancel_requested=True, status_reason=StatusReason.CANCELLING)
        .returning(col(Run.id))
    ).one_or_none()
    return asked is not None


def retry(session: Session, run_id: str, actor: str = USER) -> bool:
    """failed or cancelled -> queued, because a person asks for it; nothing else undoes an end. False if the run has not ended so, is gone,
    or needs a run that has itself failed or been cancelled.

    Attempts and fence go on counting, so a zombie of an attempt before the retry stays refused. Checkpoints stay too: the next
    attempt goes on from the newest whole one, and starts at epoch 1 where there is none. Crashes are counted anew.
    """
    needed = session.exec(select(Run.needs).where(col(Run.id) == run_id)).one_or_none()
    reason = StatusReason.WAITING_FOR_WORKER
    if needed is not None:  # locked until the transaction ends, so that it cannot fail unseen while this run begins to wait for it
        teacher = session.exec(select(Run.status).where(col(Run.id) == needed).with_for_update()).one()
        if teacher in RETRYABLE:
            return False
        if teacher != RunStatus.SUCCEEDED:
            reason = StatusReason.WAITING_FOR_TEACHER
    forgotten = {"error": null(), "stop_reason": None, "finished_at": None, "worker_id": None, "cancel_requested": False, "crashes": 0}
    for before in sorted(RETRYABLE):
        row = session.execute(
            update(Run)
            .where(col(Run.id) == run_id, col(Run.status) == before)
            .values(status=RunStatus.QUEUED, status_reason=reason, **forgotten)
            .returning(col(Run.attempt))
        ).one_or_none()
        if row is not None:
            _remember(session, run_id, row.attempt, before, RunStatus.QUEUED, reason, actor)
            return True
    return False


def _finish(session: Session, lease: Lease, to: RunStatus, reason: StatusReason, **values: Any) -> None:
    _leave(session, lease, to, reason, actor=lease.worker_id, finished_at=utc_now(), **values)


def _end_attempt_as_cancelled_if_asked(session: Session, lease: Lease) -> bool:
    """A run whose cancel was asked for never goes back to the queue."""
    if is_wanted(session, lease):
        return False
    confirm_cancel(session, lease)
    return True


def _leave(session: Session, lease: Lease, to: RunStatus, reason: StatusReason, *guards: ColumnElement[bool], actor: str, **values: Any) -> None:
    """The holder's attempt ends: move the run, close the attempt, remember both."""
    assert to in LEGAL_MOVES[RunStatus.RUNNING]
    moved = session.execute(
        update(Run).where(*_held(lease), *guards).values(status=to, status_reason=reason, heartbeat=col(Run.heartbeat) + 1, **values).returning(col(Run.id))
    ).one_or_none()
    if moved is None:
        raise LeaseLost(lease.run_id)
    session.execute(
        update(Attempt).where(col(Attempt.run_id) == lease.run_id, col(Attempt.number) == lease.attempt).values(finished_at=utc_now(), outcome=reason)
    )
    _remember(session, lease.run_id, lease.attempt, RunStatus.RUNNING, to, reason, actor)
    _tell_dependents(session, lease.run_id, to)


def _tell_dependents(session: Session, run_id: str, became: RunStatus) -> None:
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
                _remember(session, dependent, attempt, before, RunStatus.FAILED, StatusReason.TEACHER_FAILED, RECONCILER)
                _tell_dependents(session, dependent, RunStatus.FAILED)


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (col(Run.id) == lease.run_id, col(Run.status) == RunStatus.RUNNING, col(Run.fence) == lease.fence)


def _remember(session: Session, run_id: str, attempt: int, before: RunStatus | None, after: RunStatus, reason: StatusReason, actor: str) -> None:
    session.add(StatusChange(run_id=run_id, attempt=attempt, from_status=before, to_status=after, reason=reason, actor=actor, at=utc_now()))


def _teacher_failed(run_id: str, became: RunStatus) -> dict[str, Any]:
    return {
        "code": "teacher_failed",
        "message": f"run {run_id}, which it builds on, ended as {became}",
        "hint": f"GET /runs/{run_id} says why; retry its experiment first, then this one",
        "traceback_tail": "",
    }


def _crash_loop(crashes: int, message: str) -> dict[str, Any]:
    return {
        "code": "crash_loop",
        "message": f"ended {crashes} times by a crash; the last time: {message}",
        "hint": "the model or batch may need more memory than this machine has; the worker's log says more",
        "traceback_tail": "",
    }
