"""What people ask of experiments that are there: pause, resume, another name, other labels, another priority; or to cancel many at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session, col

from app.errors import NothingToPause, NothingToResume, NotQueued
from app.services import experiments, lifecycle
from app.services.experiments import Filters, runs_of
from app.states import RunStatus, experiment_status
from app.tables import Experiment, Run


def pause(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> None:
    """Pause every run that is queued or under way. Pausing twice is no error; with nothing to pause it is NothingToPause."""
    runs = runs_of(session, [experiment.id])[experiment.id]
    changed = [lifecycle.pause(session, run.id, actor) for run in runs]
    if not any(changed) and all(run.status != RunStatus.PAUSED for run in runs):
        raise NothingToPause(f"experiment {experiment.id} has {_status(runs)}; nothing is left to pause")
    session.flush()
    session.expire_all()


def resume(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> int:
    """Queue every paused run again, and let those go on that have not left yet; returns how many. Raises NothingToResume where none is."""
    runs = runs_of(session, [experiment.id])[experiment.id]
    changed = sum(lifecycle.resume(session, run.id, actor) for run in runs)
    if not changed:
        raise NothingToResume(f"no run of experiment {experiment.id} is paused; it has the status {_status(runs)}")
    session.flush()
    session.expire_all()
    return changed


def edit(session: Session, experiment: Experiment, changes: Mapping[str, Any]) -> None:
    """Set `name`, `labels` and `priority` as far as they are among the changes.

    Labels are merged, and those that become None are removed. The priority goes to runs that wait; raises NotQueued where none does.
    """
    if "priority" in changes:
        runs = runs_of(session, [experiment.id])[experiment.id]
        changed = [lifecycle.prioritize(session, run.id, changes["priority"]) for run in runs]
        if not any(changed):
            raise NotQueued(f"experiment {experiment.id} has {_status(runs)}, and only runs that wait have a priority")
        experiment.priority = changes["priority"]
    if "name" in changes:
        experiment.name = changes["name"]
    if "labels" in changes:
        merged = {**experiment.labels, **changes["labels"]}
        experiment.labels = {key: value for key, value in merged.items() if value is not None}
    session.add(experiment)
    session.flush()
    session.expire_all()


def cancel_all(session: Session, filters: Filters, actor: str = lifecycle.USER) -> list[str]:
    """Cancel what is unfinished of all experiments that the filters let through, students before what they need; returns the experiments that changed."""
    newest_first = (col(Experiment.created_at).desc(), col(Experiment.id).desc())
    found = [experiment.id for experiment in session.exec(experiments.matching(filters).order_by(*newest_first))]
    by_experiment = runs_of(session, found)
    waiting_last = sorted((run for runs in by_experiment.values() for run in runs), key=lambda run: run.needs is None)
    ids = [(run.experiment_id, run.id) for run in waiting_last if not RunStatus(run.status).is_terminal]
    session.expunge_all()  # an UPDATE looks through every row that the session holds as an object
    with session.no_autoflush:
        changed = {experiment_id for experiment_id, run_id in ids if lifecycle.cancel(session, run_id, actor)}
    session.flush()
    return [experiment_id for experiment_id in found if experiment_id in changed]


def _status(runs: Sequence[Run]) -> RunStatus:
    return experiment_status(RunStatus(run.status) for run in runs)
