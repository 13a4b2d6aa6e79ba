"""Runs looked at and locked until the transaction ends: no claim, release or end comes between the look and a move."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, or_
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from app.storage.states import RunStatus
from app.storage.tables import Run

LOCK_ORDER: Final = (col(Run.needs).is_not(None), col(Run.id))
"""In which order runs are locked, always: an end locks its run and then those that need it, so what needs nothing comes
first. What is needed needs nothing itself: a foundation is a network that is trained plainly.
"""


@dataclass(frozen=True)
class StillRun:
    """A run as it stands until the transaction ends."""

    id: str
    status: RunStatus
    attempt: int
    needs: str | None


def hold_still(
    session: Session, run_ids: Sequence[str], *, with_needed: bool = False
) -> dict[str, StillRun]:
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
        select_columns(*columns).where(wanted).order_by(*LOCK_ORDER).with_for_update()
    ).all()
    return {row.id: StillRun(row.id, row.status, row.attempt, row.needs) for row in rows}


def having(held: Mapping[str, StillRun], statuses: Collection[RunStatus]) -> list[str]:
    """Those of them that have one of these statuses."""
    return [run.id for run in held.values() if run.status in statuses]
