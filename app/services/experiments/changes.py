"""What has changed since a change's number, of what somebody watches."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

from sqlalchemy import ColumnElement, Select
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.storage.states import RunStatus
from app.storage.tables import ChangeCounter, Experiment, Run, Study, Tombstone

Kind = Literal["run", "experiment", "study", "left", "deleted"]

MOST_AT_ONCE = 5_000
"""Ids in one statement: a database takes only so many parameters."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A row as it stands, or what is left of it, and the number of the last change that concerned it.

    A run concerns its experiment and its study. `was` says what is gone that was deleted. `left` is an experiment that
    has changed itself: told to those for whom it has not the label, or not any more.
    """

    kind: Kind
    id: str
    number: int
    owner: str
    experiment_id: str | None = None
    study_id: str | None = None
    was: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """The experiment's, of a run as well."""
    own: int = 0
    """The last change of the row itself."""
    is_retold: bool = False
    """Whether it is told because its experiment may have got a label just now."""

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it stands among others: by number, a run before its experiment, and that before its study."""
        return self.number, _ORDER[self.kind], self.id


@dataclass(frozen=True)
class Scope:
    """What is watched: these experiments, or a study with its experiments, or else everything; of `owner` alone and
    what `seen_by` may see, where those are given. Runs are their experiments'; where `run` is given, of these only it,
    and that they are deleted. Where `labels` are given, the experiments that have all of them now.
    """

    experiments: frozenset[str] | None = None
    study: str | None = None
    owner: str | None = None
    seen_by: str | None = None
    run: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def can_be_over(self) -> bool:
        """Whether it may come to an end. A run does, but who follows its log has more to read then."""
        return self.run is None and (self.experiments is not None or self.study is not None)

    def holds(self, changed: Changed) -> bool:
        """Whether this is watched."""
        if any(owner not in (None, changed.owner) for owner in (self.owner, self.seen_by)):
            return False
        if self.labels:
            return self._holds_by_label(changed)
        if changed.kind == "left" or changed.is_retold:
            return False
        if self.run is not None and changed.kind != "deleted" and changed.id != self.run:
            return False
        if self.experiments is not None:
            return changed.experiment_id in self.experiments
        return self.study is None or changed.study_id == self.study

    def _holds_by_label(self, changed: Changed) -> bool:
        """What labels something had before nobody knows: what is deleted or has not the labels may have had them."""
        if changed.kind in ("study", "deleted"):
            return changed.was == "experiment"
        has_all = all(changed.labels.get(key) == value for key, value in self.labels)
        return has_all != (changed.kind == "left")


def latest(session: Session) -> int:
    """The number of the last change."""
    return int(session.execute(_latest()).scalar_one())


def since(
    session: Session, scope: Scope, number: int, *, for_labels: bool = False
) -> list[Changed]:
    """What changed after that number, each thing once, in the order of their last changes: runs, their experiments,
    their studies, and what was deleted. In one state of the database, which the session must see. `for_labels`: also
    what only those are told who watch labels, whichever they are.
    """
    runs = _runs(session, scope, number)
    experiments = _experiments(session, scope, number, runs)
    runs = [_of_its_experiment(run, experiments) for run in runs]
    studies = _studies(session, scope, number, experiments.values())
    touched = [one for one in (*experiments.values(), *studies) if one.number > number]
    found = [*runs, *touched, *_deleted(session, number)]
    besides: list[Changed] = []
    if number and (for_labels or scope.labels):
        besides = _for_labels(session, number, experiments, runs)
    held = [one for one in (*found, *besides) if scope.holds(one)]
    if for_labels:  # whoever asks for others looks for which of them each is
        held = [*filter(scope.holds, found), *besides]
    return sorted(held, key=lambda one: one.place)


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


_ORDER: dict[Kind, int] = {"run": 0, "experiment": 1, "left": 1, "study": 2, "deleted": 3}


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
        col(Experiment.labels),
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
            labels=row.labels,
            own=row.change,
        )
        for row in rows
    }


def _of_its_experiment(run: Changed, experiments: Mapping[str, Changed]) -> Changed:
    experiment = experiments[run.experiment_id or ""]
    return replace(run, study_id=experiment.study_id, labels=experiment.labels)


def _for_labels(
    session: Session, number: int, experiments: Mapping[str, Changed], runs: Iterable[Changed]
) -> list[Changed]:
    """Of each experiment that has changed itself, which may be because of its labels: all its runs, as they may be new
    to who watches a label, and that it may have left.
    """
    changed = {one.id: one for one in experiments.values() if one.own > number}
    told = {run.id for run in runs}
    columns = (col(Run.id), col(Run.owner), col(Run.experiment_id))
    retold = [
        _of_its_experiment(
            Changed("run", row.id, changed[row[2]].own, row[1], row[2], is_retold=True), changed
        )
        for some in _in_parts(sorted(changed))
        for row in session.execute(select_columns(*columns).where(col(Run.experiment_id).in_(some)))
        if row.id not in told
    ]
    return [*retold, *(replace(one, kind="left", number=one.own) for one in changed.values())]


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
