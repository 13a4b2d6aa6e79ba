"""What a home holds, in three numbers, for whoever starts the service in it."""

from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, select

from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class Holdings:
    """How many experiments there are, and how many runs are under way and wait."""

    experiments: int
    running: int
    queued: int


def holdings_of(session: Session) -> Holdings:
    """As the database has it now; `running` may count runs whose worker is gone."""
    experiments = session.exec(select(func.count()).select_from(Experiment)).one()
    runs = dict(session.exec(select(Run.status, func.count()).group_by(Run.status)).all())
    return Holdings(experiments, runs.get(RunStatus.RUNNING, 0), runs.get(RunStatus.QUEUED, 0))
