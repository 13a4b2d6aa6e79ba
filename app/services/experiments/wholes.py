"""An experiment seen as a whole: everything that its record shows, read by as few statements as can be."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Select, bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments import deletion
from app.services.experiments.experiments import unknown
from app.services.experiments.metrics import paces
from app.services.experiments.origins import origin_of
from app.services.experiments.situations import Situation, finish_of, reason_of
from app.services.experiments.standing import Standing, standing
from app.services.experiments.waiting import place_among
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class Whole(Situation):
    """An experiment with everything its record shows."""

    experiment: Experiment
    runs: list[Run]
    disk_bytes: int
    origin: Experiment | None = None
    """The experiment that it is like."""


def whole(
    session: Session,
    experiment_id: str,
    may_see: Callable[[str], bool] = lambda _: True,
    look: Callable[[Session], Standing] = standing,
) -> Whole:
    """By one statement, so that its rows agree also without a transaction, and one more where it waits, trains or is
    like another.
    NotFound where there is none whose owner `may_see` lets through; `look` as for `place_of`.
    """
    found = session.execute(_with_runs_and_sizes(), {"experiment_id": experiment_id}).all()
    if not found or not may_see(found[0][0].owner):
        raise unknown(experiment_id)
    look = cache(look)  # one look for the reason and the place
    runs = [run for _, run, _ in found]
    status = experiment_status(run.status for run in runs)
    experiment = found[0][0]
    is_queued = any(run.status == RunStatus.QUEUED for run in runs)
    spent = look(session).spent.get(experiment.owner) if is_queued else None
    trains = status is RunStatus.RUNNING
    return Whole(
        owner=experiment.owner,
        experiment=experiment,
        runs=runs,
        status=status,
        status_reason=reason_of(status, runs, spent, lambda: look(session)),
        place=place_among(session, runs, look),
        out_of_hours=spent,
        unfit=look(session).unfit if is_queued else None,
        estimated_finish_at=finish_of(
            status, runs, paces(session, [run.id for run in runs]) if trains else {}
        ),
        disk_bytes=sum(int(size) for _, _, size in found),
        origin=origin_of(session, experiment),
    )


@cache
def _with_runs_and_sizes() -> Select[Experiment, Run, int]:
    """Made once, since every record asks it."""
    return (
        select_columns(Experiment, Run, deletion.size_of_run())
        .join(Run, col(Run.experiment_id) == col(Experiment.id))
        .where(col(Experiment.id) == bindparam("experiment_id"))
        .order_by(col(Run.position))
    )
