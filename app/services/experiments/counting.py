"""How many experiments there are: by status, data set and owner."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, func, literal, or_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, conditions
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class Counts:
    """Numbers of experiments; what there is none of is left out."""

    by_status: Counter[str]
    by_dataset: Counter[str]
    by_owner: Counter[str]

    @property
    def total(self) -> int:
        """Of all."""
        return self.by_owner.total()


def counts(session: Session, filters: Filters) -> Counts:
    """Of the experiments that the filters let through, on one state of the database.

    Runs are read only where they have not succeeded, which an index on the status finds: in a large database most have.
    What an index of experiments knows is asked of it, and of the few with such a run once more; any other filter reads
    rows, and does so once.
    """
    by_index = replace(filters, owner=None, seen_by=None, dataset=None, archived=None) == Filters()
    found = Counts(Counter(), Counter(), Counter())
    for owner, dataset, status, count in session.execute(
        (_by_index if by_index else _in_one_pass)(filters)
    ):
        found.by_owner[owner] += count
        found.by_dataset[dataset] += count
        found.by_status[status] += count
    if by_index:
        for status, count in session.execute(_unlike(filters)) if found.total else ():
            found.by_status[status] += count
            found.by_status[RunStatus.SUCCEEDED.value] -= count
    return Counts(+found.by_status, found.by_dataset, found.by_owner)


def _by_index(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Numbers by owner and data set, as if all had succeeded."""
    # not by the bare columns: for their order SQLite would walk an index and look up every row that a filter asks for
    keys = _keys()
    succeeded = literal(RunStatus.SUCCEEDED.value)
    return (
        select_columns(*keys, succeeded, func.count()).where(*conditions(filters)).group_by(*keys)
    )


def _unlike(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Numbers by status, of those that have not succeeded."""
    stands = _unlike_success().subquery()
    return (
        select_columns(stands.c.status, func.count())
        .join_from(stands, Experiment, col(Experiment.id) == stands.c.id)
        .where(*conditions(filters))
        .group_by(stands.c.status)
    )


def _in_one_pass(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Numbers by owner, data set and status."""
    # once and for all: a planner that takes it for a few rows would make it for each experiment
    stands = _unlike_success().cte("stands").prefix_with("MATERIALIZED")
    keys = (*_keys(), func.coalesce(stands.c.status, RunStatus.SUCCEEDED.value))
    return (
        select_columns(*keys, func.count())
        .join_from(Experiment, stands, col(Experiment.id) == stands.c.id, isouter=True)
        .where(*conditions(filters))
        .group_by(*keys)
    )


def _keys() -> tuple[ColumnElement[str], ColumnElement[str]]:
    return func.coalesce(col(Experiment.owner), ""), func.coalesce(col(Experiment.dataset), "")


def _unlike_success() -> Select[*tuple[Any, ...]]:
    """Each experiment with a run that has not succeeded, and its status."""
    # two ranges, for which SQLite always takes the index; and it would walk another one by the bare id
    unlike = or_(col(Run.status) < RunStatus.SUCCEEDED, col(Run.status) > RunStatus.SUCCEEDED)
    run = (
        select_columns(cast(col(Run.experiment_id), Text).label("id"), col(Run.status))
        .where(unlike)
        .subquery()
    )
    # of its own runs, which no index on the status has, and one at a time: PostgreSQL would hash what exists in all
    has_succeeded = (
        select_columns(col(Run.id))
        .where(
            col(Run.experiment_id) == run.c.id,
            func.coalesce(col(Run.status), "") == RunStatus.SUCCEEDED.value,
        )
        .limit(1)
        .scalar_subquery()
        .is_not(None)
    )
    return select_columns(run.c.id, _status(run.c.status, has_succeeded).label("status")).group_by(
        run.c.id
    )


def _status(status: ColumnElement[Any], has_succeeded: ColumnElement[bool]) -> ColumnElement[str]:
    """`states.experiment_status` over a group of runs that have not succeeded, some others of which may have; a test
    holds the two together.
    """

    def any_is(*statuses: RunStatus) -> ColumnElement[bool]:
        return func.max(case((status.in_(statuses), 1), else_=0)) == 1

    has_ended = or_(any_is(RunStatus.FAILED, RunStatus.CANCELLED), has_succeeded)
    return case(
        (any_is(RunStatus.RUNNING), RunStatus.RUNNING.value),
        (and_(any_is(RunStatus.QUEUED), has_ended), RunStatus.RUNNING.value),
        (any_is(RunStatus.QUEUED), RunStatus.QUEUED.value),
        (any_is(RunStatus.PAUSED), RunStatus.PAUSED.value),
        (any_is(RunStatus.FAILED), RunStatus.FAILED.value),
        else_=RunStatus.CANCELLED.value,
    )
