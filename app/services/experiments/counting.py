"""How many experiments there are: by status, data set and owner."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, conditions, dataset_name
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
    """Of the experiments that the filters let through, by one statement."""
    let_through = (
        select_columns(
            col(Experiment.id).label("id"),
            col(Experiment.owner).label("owner"),
            dataset_name().label("dataset"),
        )
        .where(*conditions(filters))
        .subquery()
    )
    stands = (
        select_columns(let_through.c.owner, let_through.c.dataset, _status().label("status"))
        .join(Run, col(Run.experiment_id) == let_through.c.id)
        .group_by(let_through.c.id, let_through.c.owner, let_through.c.dataset)
        .subquery()
    )
    keys = (stands.c.status, stands.c.dataset, stands.c.owner)
    by: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    total = 0
    for *values, count in session.execute(
        select_columns(*keys, func.count()).group_by(*keys)
    ).all():
        total += count
        for counter, value in zip(by, values, strict=True):
            counter[str(value)] += count
    return Counts(total, *by)


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
