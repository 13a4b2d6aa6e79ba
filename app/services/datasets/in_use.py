"""Which experiments still need a data set, and which outlive it."""

from dataclasses import dataclass

from sqlalchemy import case, func
from sqlmodel import Session, col, select

from app.errors import Conflict
from app.services.owners.keys import Caller
from app.storage.states import LEGAL_MOVES, RunStatus
from app.storage.tables import Experiment, Run

MOST_NAMED = 3


@dataclass(frozen=True)
class LeftBehind:
    """Experiments with trained networks that have learned a data set: `num_trained`, and `num_forgetful` of them of a
    version that kept no facts of the data set, so that they cannot predict without it.
    """

    num_trained: int
    num_forgetful: int


def refuse_in_use(session: Session, caller: Caller, name: str) -> None:
    """Raises Conflict while an experiment that is not finished needs the data set; others' are counted, not named."""
    users = _unfinished_users(session, name)
    if not users:
        return
    shown = [experiment_id for experiment_id, owner in users if caller.may_see(owner)]
    parts = [", ".join(shown[:MOST_NAMED])] if shown else []
    if len(shown) > MOST_NAMED:
        parts.append(f"{len(shown) - MOST_NAMED} more")
    if len(users) > len(shown):
        parts.append(f"{len(users) - len(shown)} of others")
    raise Conflict(
        f"{name!r} is used by {' and '.join(parts)}, not finished yet; cancel first, or wait"
    )


def left_behind(session: Session, name: str) -> LeftBehind:
    """What a data set leaves behind when it is removed, of all owners."""
    learned = (
        col(Experiment.id) == col(Run.experiment_id),
        col(Run.status) == RunStatus.SUCCEEDED,
        col(Experiment.spec)[("dataset", "name")].as_string() == name,
    )
    kept = col(Run.environment)[("dataset", "name")].as_string()
    forgetful = case((kept.is_(None), col(Experiment.id)))
    counted = select(
        func.count(func.distinct(col(Experiment.id))), func.count(func.distinct(forgetful))
    )
    return LeftBehind(*session.exec(counted.where(*learned)).one())


def _unfinished_users(session: Session, name: str) -> list[tuple[str, str]]:
    """Ids and owners of the experiments that have work left and name the data set anywhere in their spec, the oldest
    first.
    """
    unfinished = select(Run.experiment_id).where(
        col(Run.status).in_([status for status, moves in LEGAL_MOVES.items() if moves])
    )
    columns = select(Experiment.id, Experiment.owner, Experiment.spec)
    statement = columns.where(col(Experiment.id).in_(unfinished)).order_by(
        col(Experiment.created_at), col(Experiment.id)
    )
    return [
        (experiment_id, owner)
        for experiment_id, owner, spec in session.exec(statement)
        if _names_dataset(spec, name)
    ]


def _names_dataset(part: object, name: str) -> bool:
    if isinstance(part, list):
        return any(_names_dataset(item, name) for item in part)
    if not isinstance(part, dict):
        return False
    dataset = part.get("dataset")
    return (isinstance(dataset, dict) and dataset.get("name") == name) or any(
        _names_dataset(item, name) for item in part.values()
    )
