"""A data set stays where it is while something that needs it is being written: who writes shares its name, who removes
it has it alone.

SQLite has one writer at a time anyway.
"""

from collections.abc import Iterable

from sqlmodel import Session

from app.storage.advisory_locks import AdvisoryLock, hold


def share(session: Session, names: Iterable[str]) -> None:
    """Until the transaction ends none of these data sets is removed."""
    connection = session.connection()  # which begins the transaction
    for name in sorted(set(names)):
        hold(connection, AdvisoryLock.DATASETS, name, shared=True)


def have_alone(session: Session, name: str) -> None:
    """Until the transaction ends nobody writes what needs this data set; whoever did before has ended, so that what
    they wrote can be seen.
    """
    hold(session.connection(), AdvisoryLock.DATASETS, name)
