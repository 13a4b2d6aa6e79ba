"""What lists filter and sort by, kept for each experiment: its status and its scores, which are its runs' together.

A summary is worked out anew whenever the experiment's own row or the status of one of its runs has been written, at the
end of that transaction, after it has counted the change (`changes`): whoever holds that counter sees what all others
before it have committed, so no two can leave a summary that only one of them is in. Nobody else writes summaries, and
they refer to nothing, so no lock is waited for.
"""

from collections.abc import Collection
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Executable,
    Float,
    Numeric,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    union,
)
from sqlalchemy import select as select_columns
from sqlmodel import col

from app.storage.changes import SUMMARIZED, UNNUMBERED
from app.storage.dialects import insert_into, microseconds
from app.storage.states import RunStatus
from app.storage.tables import Experiment, ExperimentSummary, Run, Tombstone

ENDED: Final = [status for status in RunStatus if status.is_terminal]


def summarize(connection: Connection, written: Collection[str]) -> None:
    """Bring up to date what the transaction has written, which is still unnumbered."""
    if SUMMARIZED in written:
        connection.execute(_upsert(connection.dialect.name), {"marked": UNNUMBERED})
    if "tombstone" in written:
        connection.execute(_removal(), {"marked": UNNUMBERED})


def computed(*conditions: ColumnElement[bool]) -> Any:
    """The summaries of the experiments of which the conditions hold, from their runs."""
    return (
        select_columns(*(value.label(name) for name, value in _values().items()))
        .join(Run, col(Run.experiment_id) == col(Experiment.id))
        .where(*conditions)
        .group_by(col(Experiment.id))
    )


@cache
def _upsert(dialect: str) -> Executable:
    marked: BindParameter[int] = bindparam("marked")
    written = union(
        select_columns(col(Run.experiment_id)).where(col(Run.change) == marked),
        select_columns(col(Experiment.id)).where(col(Experiment.change) == marked),
    )
    names = list(_values())
    adding = insert_into(ExperimentSummary, dialect).from_select(
        names, computed(col(Experiment.id).in_(written))
    )
    upsert: Executable = adding.on_conflict_do_update(
        index_elements=["experiment_id"],
        set_={name: adding.excluded[name] for name in names if name != "experiment_id"},
    )
    return upsert


@cache
def _removal() -> Executable:
    gone = select_columns(col(Tombstone.id)).where(col(Tombstone.change) == bindparam("marked"))
    return delete(ExperimentSummary).where(col(ExperimentSummary.experiment_id).in_(gone))


def _values() -> dict[str, Any]:
    """By column, over the runs of an experiment."""
    lasted = microseconds(func.max(col(Run.finished_at))) - microseconds(
        func.min(col(Run.started_at))
    )
    have_ended = func.count(col(Run.finished_at)) == func.count(col(Run.id))
    own = {name: col(getattr(Experiment, name)) for name in ("owner", "created_at")}
    return {
        "experiment_id": col(Experiment.id),
        **own,
        "dataset": col(Experiment.dataset),
        "archived": col(Experiment.archived),
        "status": _status(),
        "finished_at": case((have_ended, func.max(col(Run.finished_at)))),
        "lasted": case((have_ended, lasted)),
        "test_accuracy": _mean(col(Run.test)["accuracy"].as_string()),
        "test_loss": _mean(col(Run.test)["loss"].as_string()),
        "val_accuracy": _mean(col(Run.best)[("val", "accuracy")].as_string()),
        "val_loss": _mean(col(Run.best)[("val", "loss")].as_string()),
    }


def _status() -> ColumnElement[str]:
    """`states.experiment_status`; a test holds the two together."""

    def any_is(*statuses: RunStatus) -> ColumnElement[bool]:
        return func.max(case((col(Run.status).in_(statuses), 1), else_=0)) == 1

    return case(
        (any_is(RunStatus.RUNNING), RunStatus.RUNNING.value),
        (and_(any_is(RunStatus.QUEUED), any_is(*ENDED)), RunStatus.RUNNING.value),
        (any_is(RunStatus.QUEUED), RunStatus.QUEUED.value),
        (any_is(RunStatus.PAUSED), RunStatus.PAUSED.value),
        (any_is(RunStatus.FAILED), RunStatus.FAILED.value),
        (any_is(RunStatus.CANCELLED), RunStatus.CANCELLED.value),
        else_=RunStatus.SUCCEEDED.value,
    )


def _mean(number: ColumnElement[str]) -> ColumnElement[float]:
    """Over the succeeded runs, in decimal numbers, which PostgreSQL adds to the same sum in any order."""
    succeeded = case((col(Run.status) == RunStatus.SUCCEEDED, cast(number, Numeric)))
    return cast(func.avg(succeeded), Float)
