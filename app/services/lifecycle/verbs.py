"""What people ask for: to queue, take over, cancel, pause, resume, retry and reorder runs, however many, in a handful
of statements.

Each looks at the runs first and locks them until the transaction ends: no claim, release or end comes between the moves
that it tries.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, func, insert, null, or_, update
from sqlalchemy import select as select_columns
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from app.services.lifecycle.moves import USER, WAITING, Move, remember, tell_dependents
from app.storage.states import RETRYABLE, RunStatus, StatusReason
from app.storage.tables import Owner, Run, metadata, utc_now

RUNS = metadata().tables["run"]
TAKEN_OVER = ("best", "test", "environment", "stop_reason", "epochs_done")
"""What of an equal run's row becomes that of the run which takes its results over."""


@dataclass(frozen=True)
class NewRun:
    """A run that is about to be queued. `needs` is the run that it waits for, unless that has succeeded
    (`is_ready`).
    """

    id: str
    experiment_id: str
    seed: int
    position: int
    owner: str
    priority: int
    created_at: datetime
    epochs: int
    num_steps: int
    needs: str | None = None
    is_ready: bool = True

    @property
    def reason(self) -> StatusReason:
        """What it waits for."""
        return (
            StatusReason.WAITING_FOR_WORKER if self.is_ready else StatusReason.WAITING_FOR_TEACHER
        )


@dataclass(frozen=True)
class _Held:
    """A run as it stands until the transaction ends."""

    id: str
    status: RunStatus
    attempt: int
    needs: str | None


def enqueue(session: Session, runs: Sequence[NewRun], actor: str = USER) -> None:
    """Add new runs to the queue, a needed run before those that need it."""
    if not runs:
        return
    for owner in sorted({run.owner for run in runs}):
        _know(session, owner)
    session.execute(insert(Run), [_row(run) for run in runs])
    remember(session, [Move(run.id, 0, None, RunStatus.QUEUED, run.reason) for run in runs], actor)


def take_over(session: Session, sources: Mapping[str, str], actor: str = USER) -> list[str]:
    """queued -> succeeded with an equal run's results, before any attempt; `sources` says for each run from which.

    Returns those that did. A run that was claimed or is finished already, or whose source is gone, stays as it is.
    """
    if not sources:
        return []
    there = select_columns(col(Run.id)).where(
        col(Run.id).in_(set(sources.values())), col(Run.status) == RunStatus.SUCCEEDED
    )
    kept = set(
        session.execute(
            there.order_by(col(Run.id)).with_for_update(read=True, key_share=True)
        ).scalars()
    )  # not deleted until the transaction ends
    taking = [
        run
        for run in _hold_still(session, list(sources)).values()
        if sources[run.id] in kept and run.status is RunStatus.QUEUED and run.attempt == 0
    ]
    if taking:
        session.connection().execute(
            _taking_over(), [{"taker": run.id, "giver": sources[run.id]} for run in taking]
        )
    moved = [run.id for run in taking]
    remember(
        session,
        [
            Move(run_id, 0, RunStatus.QUEUED, RunStatus.SUCCEEDED, StatusReason.REUSED)
            for run_id in moved
        ],
        actor,
    )
    tell_dependents(session, moved, RunStatus.SUCCEEDED)
    return moved


def cancel(session: Session, run_ids: Sequence[str], actor: str = USER) -> list[str]:
    """queued or paused -> cancelled at once; running is asked to end. Returns those that were not finished.

    What needs one of them is no failure of its own where it is cancelled with it.
    """
    held = _hold_still(session, run_ids)
    ended = session.execute(
        update(Run)
        .where(col(Run.id).in_(_having(held, WAITING)), col(Run.status).in_(WAITING))
        .values(
            status=RunStatus.CANCELLED,
            status_reason=StatusReason.CANCELLED_BY_USER,
            cancel_requested=True,
            finished_at=utc_now(),
        )
        .returning(col(Run.id), col(Run.attempt))
    ).all()
    remember(
        session,
        [
            Move(
                row.id,
                row.attempt,
                held[row.id].status,
                RunStatus.CANCELLED,
                StatusReason.CANCELLED_BY_USER,
            )
            for row in ended
        ],
        actor,
    )
    tell_dependents(session, [row.id for row in ended], RunStatus.CANCELLED)
    asked = session.execute(
        update(Run)
        .where(
            col(Run.id).in_(_having(held, [RunStatus.RUNNING])),
            col(Run.status) == RunStatus.RUNNING,
        )
        .values(cancel_requested=True, status_reason=StatusReason.CANCELLING)
        .returning(col(Run.id))
    ).all()
    return [row.id for row in (*ended, *asked)]


