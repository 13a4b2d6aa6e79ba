"""What a trainer's events become in the database: each one short, fenced transaction's worth of writes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from app.services import lifecycle
from app.services.experiments import artifacts, likeness, metrics
from app.services.lifecycle import Begun, EpochDone, Intent, Lease, Measured, Progressed
from app.storage.states import RunStatus
from app.storage.tables import Attempt, Run, StatusChange, utc_now
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Probed,
    Progress,
    SavedCheckpoint,
    Started,
)

Seconds = Mapping[str, float]
"""By phase, as of an attempt's `phases`."""


def record_started(
    session: Session, lease: Lease, event: Started, phases: Seconds | None = None
) -> Intent:
    """Data and model are in place; returns what was asked for."""
    epoch, step = event.resumed_from or (0, 0)
    environment, changes = _environment(session, lease.run_id, event)
    wish = lifecycle.renew(session, lease, Begun(environment, epoch, step))
    metrics.forget_after(session, lease.run_id, epoch)
    _update_attempt(
        session,
        lease,
        resumed_epoch=epoch if event.resumed_from else None,
        resumed_step=step if event.resumed_from else None,
        notes=[*event.notes, *changes],
        phases=phases,
    )
    return wish


def _environment(session: Session, run_id: str, event: Started) -> tuple[dict[str, Any], list[str]]:
    """What decides the bits, and what the attempt is to say of it. What goes on keeps what was trained before, and says
    under what other conditions.
    """
    earlier = session.exec(select(Run.environment).where(col(Run.id) == run_id)).one_or_none()
    if event.resumed_from is None or earlier is None:
        return event.environment, []
    return likeness.resumed(earlier, event.environment), likeness.notes_of_resuming(
        earlier, event.environment
    )


def record_progress(
    session: Session, lease: Lease, event: Progress, phases: Seconds | None = None
) -> Intent:
    """Where within an epoch training is; returns what was asked for."""
    wish = lifecycle.renew(session, lease, Progressed(event.epoch - 1, event.step))
    record_phases(session, lease, phases)
    return wish


def record_phases(session: Session, lease: Lease, phases: Seconds | None) -> None:
    """Where the attempt's time went; None where nothing new is to be said. The lease is proven by what stands before it
    in the transaction, which also takes the rows' locks in the order that all others take them in.
    """
    if phases is not None:
        _update_attempt(session, lease, phases=phases)


def record_first_step(session: Session, lease: Lease) -> None:
    """The attempt's first optimizer step is done."""
    _update_attempt(session, lease, first_step_at=utc_now())


def record_probed(session: Session, lease: Lease, event: Probed) -> Intent:
    """What a probe measured at initialization becomes epoch 0; returns what was asked for."""
    wish = lifecycle.renew(session, lease, Measured())
    metrics.record_epoch(session, lease.run_id, 0, event.metrics)
    return wish


def record_epoch(
    session: Session, lease: Lease, event: EpochCompleted, phases: Seconds | None = None
) -> tuple[Intent, list[str]]:
    """An epoch's metrics and checkpoint; returns what was asked for, and files to remove after the commit."""
    is_last = event.stop_reason is not None
    done = EpochDone(event.epoch, event.best_epoch, event.best_val, is_last)
    wish = lifecycle.renew(session, lease, done)
    record_phases(session, lease, phases)
    metrics.record_epoch(session, lease.run_id, event.epoch, event.metrics)
    return wish, artifacts.record_checkpoint(session, lease.run_id, lease.attempt, event.checkpoint)


def record_checkpoint(
    session: Session, lease: Lease, event: Checkpointed
) -> tuple[Intent, list[str]]:
    """A checkpoint within an epoch; returns as `record_epoch` does."""
    wish = lifecycle.renew(
        session, lease, Progressed(event.checkpoint.epoch, event.checkpoint.step)
    )
    if event.threads is not None:
        _record_threads(session, lease, event.checkpoint, event.threads)
    return wish, artifacts.record_checkpoint(session, lease.run_id, lease.attempt, event.checkpoint)


