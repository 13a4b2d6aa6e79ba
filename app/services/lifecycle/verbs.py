"""What people ask for: to cancel, pause, resume, retry and reorder runs, however many, in a handful of statements.

Each looks at the runs first and locks them until the transaction ends: no claim, release or end comes between the moves
that it tries.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import null, update
from sqlmodel import Session, col

from app.services.lifecycle.looking import StillRun, having, hold_still
from app.services.lifecycle.moves import USER, WAITING, Move, remember, tell_dependents
from app.storage.states import RETRYABLE, RunStatus, StatusReason
from app.storage.tables import Run, utc_now

MOST_AT_ONCE = 5_000
"""Runs in one statement: a database takes only so many parameters."""


def cancel(session: Session, run_ids: Collection[str], actor: str = USER) -> list[str]:
    """queued or paused -> cancelled at once; running is asked to end. Returns those that were not finished.

    What needs one of them is no failure of its own where it is cancelled with it, so nobody is told before all are.
    """
    ended: list[str] = []
    asked: list[str] = []
    for some in _in_parts(sorted(set(run_ids))):
        held = hold_still(session, some)
        ended += _cancel_waiting(session, held, actor)
        asked += _ask_to_end(session, held)
    for some in _in_parts(ended):
        tell_dependents(session, some, RunStatus.CANCELLED)
    return [*ended, *asked]


def pause(session: Session, run_ids: Sequence[str], actor: str = USER) -> list[str]:
    """queued -> paused at once; running is asked to save itself and leave. Returns those that were neither paused nor
    finished already.
    """
    held = hold_still(session, run_ids)
    paused = session.execute(
        update(Run)
        .where(
            col(Run.id).in_(having(held, [RunStatus.QUEUED])), col(Run.status) == RunStatus.QUEUED
        )
        .values(
            status=RunStatus.PAUSED,
            status_reason=StatusReason.PAUSED_BY_USER,
            pause_requested=False,
        )
        .returning(col(Run.id), col(Run.attempt))
    ).all()
    remember(
        session,
        [
            Move(
                row.id, row.attempt, RunStatus.QUEUED, RunStatus.PAUSED, StatusReason.PAUSED_BY_USER
            )
            for row in paused
        ],
        actor,
    )
    wanted = (
        col(Run.id).in_(having(held, [RunStatus.RUNNING])),
        col(Run.status) == RunStatus.RUNNING,
        col(Run.cancel_requested).is_(False),
    )
    asked = session.execute(
        update(Run).where(*wanted).values(pause_requested=True).returning(col(Run.id))
    ).all()
    return [row.id for row in (*paused, *asked)]


def resume(session: Session, run_ids: Sequence[str], actor: str = USER) -> list[str]:
    """paused -> queued; a running run whose pause is not confirmed yet is to go on. Returns those for which there was
    something to resume.
    """
    held = hold_still(session, run_ids, with_needed=True)
    paused = [
        held[run_id]
        for run_id in dict.fromkeys(run_ids)
        if run_id in held and held[run_id].status is RunStatus.PAUSED
    ]
    queued = _queue_again(
        session, paused, _reasons_to_wait(paused, held), {"pause_requested": False}, actor
    )
    pausing = (
        col(Run.id).in_(run_ids),
        col(Run.status) == RunStatus.RUNNING,
        col(Run.pause_requested).is_(True),
    )
    going_on = session.execute(
        update(Run).where(*pausing).values(pause_requested=False).returning(col(Run.id))
    ).all()
    return [*queued, *(row.id for row in going_on)]


def prioritize(session: Session, run_ids: Sequence[str], priority: int) -> list[str]:
    """Give those of the runs that wait another priority; returns them."""
    waiting = (col(Run.id).in_(run_ids), col(Run.status).in_(WAITING))
    return list(
        session.execute(
            update(Run).where(*waiting).values(priority=priority).returning(col(Run.id))
        ).scalars()
    )


def retry(session: Session, run_ids: Sequence[str], actor: str = USER) -> list[str]:
    """failed or cancelled -> queued, because a person asks for it; nothing else undoes an end. Returns those that are
    queued again: not one that has not ended so, is gone, or needs a run that has itself failed or been cancelled and is
    not retried with it.

    Attempts and fence go on counting, so a zombie of an attempt before the retry stays refused. Checkpoints stay too:
    the next attempt goes on from the newest whole one, and starts at epoch 1 where there is none. Crashes are counted
    anew, and batches are whole again.
    """
    forgotten = {
        "error": null(),
        "error_code": None,
        "stop_reason": None,
        "finished_at": None,
        "worker_id": None,
        "cancel_requested": False,
        "pause_requested": False,
        "crashes": 0,
        "micro_batches": 1,
    }
    held = hold_still(session, run_ids, with_needed=True)
    ended = [
        held[run_id]
        for run_id in dict.fromkeys(run_ids)
        if run_id in held and held[run_id].status in RETRYABLE
    ]
    return _queue_again(session, ended, _reasons_to_wait(ended, held), forgotten, actor)


def _in_parts(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (run_ids[begin : begin + MOST_AT_ONCE] for begin in range(0, len(run_ids), MOST_AT_ONCE))


def _cancel_waiting(session: Session, held: Mapping[str, StillRun], actor: str) -> list[str]:
    """End those that are queued or paused."""
    ended = session.execute(
        update(Run)
        .where(col(Run.id).in_(having(held, WAITING)), col(Run.status).in_(WAITING))
        .values(
            status=RunStatus.CANCELLED,
            status_reason=StatusReason.CANCELLED_BY_USER,
            cancel_requested=True,
            finished_at=utc_now(),
        )
        .returning(col(Run.id), col(Run.attempt))
    ).all()
    to, reason = RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER
    moves = [Move(row.id, row.attempt, held[row.id].status, to, reason) for row in ended]
    remember(session, moves, actor)
    return [row.id for row in ended]


def _ask_to_end(session: Session, held: Mapping[str, StillRun]) -> list[str]:
    """Ask those that are running."""
    running = having(held, [RunStatus.RUNNING])
    asked = session.execute(
        update(Run)
        .where(col(Run.id).in_(running), col(Run.status) == RunStatus.RUNNING)
        .values(cancel_requested=True, status_reason=StatusReason.CANCELLING)
        .returning(col(Run.id))
    )
    return list(asked.scalars())


def _queue_again(
    session: Session,
    runs: Iterable[StillRun],
    reasons: Mapping[str, StatusReason],
    values: Mapping[str, Any],
    actor: str,
) -> list[str]:
    """Move those that have a reason to wait, as they are held, to the queue; by status and reason, which one statement
    gives to all.
    """
    alike: dict[tuple[RunStatus, StatusReason], list[str]] = defaultdict(list)
    for run in runs:
        if run.id in reasons:
            alike[run.status, reasons[run.id]].append(run.id)
    queued: list[str] = []
    for (before, reason), run_ids in alike.items():
        rows = session.execute(
            update(Run)
            .where(col(Run.id).in_(run_ids), col(Run.status) == before)
            .values(status=RunStatus.QUEUED, status_reason=reason, **values)
            .returning(col(Run.id), col(Run.attempt))
        ).all()
        remember(
            session,
            [Move(row.id, row.attempt, before, RunStatus.QUEUED, reason) for row in rows],
            actor,
        )
        queued += [row.id for row in rows]
    return queued


def _reasons_to_wait(
    runs: Sequence[StillRun], held: Mapping[str, StillRun]
) -> dict[str, StatusReason]:
    """What each of the runs would wait for in the queue. None for those that would wait for ever, because the run
    they need has failed or been cancelled and is not queued again with them.
    """
    returning = {run.id: run for run in runs}

    def reason(run: StillRun) -> StatusReason | None:
        if run.needs is None:
            return StatusReason.WAITING_FOR_WORKER
        if run.needs in returning:
            return (
                None if reason(returning[run.needs]) is None else StatusReason.WAITING_FOR_TEACHER
            )
        needed = held[run.needs].status
        if needed in RETRYABLE:
            return None
        return (
            StatusReason.WAITING_FOR_WORKER
            if needed is RunStatus.SUCCEEDED
            else StatusReason.WAITING_FOR_TEACHER
        )

    return {run.id: found for run in runs if (found := reason(run)) is not None}