def pause(session: Session, run_ids: Sequence[str], actor: str = USER) -> list[str]:
    """queued -> paused at once; running is asked to save itself and leave. Returns those that were neither paused nor
    finished already.
    """
    held = _hold_still(session, run_ids)
    paused = session.execute(
        update(Run)
        .where(
            col(Run.id).in_(_having(held, [RunStatus.QUEUED])), col(Run.status) == RunStatus.QUEUED
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
        col(Run.id).in_(_having(held, [RunStatus.RUNNING])),
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
    held = _hold_still(session, run_ids, with_needed=True)
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
        "stop_reason": None,
        "finished_at": None,
        "worker_id": None,
        "cancel_requested": False,
        "pause_requested": False,
        "crashes": 0,
        "micro_batches": 1,
    }
    held = _hold_still(session, run_ids, with_needed=True)
    ended = [
        held[run_id]
        for run_id in dict.fromkeys(run_ids)
        if run_id in held and held[run_id].status in RETRYABLE
    ]
    return _queue_again(session, ended, _reasons_to_wait(ended, held), forgotten, actor)


def _queue_again(
    session: Session,
    runs: Iterable[_Held],
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


def _hold_still(
    session: Session, run_ids: Sequence[str], *, with_needed: bool = False
) -> dict[str, _Held]:
    """The runs as they stand, which stays until the transaction ends; with what they need, so that it cannot fail
    unseen while they begin to wait for it.
    """
    wanted: ColumnElement[bool] = col(Run.id).in_(run_ids)
    if with_needed:
        own = aliased(Run)
        wanted = or_(
            wanted, col(Run.id).in_(select_columns(col(own.needs)).where(col(own.id).in_(run_ids)))
        )
    columns = (col(Run.id), col(Run.status), col(Run.attempt), col(Run.needs))
    rows = session.execute(
        select_columns(*columns).where(wanted).order_by(col(Run.id)).with_for_update()
    ).all()
    return {row.id: _Held(row.id, RunStatus(row.status), row.attempt, row.needs) for row in rows}


def _having(held: Mapping[str, _Held], statuses: Collection[RunStatus]) -> list[str]:
    return [run.id for run in held.values() if run.status in statuses]


def _reasons_to_wait(runs: Sequence[_Held], held: Mapping[str, _Held]) -> dict[str, StatusReason]:
    """What each of the runs would wait for in the queue. None for those that would wait for ever, because the run
    they need has failed or been cancelled and is not queued again with them.
    """
    returning = {run.id: run for run in runs}

    def reason(run: _Held) -> StatusReason | None:
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


def _taking_over() -> Update:
    """The move of `taker` to what `giver` has come to, for many pairs."""
    giver = RUNS.alias("source")

    def of_the_giver(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return select_columns(column).where(giver.c.id == bindparam("giver")).scalar_subquery()

    return (
        update(RUNS)
        .where(
            RUNS.c.id == bindparam("taker"), RUNS.c.status == RunStatus.QUEUED, RUNS.c.attempt == 0
        )
        .values(
            status=RunStatus.SUCCEEDED,
            status_reason=StatusReason.REUSED,
            reused_from=of_the_giver(func.coalesce(giver.c.reused_from, giver.c.id)),
            step=0,
            finished_at=utc_now(),
            **{name: of_the_giver(giver.c[name]) for name in TAKEN_OVER},
        )
    )


def _row(run: NewRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "experiment_id": run.experiment_id,
        "seed": run.seed,
        "position": run.position,
        "owner": run.owner,
        "priority": run.priority,
        "created_at": run.created_at,
        "status": RunStatus.QUEUED,
        "status_reason": run.reason,
        "epochs": run.epochs,
        "num_steps": run.num_steps,
        "needs": run.needs,
    }


def _know(session: Session, owner: str) -> None:
    """Give an owner who submits for the first time a place in the line of owners."""
    if session.get(Owner, owner) is None:
        insert_or_leave = (
            sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        )
        session.execute(insert_or_leave(Owner).values(name=owner, turn=0).on_conflict_do_nothing())