def _record_threads(session: Session, lease: Lease, at: SavedCheckpoint, threads: int) -> None:
    """From the checkpoint on it computes on so many."""
    earlier = session.exec(select(Run.environment).where(col(Run.id) == lease.run_id)).one() or {}
    now = {**earlier, "threads": threads}
    lifecycle.renew(session, lease, Begun(likeness.resumed(earlier, now), at.epoch, at.step))
    _note(
        session,
        lease,
        f"computes on {threads} threads in place of {earlier.get('threads')} from epoch {at.epoch + 1}, step"
        f" {at.step + 1} on, since {'it is alone again' if threads > earlier.get('threads', 0) else 'others came'}: its"
        " bits are those of neither",
    )


def record_begun_anew(session: Session, lease: Lease) -> tuple[RunStatus, list[str]]:
    """Others came within the run's first minute: it goes back to the queue without what it has trained, so that all of
    it is computed on one number of threads; returns what it became, and files to remove after the commit.
    """
    became = lifecycle.begin_anew(session, lease)
    metrics.forget_after(session, lease.run_id, 0)
    _note(
        session,
        lease,
        "begins anew on its share of the cores, since others came within its first minute",
    )
    return became, artifacts.drop_checkpoints(session, lease.run_id)


def record_completed(session: Session, lease: Lease, event: Completed) -> list[str]:
    """The run has succeeded: scores, artifacts, status, in one transaction; returns files to remove after the
    commit.
    """
    lifecycle.succeed(
        session,
        lease,
        best={"epoch": event.best_epoch, "val": event.best_val},
        test=dict(event.test),
        train=dict(event.train) or None,
        stop_reason=event.stop_reason,
        artifact_bytes=sum(saved.size_bytes for saved in event.artifacts),
    )
    artifacts.publish(session, lease.run_id, event.artifacts)
    return artifacts.drop_checkpoints(session, lease.run_id)


def record_failed(session: Session, lease: Lease, event: Failed) -> None:
    """The run has failed for a reason that another try would meet again."""
    error = {
        "code": event.code,
        "message": event.message,
        "hint": event.hint,
        "traceback_tail": event.traceback,
    }
    lifecycle.fail(session, lease, error)


def record_out_of_memory(
    session: Session, lease: Lease, message: str, micro_batches: int
) -> RunStatus:
    """Memory ran out and the batch may be halved: the next attempt computes it in `micro_batches` parts; returns what
    the run became.
    """
    became = lifecycle.out_of_memory(session, lease, micro_batches)
    _note(session, lease, message)
    return became


def record_crashed(
    session: Session, lease: Lease, message: str, max_crashes: int, last_words: str
) -> None:
    """The trainer or its device is gone: lifecycle.crashed, and the attempt keeps why."""
    lifecycle.crashed(session, lease, message, max_crashes, last_words)
    _note(session, lease, message)


def attempts_of(session: Session, run_id: str) -> list[Attempt]:
    """A run's attempts, the first first."""
    return list(
        session.exec(
            select(Attempt).where(col(Attempt.run_id) == run_id).order_by(col(Attempt.number))
        )
    )


def history_of(session: Session, run_id: str) -> list[StatusChange]:
    """Every change of a run's status, the first first."""
    return list(
        session.exec(
            select(StatusChange)
            .where(col(StatusChange.run_id) == run_id)
            .order_by(col(StatusChange.id))
        )
    )


def _note(session: Session, lease: Lease, message: str) -> None:
    notes = session.get_one(Attempt, (lease.run_id, lease.attempt)).notes
    _update_attempt(session, lease, notes=[*notes, message])


def _update_attempt(session: Session, lease: Lease, **values: object) -> None:
    session.execute(
        update(Attempt)
        .where(col(Attempt.run_id) == lease.run_id, col(Attempt.number) == lease.attempt)
        .values(**values)
    )
