"""What has ended since a change's number: read from the change feed, as it stands now.

A run that has ended is written no more but by a retry, which takes it back to the queue. So an experiment or study all
of whose runs have ended, and one of them since that number, has ended since; a new label or note ends nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments import changes
from app.services.experiments.changes import Scope
from app.services.webhooks.messages import EventType, Occurrence
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run, Study

AT_ONCE: Final = 500
"""Ids in one statement."""
EVERYTHING: Final = Scope()

OF_AN_EXPERIMENT: Final = {
    RunStatus.SUCCEEDED: EventType.EXPERIMENT_SUCCEEDED,
    RunStatus.FAILED: EventType.EXPERIMENT_FAILED,
    RunStatus.CANCELLED: EventType.EXPERIMENT_CANCELLED,
}

Runs = list[tuple[RunStatus, datetime | None, int]]
"""Of one experiment or study, each run's status, when it ended, and the number of its last change."""


def since(session: Session, number: int) -> list[Occurrence]:
    """What has ended by a change above the number, in the order in which it did; in one state of the database, which
    the session must see. What was deleted since is not told.
    """
    changed = [one for one in changes.since(session, EVERYTHING, number) if one.kind == "run"]
    ended = _ended(session, [one.id for one in changed])
    experiments = sorted(
        {one.experiment_id for one in changed if one.id in ended and one.experiment_id is not None}
    )
    studies = sorted(
        {one.study_id for one in changed if one.id in ended and one.study_id is not None}
    )
    found = [*_experiments(session, experiments), *_studies(session, studies)]
    return sorted(found, key=lambda one: (one.number, one.is_study, one.id))


def _ended(session: Session, run_ids: Sequence[str]) -> set[str]:
    final = [status for status in RunStatus if status.is_terminal]
    return {
        run_id
        for some in _in_parts(run_ids)
        for run_id in session.execute(
            select_columns(col(Run.id)).where(col(Run.id).in_(some), col(Run.status).in_(final))
        ).scalars()
    }


def _experiments(session: Session, ids: Sequence[str]) -> Iterable[Occurrence]:
    for some in _in_parts(ids):
        runs: dict[str, Runs] = defaultdict(list)
        for experiment_id, *run in session.execute(
            select_columns(
                col(Run.experiment_id), col(Run.status), col(Run.finished_at), col(Run.change)
            ).where(col(Run.experiment_id).in_(some))
        ):
            runs[experiment_id].append(tuple(run))
        columns = (col(Experiment.id), col(Experiment.name), col(Experiment.owner))
        for row in session.execute(
            select_columns(*columns, col(Experiment.labels)).where(col(Experiment.id).in_(some))
        ):
            status = experiment_status(status for status, *_ in runs[row.id])
            if status.is_terminal:
                yield _occurrence(OF_AN_EXPERIMENT[status], status, row, runs[row.id])


def _studies(session: Session, ids: Sequence[str]) -> Iterable[Occurrence]:
    for some in _in_parts(ids):
        runs: dict[str, Runs] = defaultdict(list)
        for study_id, *run in session.execute(
            select_columns(
                col(Experiment.study_id), col(Run.status), col(Run.finished_at), col(Run.change)
            )
            .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
            .where(col(Experiment.study_id).in_(some))
        ):
            runs[study_id].append(tuple(run))
        columns = (col(Study.id), col(Study.name), col(Study.owner))
        for row in session.execute(
            select_columns(*columns, col(Study.labels)).where(col(Study.id).in_(some))
        ):
            status = experiment_status(status for status, *_ in runs[row.id])
            if status.is_terminal:
                yield _occurrence(EventType.STUDY_FINISHED, status, row, runs[row.id])


def _occurrence(kind: EventType, status: RunStatus, row: Row[Any], runs: Runs) -> Occurrence:
    return Occurrence(
        type=kind,
        id=row.id,
        status=status,
        name=row.name,
        owner=row.owner,
        at=max(at for _, at, _ in runs if at is not None),
        number=max(number for *_, number in runs),
        labels=row.labels,
    )


def _in_parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[begin : begin + AT_ONCE] for begin in range(0, len(ids), AT_ONCE))
