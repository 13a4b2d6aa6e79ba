"""How runs come to be: queued as new, or at once with what an equal run has come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, func, insert, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.lifecycle.looking import hold_still
from app.services.lifecycle.moves import USER, Move, remember, tell_dependents
from app.storage.dialects import insert_into
from app.storage.states import RunStatus, StatusReason, TrainsOn
from app.storage.tables import Owner, Run, metadata, utc_now

RUNS = metadata().tables["run"]
TAKEN_OVER = (
    *("best", "test", "train"),
    *("environment", "micro_batches", "stop_reason", "epochs_done", "artifact_bytes"),
)
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
    trains_on: TrainsOn = TrainsOn.ANY
    needs: str | None = None
    is_ready: bool = True

    @property
    def reason(self) -> StatusReason:
        """What it waits for."""
        return (
            StatusReason.WAITING_FOR_WORKER if self.is_ready else StatusReason.WAITING_FOR_TEACHER
        )


def enqueue(session: Session, runs: Sequence[NewRun], actor: str = USER) -> None:
    """Add new runs to the queue, a needed run before those that need it."""
    if not runs:
        return
    for owner in sorted({run.owner for run in runs}):
        _know(session, owner)
    session.execute(insert(Run), [_row(run) for run in runs])
    remember(session, [Move(run.id, 0, None, RunStatus.QUEUED, run.reason) for run in runs], actor)


def take_over(session: Session, givers: Mapping[str, str], actor: str = USER) -> list[str]:
    """queued -> succeeded with an equal run's results, before any attempt; `givers` says for each run which.

    Returns those that did. A run that was claimed or is finished already, or whose giver is gone, stays as it is.
    """
    if not givers:
        return []
    there = select_columns(col(Run.id)).where(
        col(Run.id).in_(set(givers.values())), col(Run.status) == RunStatus.SUCCEEDED
    )
    # not deleted until the transaction ends
    kept = set(
        session.execute(
            there.order_by(col(Run.id)).with_for_update(read=True, key_share=True)
        ).scalars()
    )
    taking = [
        run
        for run in hold_still(session, list(givers)).values()
        if givers[run.id] in kept and run.status is RunStatus.QUEUED and run.attempt == 0
    ]
    if taking:
        session.connection().execute(
            _taking_over(), [{"taker": run.id, "giver": givers[run.id]} for run in taking]
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


def _taking_over() -> Update:
    """The move of `taker` to what `giver` has come to, for many pairs."""
    giver = RUNS.alias("giver")

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
        "trains_on": run.trains_on.value,
        "created_at": run.created_at,
        "status": RunStatus.QUEUED,
        "status_reason": run.reason,
        "epochs": run.epochs,
        "num_steps": run.num_steps,
        "needs": run.needs,
        "artifact_bytes": 0,
    }


def _know(session: Session, owner: str) -> None:
    """Give an owner who submits for the first time a place in the line of owners."""
    if session.get(Owner, owner) is None:
        adding = insert_into(Owner, session.get_bind().dialect.name).values(name=owner, turn=0)
        session.execute(adding.on_conflict_do_nothing())
