"""How many experiments there are: by status, data set and owner."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, beyond_summaries, summarized
from app.storage.tables import Experiment, ExperimentSummary


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
    """Of the experiments that the filters let through, on one state of the database."""
    found = Counts(Counter(), Counter(), Counter())
    for owner, dataset, status, count in session.execute(_counted(filters)):
        found.by_owner[owner] += count
        found.by_dataset[dataset or ""] += count
        found.by_status[status] += count
    return found


def _counted(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Numbers by owner, data set and status: of an index of summaries alone, where that knows all that is asked."""
    summary = ExperimentSummary
    keys = (col(summary.owner), col(summary.dataset), col(summary.status))
    counted = select_columns(*keys, func.count()).where(*summarized(filters)).group_by(*keys)
    others = beyond_summaries(filters)
    if not others:
        return counted
    own = col(Experiment.id) == col(summary.experiment_id)
    return counted.join(Experiment, own).where(*others)
