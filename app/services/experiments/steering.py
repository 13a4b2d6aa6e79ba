"""What people ask of experiments that are there: pause, resume, another name, other labels, another priority; or to
cancel many at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import NothingToPause, NothingToResume, NotQueued
from app.services import lifecycle
from app.services.experiments import experiments
from app.services.experiments.experiments import its_runs
from app.services.experiments.filtering import Filters
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run


def pause(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> None:
    """Pause every run that is queued or under way. Pausing twice is no error; with nothing to pause it is
    NothingToPause.
    """
    runs = its_runs(session, experiment.id)
    changed = lifecycle.pause(session, [run.id for run in runs], actor)
    if not changed and all(run.status != RunStatus.PAUSED for run in runs):
        raise NothingToPause(
            f"experiment {experiment.id} {_status(runs).how_it_ended}; nothing is left to pause"
        )
    session.flush()
    session.expire_all()


def resume(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> int:
    """Queue every paused run again, and let those go on that have not left yet; returns how many. Raises
    NothingToResume where none is.
    """
    runs = its_runs(session, experiment.id)
    changed = len(lifecycle.resume(session, [run.id for run in runs], actor))
    if not changed:
        raise NothingToResume(
            f"no run of experiment {experiment.id} is paused; it has the status {_status(runs)}"
        )
    session.flush()
    session.expire_all()
    return changed


def edit(session: Session, experiment: Experiment, changes: Mapping[str, Any]) -> None:
    """Set `name`, `labels`, `notes`, `archived`, `priority` and `device` as far as they are among the changes.

    Labels are merged, and those that become None are removed. The priority goes to runs that wait, the device to those
    that have not ended; raises NotQueued where there is none.
    """
    if "device" in changes and not lifecycle.send_to(session, experiment, changes["device"]):
        raise NotQueued(
            f"experiment {experiment.id} has ended, and only what is still to be trained can go to another device"
        )
    if "priority" in changes:
        runs = its_runs(session, experiment.id)
        if not lifecycle.prioritize(session, [run.id for run in runs], changes["priority"]):
            raise NotQueued(
                f"experiment {experiment.id} has the status {_status(runs)}, and only runs that wait have a priority"
            )
        experiment.priority = changes["priority"]
    for name in ("name", "notes", "archived"):
        if name in changes:
            setattr(experiment, name, changes[name])
    if "labels" in changes:
        merged = {**experiment.labels, **changes["labels"]}
        experiment.labels = {key: value for key, value in merged.items() if value is not None}
    session.add(experiment)
    session.flush()
    session.expire_all()


def cancel_all(
    session: Session, filters: Filters, actor: str = lifecycle.USER, *, dry_run: bool = False
) -> list[str]:
    """Cancel what is unfinished of all experiments that the filters let through; returns those that changed, the newest
    first. With `dry_run` nothing changes, and those are returned that would.
    """
    let_through = (
        experiments.matching(filters)
        .with_only_columns(col(Experiment.id), col(Experiment.created_at))
        .subquery()
    )
    unfinished = [status for status in RunStatus if not status.is_terminal]
    rows = session.execute(
        select_columns(col(Run.id), let_through.c.id)
        .join(let_through, let_through.c.id == col(Run.experiment_id))
        .where(col(Run.status).in_(unfinished))
        .order_by(let_through.c.created_at.desc(), let_through.c.id.desc())
    ).all()
    unfinished_runs = [run_id for run_id, _ in rows]
    changed = set(unfinished_runs if dry_run else lifecycle.cancel(session, unfinished_runs, actor))
    session.expire_all()
    return list(dict.fromkeys(experiment_id for run_id, experiment_id in rows if run_id in changed))


def _status(runs: Sequence[Run]) -> RunStatus:
    return experiment_status(run.status for run in runs)
