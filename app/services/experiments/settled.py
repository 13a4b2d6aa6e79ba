"""Experiments of which nothing goes on any more: in one slim look whether their record can have changed."""

import hashlib
from functools import cache
from typing import Any

from sqlalchemy import Select, String, bindparam, func, type_coerce
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from app.services.experiments import deletion
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run

MOST_KNOWN = 10_000
"""Experiments that are remembered, with a hundred bytes each."""


class SettledRecords:
    """The tags of records that somebody polls though they have ended, each with the state that it belongs to. Asked by
    any thread.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def tag(self, experiment_id: str, state: str) -> str | None:
        """The tag of the record as it is in this state, if it was remembered."""
        known_state, tag = self._known.get(experiment_id, ("", None))
        return tag if known_state == state else None

    def remember(self, experiment_id: str, state: str, tag: str) -> None:
        """The state must have been read before the record: what changes in between then makes the tag a wrong guess for
        nobody.
        """
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[experiment_id] = state, tag


def settled_state(session: Session, experiment_id: str) -> tuple[str, str] | None:
    """The owner, and in a short text all that can still change in the record: name, labels, notes, whether it is
    archived, a retry, more seeds, files that are removed, the experiment that it is like. None where there is none, or
    a run is unfinished.
    """
    rows = session.execute(_facts(), {"experiment_id": experiment_id}).all()
    if not rows or not all(RunStatus(row.status).is_terminal for row in rows):
        return None
    digest = hashlib.blake2b(repr([tuple(row) for row in rows]).encode(), digest_size=16)
    return str(rows[0].owner), digest.hexdigest()


@cache
def _facts() -> Select[Any]:
    like = col(Experiment.submitted)["like"].as_string()
    other = aliased(Experiment)
    is_there = (
        select_columns(func.count(col(other.id)))
        .where(col(other.id) == like)
        .correlate(Experiment)
        .scalar_subquery()
    )
    of_experiment = (
        col(Experiment.owner),
        col(Experiment.name),
        type_coerce(Experiment.labels, String),
        col(Experiment.notes),
        col(Experiment.archived),
        is_there,
    )
    of_run = ("id", "status", "attempt", "fence", "finished_at")
    as_text = [type_coerce(col(getattr(Run, name)), String).label(name) for name in of_run]
    return (
        select_columns(*of_experiment, *as_text, deletion.size_of_run())
        .join(Run, col(Run.experiment_id) == col(Experiment.id))
        .where(col(Experiment.id) == bindparam("experiment_id"))
        .order_by(col(Run.position))
    )
