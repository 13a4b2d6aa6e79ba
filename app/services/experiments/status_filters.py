"""Which experiments have a status, which is their runs' taken together, asked of what is kept of them."""

from collections.abc import Collection

from sqlalchemy import ColumnElement
from sqlalchemy import select as select_columns
from sqlmodel import col

from app.storage.states import RunStatus
from app.storage.tables import Experiment, ExperimentSummary


def has_status(wanted: Collection[RunStatus]) -> ColumnElement[bool]:
    """One of these, as `states.experiment_status` says it."""
    return col(Experiment.id).in_(
        select_columns(col(ExperimentSummary.experiment_id)).where(
            col(ExperimentSummary.status).in_(wanted)
        )
    )
