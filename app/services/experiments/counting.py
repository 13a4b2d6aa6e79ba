"""How many experiments there are: by status, data set and owner."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, conditions
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class Counts:
    """Numbers of experiments; what there is none of is left out."""

    total: int
    by_status: Counter[str]
    by_dataset: Counter[str]
    by_owner: Counter[str]


def counts(session: Session, filters: Filters) -> Counts:
    """Of the experiments that the filters let through, by two statements on one state of the database.

    Owners and data sets are read from an index; runs only of experiments that have one that has not succeeded, which an
    index on the status finds. All others have succeeded, and in a large database they are most.
    """
    by_dataset: Counter[str] = Counter()
    by_owner: Counter[str] = Counter()
    for owner, dataset, count in session.execute(_made(filters)):
        by_owner[owner] += count
        by_dataset[str(dataset)] += count
    total = by_owner.total()
    by_status: Counter[str] = Counter()
    for status, count in session.execute(_unlike_success(filters)) if total else ():
        by_status[status] = count
    by_status[RunStatus.SUCCEEDED.value] += total - by_status.total()
    return Counts(total, +by_status, by_dataset, by_owner)


def _made(filters: Filters) -> Select[str, str, int]:
    """How many there are by owner and data set."""
    # not by the bare columns: for their order SQLite would walk an index and look up every row that a filter asks for
    keys = (func.coalesce(col(Experiment.owner), ""), func.coalesce(col(Experiment.dataset), ""))
    return select_columns(*keys, func.count()).where(*conditions(filters)).group_by(*keys)


def _unlike_success(filters: Filters) -> Select[Any]:
    """How many have each status, of those with a run that has not succeeded."""
    # two ranges, for which SQLite always takes the index
    unlike = or_(col(Run.status) < RunStatus.SUCCEEDED, col(Run.status) > RunStatus.SUCCEEDED)
    stands = (
        select_columns(col(Run.experiment_id).label("id"), _status().label("status"))
        .where(col(Run.experiment_id).in_(select_columns(col(Run.experiment_id)).where(unlike)))
        .group_by(col(Run.experiment_id))
        .subquery()
    )
    return (
        select_columns(stands.c.status, func.count())
        .join(Experiment, col(Experiment.id) == stands.c.id)
        .where(*conditions(filters))
        .group_by(stands.c.status)
    )


def _status() -> ColumnElement[str]:
    """`states.experiment_status` over a group of runs; a test holds the two together."""
    ended = _any(*(status for status in RunStatus if status.is_terminal))
    return case(
        (_any(RunStatus.RUNNING), RunStatus.RUNNING.value),
        (and_(_any(RunStatus.QUEUED), ended), RunStatus.RUNNING.value),
        (_any(RunStatus.QUEUED), RunStatus.QUEUED.value),
        (_any(RunStatus.PAUSED), RunStatus.PAUSED.value),
        (_any(RunStatus.FAILED), RunStatus.FAILED.value),
        (_any(RunStatus.CANCELLED), RunStatus.CANCELLED.value),
        else_=RunStatus.SUCCEEDED.value,
    )


def _any(*statuses: RunStatus) -> ColumnElement[bool]:
    return func.max(case((col(Run.status).in_(statuses), 1), else_=0)) == 1
