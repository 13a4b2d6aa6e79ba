"""Which experiments have a status, which is their runs' taken together, asked of the database."""

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy import select as select_columns
from sqlmodel import col

from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


def has_status(wanted: RunStatus) -> list[ColumnElement[bool]]:
    """`states.experiment_status` in SQL; a test holds the two together.

    Asked of each experiment of a page, not counted over all runs; where a status is rare, its experiments are found by
    its runs.
    """
    ended = [status for status in RunStatus if status.is_terminal]
    match wanted:
        case RunStatus.RUNNING:
            return [
                _is_one_of(RunStatus.RUNNING, RunStatus.QUEUED),
                or_(_has(RunStatus.RUNNING), and_(_has(RunStatus.QUEUED), _has(*ended))),
            ]
        case RunStatus.QUEUED:
            return [_is_one_of(RunStatus.QUEUED), ~_has(RunStatus.RUNNING, *ended)]
        case RunStatus.PAUSED:
            return [_is_one_of(RunStatus.PAUSED), ~_has(RunStatus.RUNNING, RunStatus.QUEUED)]
        case RunStatus.FAILED:
            return [
                _is_one_of(RunStatus.FAILED),
                ~_has(*(status for status in RunStatus if not status.is_terminal)),
            ]
        case RunStatus.CANCELLED:
            return [
                _is_one_of(RunStatus.CANCELLED),
                ~_has(
                    *(
                        status
                        for status in RunStatus
                        if status not in (RunStatus.CANCELLED, RunStatus.SUCCEEDED)
                    )
                ),
            ]
        case RunStatus.SUCCEEDED:
            return [
                _has(RunStatus.SUCCEEDED),
                ~_has(*(status for status in RunStatus if status is not RunStatus.SUCCEEDED)),
            ]


def _is_one_of(*statuses: RunStatus) -> ColumnElement[bool]:
    """Whether the experiment is among those with a run of one of these statuses."""
    return col(Experiment.id).in_(
        select_columns(col(Run.experiment_id)).where(col(Run.status).in_(statuses))
    )


def _has(*statuses: RunStatus) -> ColumnElement[bool]:
    """The same, by looking at the experiment's own runs."""
    # which no index has: SQLite would take the one on status, and look through all runs that have it
    status = func.coalesce(col(Run.status), "")
    return (
        select_columns(col(Run.id))
        .where(col(Run.experiment_id) == col(Experiment.id), status.in_(statuses))
        .correlate(Experiment)
        .exists()
    )
