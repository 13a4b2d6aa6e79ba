"""What has changed since a change's number, of what somebody watches."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from sqlalchemy import ColumnElement, Select
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.storage.states import RunStatus
from app.storage.tables import ChangeCounter, Experiment, Run, Study, Tombstone

Kind = Literal["run", "experiment", "study", "deleted"]

MOST_AT_ONCE = 5_000
"""Ids in one statement: a database takes only so many parameters."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A row as it stands, or what is left of it, and the number of the last change that concerned it.

    A run concerns its experiment and its study. `was` says what is gone that was deleted.
    """

    kind: Kind
    id: str
    number: int
    owner: str
    experiment_id: str | None = None
    study_id: str | None = None
    was: str | None = None

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it stands among others: by number, a run before its experiment, and that before its study."""
        return self.number, _ORDER[self.kind], self.id


@dataclass(frozen=True)
class Scope:
    """What is watched: these experiments, or a study with its experiments, or else everything; of `owner` alone and
    what `seen_by` may see, where those are given. Runs are their experiments'; where `run` is given, of these only it,
    and that they are deleted.
    """

    experiments: frozenset[str] | None = None
    study: str | None = None
    owner: str | None = None
    seen_by: str | None = None
    run: str | None = None

    @property
    def can_be_over(self) -> bool:
        """Whether it may come to an end. A run does, but who follows its log has more to read then."""
        return self.run is None and (self.experiments is not None or self.study is not None)

    def holds(self, changed: Changed) -> bool:
        """Whether this is watched."""
        if any(owner not in (None, changed.owner) for owner in (self.owner, self.seen_by)):
            return False
        if self.run is not None and changed.kind != "deleted" and changed.id != self.run:
            return False
        if self.experiments is not None:
            return changed.experiment_id in self.experiments
        return self.study is None or changed.study_id == self.study


def latest(session: Session) -> int:
    """The number of the last change."""
    return int(session.execute(_latest()).scalar_one())


def since(session: Session, scope: Scope, number: int) -> list[Changed]:
    """What changed after that number, each thing once, in the order of their last changes: runs, their experiments,
    their studies, and what was deleted. In one state of the database, which the session must see.
    """
    runs = _runs(session, scope, number)
    experiments = _experiments(session, scope, number, runs)
    runs = [replace(run, study_id=experiments[run.experiment_id or ""].study_id) for run in runs]
    studies = _studies(session, scope, number, experiments.values())
    touched = [one for one in (*experiments.values(), *studies) if one.number > number]
    found = (*runs, *touched, *_deleted(session, number))
    return sorted((one for one in found if scope.holds(one)), key=lambda one: one.place)


def is_over(session: Session, scope: Scope) -> bool:
    """Whether every run of a scope that can be over has ended, or nothing of it is left."""
    final = [status for status in RunStatus if status.is_terminal]
    unfinished = select_columns(col(Run.id)).where(
        col(Run.status).not_in(final), *_of_experiments(scope)
    )
    return session.execute(unfinished.limit(1)).first() is None


@cache
def _latest() -> Select[int]:
    """Made once, since it is asked again and again."""
    return select_columns(col(ChangeCounter.value)).where(col(ChangeCounter.id) == 1)


_ORDER: dict[Kind, int] = {"run": 0, "experiment": 1, "study": 2, "deleted": 3}


def _of_experiments(scope: Scope) -> list[ColumnElement[bool]]:
    """What holds of a scope's runs, as far as an index helps."""
    if scope.experiments is not None:
        return [col(Run.experiment_id).in_(scope.experiments)]
    if scope.study is not None:
        of_study = select_columns(col(Experiment.id)).where(col(Experiment.study_id) == scope.study)
        return [col(Run.experiment_id).in_(of_study)]
    return [col(Run.owner) == owner for owner in _owners(scope)]


def _as_far_as_named(scope: Scope) -> list[ColumnElement[bool]]:
    """What holds of a scope's experiments, as far as an index helps."""
    if scope.experiments is not None:
        return [col(Experiment.id).in_(scope.experiments)]
    if scope.study is not None:
        return [col(Experiment.study_id) == scope.study]
    return [col(Experiment.owner) == owner for owner in _owners(scope)]


def _owners(scope: Scope) -> list[str]:
    return [owner for owner in (scope.owner, scope.seen_by) if owner is not None]


def _runs(session: Session, scope: Scope, number: int) -> list[Changed]:
    columns = (col(Run.id), col(Run.change), col(Run.owner), col(Run.experiment_id))
    rows = session.execute(
        select_columns(*columns).where(col(Run.change) > number, *_of_experiments(scope))
    )
    return [Changed("run", *row) for row in rows]


def _experiments(
    session: Session, scope: Scope, number: int, runs: Iterable[Changed]
) -> dict[str, Changed]:
    """Those that changed themselves, and those of the runs."""
    columns = (
        col(Experiment.id),
        col(Experiment.change),
        col(Experiment.owner),
        col(Experiment.study_id),
    )
    of_runs: dict[str, int] = {}
    for run in runs:
        of_runs[run.experiment_id or ""] = max(of_runs.get(run.experiment_id or "", 0), run.number)
    own = col(Experiment.change) > number
    rows = [*session.execute(select_columns(*columns).where(own, *_as_far_as_named(scope)))]
    missing = sorted(of_runs.keys() - {row.id for row in rows})
    for some in _in_parts(missing):
        rows += session.execute(select_columns(*columns).where(col(Experiment.id).in_(some)))
    return {
        row.id: Changed(
            "experiment",
            row.id,
            max(row.change, of_runs.get(row.id, 0)),
            row.owner,
            row.id,
            row.study_id,
        )
        for row in rows
    }


def _studies(
    session: Session, scope: Scope, number: int, experiments: Iterable[Changed]
) -> list[Changed]:
    """Those that changed themselves, and those of the experiments."""
    if scope.experiments is not None:
        return []
    columns = (col(Study.id), col(Study.change), col(Study.owner))
    of_cells: dict[str, int] = {}
    for one in experiments:
        if one.study_id is not None:
            of_cells[one.study_id] = max(of_cells.get(one.study_id, 0), one.number)
    rows = [*session.execute(select_columns(*columns).where(col(Study.change) > number))]
    missing = sorted(of_cells.keys() - {row.id for row in rows})
    for some in _in_parts(missing):
        rows += session.execute(select_columns(*columns).where(col(Study.id).in_(some)))
    return [
        Changed(
            "study",
            row.id,
            max(row.change, of_cells.get(row.id, 0)),
            row.owner,
            study_id=row.id,
        )
        for row in rows
    ]


def _deleted(session: Session, number: int) -> list[Changed]:
    rows = session.execute(
        select_columns(Tombstone).where(col(Tombstone.change) > number)
    ).scalars()
    return [
        Changed(
            "deleted",
            one.id,
            one.change or 0,
            one.owner,
            one.id if one.kind == "experiment" else None,
            one.study_id if one.kind == "experiment" else one.id,
            one.kind,
        )
        for one in rows
    ]


def _in_parts(ids: Sequence[str]) -> Iterable[Collection[str]]:
    return (ids[begin : begin + MOST_AT_ONCE] for begin in range(0, len(ids), MOST_AT_ONCE))
