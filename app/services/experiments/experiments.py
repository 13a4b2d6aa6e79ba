"""Experiments: found with their runs, listed and cancelled."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, tuple_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.errors import AlreadyFinished, NotFound
from app.services import lifecycle
from app.services.experiments.filtering import Filters, beyond_summaries, conditions, summarized
from app.services.experiments.paging import read_cursor, write_cursor
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, ExperimentSummary, Run


class Listed(NamedTuple):
    """What a list shows of an experiment; specs and bodies stay in the database."""

    id: str
    created_at: datetime
    owner: str
    name: str | None
    labels: dict[str, str]
    kind: str
    fingerprint: str
    parameters: int
    study_id: str | None
    archived: bool


def get(session: Session, experiment_id: str) -> Experiment:
    """The experiment, or NotFound."""
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise unknown(experiment_id)
    return experiment


def owners_of(session: Session, experiment_ids: Collection[str]) -> dict[str, str]:
    """Whose those of the experiments are that are there."""
    named = col(Experiment.id).in_(experiment_ids)
    rows = session.execute(select_columns(col(Experiment.id), col(Experiment.owner)).where(named))
    return {experiment_id: owner for experiment_id, owner in rows}  # noqa: C416 - rows are no pairs to a type checker


def unknown(experiment_id: str) -> NotFound:
    """What is raised where there is none."""
    return NotFound(f"there is no experiment {experiment_id!r}; GET /experiments lists them")


def get_run(session: Session, run_id: str) -> Run:
    """The run, or NotFound."""
    run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id!r}; an experiment's record lists its runs")
    return run


def runs_of(session: Session, experiment_ids: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of each experiment, in the order of its seeds."""
    found: dict[str, list[Run]] = {experiment_id: [] for experiment_id in experiment_ids}
    for run in session.execute(_runs(), {"experiments": list(experiment_ids)}).scalars():
        found[run.experiment_id].append(run)
    return found


def its_runs(session: Session, experiment_id: str) -> list[Run]:
    """The runs of one experiment, in the order of its seeds."""
    return runs_of(session, [experiment_id])[experiment_id]


@cache
def _runs() -> SelectOfScalar[Run]:
    """Made once, since every record asks it."""
    return (
        select(Run)
        .where(col(Run.experiment_id).in_(bindparam("experiments", expanding=True)))
        .order_by(col(Run.position))
    )


def seeds_of(session: Session, experiment_id: str) -> list[tuple[str, int]]:
    """Id and seed of each run, in the order of the seeds."""
    rows = (
        select_columns(col(Run.id), col(Run.seed))
        .where(col(Run.experiment_id) == experiment_id)
        .order_by(col(Run.position))
    )
    return [(run_id, seed) for run_id, seed in session.execute(rows)]


def status_of(session: Session, experiment_id: str) -> RunStatus:
    """The experiment's status alone."""
    return statuses_of(session, [experiment_id])[experiment_id]


def statuses_of(session: Session, experiment_ids: Collection[str]) -> dict[str, RunStatus]:
    """The statuses of those of the experiments that are there."""
    found: dict[str, list[RunStatus]] = {}
    for experiment_id, status in session.execute(
        select_columns(col(Run.experiment_id), col(Run.status)).where(
            col(Run.experiment_id).in_(experiment_ids)
        )
    ):
        found.setdefault(experiment_id, []).append(status)
    return {experiment_id: experiment_status(statuses) for experiment_id, statuses in found.items()}


def page(
    session: Session, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[Listed], str | None]:
    """Experiments with what a list shows of them, the newest first, and the cursor of the next page if there is one."""
    statement = select_columns(*listed()).limit(limit + 1)
    place = (col(Experiment.created_at), col(Experiment.id))
    if filters.statuses:  # in the order of the index that finds them
        place = (col(ExperimentSummary.created_at), col(ExperimentSummary.experiment_id))
        statement = statement.join(ExperimentSummary, place[1] == col(Experiment.id))
        statement = statement.where(*summarized(filters), *beyond_summaries(filters))
    else:
        statement = statement.where(*conditions(filters))
    statement = statement.order_by(*(column.desc() for column in place))
    if cursor is not None:
        statement = statement.where(tuple_(*place) < read_cursor(cursor))
    rows = [Listed(*row) for row in session.execute(statement)]
    more = len(rows) > limit
    return rows[:limit], write_cursor(
        rows[limit - 1].created_at, rows[limit - 1].id
    ) if more else None


def listed() -> list[Any]:
    """The columns of `Listed`, in its order."""
    return [col(getattr(Experiment, name)) for name in Listed._fields]


def listed_by_id(session: Session, experiment_ids: Sequence[str]) -> list[Listed]:
    """What a list shows of those of the experiments that are there."""
    named = select_columns(*listed()).where(col(Experiment.id).in_(experiment_ids))
    return [Listed(*row) for row in session.execute(named)]


def matching(filters: Filters) -> SelectOfScalar[Experiment]:
    """A selection of the experiments that the filters let through."""
    return select(Experiment).where(*conditions(filters))


def cancel(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> None:
    """Cancel every unfinished run. Cancelling twice is no error; cancelling what ended otherwise is AlreadyFinished."""
    runs = its_runs(session, experiment.id)
    if not lifecycle.cancel(session, [run.id for run in runs], actor):
        status = experiment_status(run.status for run in runs)
        if status is not RunStatus.CANCELLED:
            raise AlreadyFinished(
                f"experiment {experiment.id} has {status} already; nothing is left to cancel"
            )
    session.expire_all()
