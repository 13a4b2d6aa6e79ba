"""Rows that a caller may see: what belongs to others is answered as if it were not there, in the same words (a test
compares them).
"""

from collections.abc import Callable, Collection

from sqlmodel import Session

from app.errors import NotFound
from app.services.experiments import experiments
from app.services.experiments.standing import Standing
from app.services.experiments.wholes import Whole, whole
from app.services.owners.keys import Caller
from app.storage.tables import Experiment, Run


def visible_experiment(session: Session, caller: Caller, experiment_id: str) -> Experiment:
    """The experiment; NotFound where there is none that the caller may see."""
    experiment = experiments.get(session, experiment_id)
    if not caller.may_see(experiment.owner):
        raise experiments.unknown(experiment_id)
    return experiment


def expect_visible(session: Session, caller: Caller, experiment_ids: Collection[str]) -> None:
    """NotFound, as `visible_experiment`, where there is one that the caller may not see; by one statement."""
    owners = experiments.owners_of(session, experiment_ids)
    for experiment_id in sorted(experiment_ids):
        if experiment_id not in owners or not caller.may_see(owners[experiment_id]):
            raise experiments.unknown(experiment_id)


def visible_whole(
    session: Session, caller: Caller, experiment_id: str, look: Callable[[Session], Standing]
) -> Whole:
    """The experiment with everything its record shows, by few statements; NotFound as `visible_experiment`."""
    return whole(session, experiment_id, caller.may_see, look)


def visible_run(session: Session, caller: Caller, run_id: str) -> Run:
    """The run; NotFound where there is none that the caller may see."""
    run = experiments.get_run(session, run_id)
    if not caller.may_see(run.owner):
        raise NotFound(f"there is no run {run_id!r}; an experiment's record lists its runs")
    return run
