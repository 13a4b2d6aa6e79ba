"""What is left of experiments and studies that were deleted: enough to tell who watches that they are gone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.storage.tables import Tombstone, utc_now

KEPT_FOR: Final = timedelta(days=1)


def leave(session: Session, tombstones: Sequence[Tombstone]) -> None:
    """Leave these, and take away those that have been there for a day."""
    _prune(session)
    session.add_all(tombstones)
    session.flush()


def horizon(session: Session) -> int:
    """The number of the change since which every deletion is still known."""
    oldest = select_columns(func.max(col(Tombstone.change))).where(_is_old())
    return session.execute(oldest).scalar_one() or 0


def _prune(session: Session) -> None:
    """All but the newest of those that are old, which tells how far back is known (`horizon`)."""
    old = select_columns(col(Tombstone.id)).where(
        _is_old(), col(Tombstone.change) < horizon(session)
    )
    # who deletes at the same time takes others, in the same order
    found = session.execute(old.order_by(col(Tombstone.id)).with_for_update(skip_locked=True))
    session.execute(delete(Tombstone).where(col(Tombstone.id).in_(found.scalars().all())))


def _is_old() -> ColumnElement[bool]:
    return col(Tombstone.at) < utc_now() - KEPT_FOR
