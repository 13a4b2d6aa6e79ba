"""A data set stays where it is while something that needs it is being written: who writes shares its name, who removes
it has it alone.

SQLite has one writer at a time anyway.
"""

from collections.abc import Iterable

from sqlalchemy import func
from sqlalchemy import select as select_columns
from sqlmodel import Session

DATASET_LOCK = 7_236_015
"""Any number, the same in every process: the class of PostgreSQL's advisory locks on names of data sets."""


def share(session: Session, names: Iterable[str]) -> None:
    """Until the transaction ends none of these data sets is removed."""
    _lock(session, names, "pg_advisory_xact_lock_shared")


def have_alone(session: Session, name: str) -> None:
    """Until the transaction ends nobody writes what needs this data set; whoever did before has ended, so that what
    they wrote can be seen.
    """
    _lock(session, [name], "pg_advisory_xact_lock")


def _lock(session: Session, names: Iterable[str], lock: str) -> None:
    if session.connection().dialect.name == "postgresql":  # which begins the transaction
        for name in sorted(set(names)):
            session.execute(select_columns(getattr(func, lock)(DATASET_LOCK, func.hashtext(name))))
