"""What a home holds, in four numbers, for whoever starts the service in it."""

from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, select

from app.services.lifecycle.workers import online
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class Holdings:
    """How many experiments there are, how many runs are under way and wait, and how many workers have just been seen:
    another service's, or those of one that was killed.
    """

    experiments: int
    running: int
    queued: int
    workers: int = 0


def holdings_of(session: Session) -> Holdings:
    """As the database has it now; `running` may count runs whose worker is gone."""
    experiments = session.exec(select(func.count()).select_from(Experiment)).one()
    runs = dict(session.exec(select(Run.status, func.count()).group_by(Run.status)).all())
    return Holdings(
        experiments,
        runs.get(RunStatus.RUNNING, 0),
        runs.get(RunStatus.QUEUED, 0),
        len(online(session)),
    )
