"""What people ask of a study that is there, as of one experiment: cancel, pause, resume, retry."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import AlreadyFinished, NothingToPause, NothingToResume, NothingToRetry
from app.services import lifecycle
from app.services.experiments import retrying, steering
from app.services.experiments.filtering import Filters
from app.services.studies.studies import lock
from app.storage.states import RETRYABLE, RunStatus, experiment_status
from app.storage.tables import Experiment, Run, Study


def cancel(session: Session, study: Study, actor: str = lifecycle.USER) -> None:
    """Cancel every unfinished run, a student with its teacher, whose end would count as a failure of its own otherwise.

    Cancelling twice is no error; cancelling what ended otherwise is AlreadyFinished.
    """
    lock(session, study)
    if not steering.cancel_all(session, Filters(study_id=study.id), actor):
        statuses = session.scalars(_of_study(select_columns(col(Run.status)), study))
        status = experiment_status(map(RunStatus, statuses))
        if status is not RunStatus.CANCELLED:
            raise AlreadyFinished(
                f"study {study.id} has {status} already; nothing is left to cancel"
            )


def pause(session: Session, study: Study, actor: str = lifecycle.USER) -> None:
    """Pause every run that is queued or under way. Pausing twice is no error; with nothing to pause it is
    NothingToPause.
    """
    changed, statuses = _steer(
        session, study, lambda run_ids: lifecycle.pause(session, run_ids, actor)
    )
    if not changed and RunStatus.PAUSED not in statuses:
        raise NothingToPause(
            f"study {study.id} {experiment_status(statuses).how_it_ended}; nothing is left to pause"
        )


def resume(session: Session, study: Study, actor: str = lifecycle.USER) -> int:
    """Queue every paused run again; returns how many. Raises NothingToResume where none is."""
    changed, statuses = _steer(
        session, study, lambda run_ids: lifecycle.resume(session, run_ids, actor)
    )
    if not changed:
        raise NothingToResume(
            f"no run of study {study.id} is paused; it has the status {experiment_status(statuses)}"
        )
    return changed


def retry(session: Session, study: Study, actor: str = lifecycle.USER) -> int:
    """Queue every failed or cancelled run again, teachers before their students; returns how many. Raises
    NothingToRetry where there is none.
    """
    lock(session, study)
    rows = session.execute(_of_study(select_columns(col(Run.id), col(Run.status)), study)).all()
    statuses = Counter(row.status for row in rows)
    queued = retrying.retry_runs(
        session, [row.id for row in rows if row.status in RETRYABLE], actor
    )
    if queued == 0:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        raise NothingToRetry(
            f"no run of study {study.id} has failed or was cancelled ({counts}); nothing is left to retry"
        )
    return queued


def _steer(
    session: Session, study: Study, change: Callable[[list[str]], list[str]]
) -> tuple[int, list[RunStatus]]:
    """Change every unfinished run; how many that changed, and the statuses that all runs had before."""
    lock(session, study)
    rows = session.execute(_of_study(select_columns(col(Run.id), col(Run.status)), study)).all()
    changed = change([row.id for row in rows if not row.status.is_terminal])
    session.expire_all()
    return len(changed), [row.status for row in rows]


def _of_study(statement: Any, study: Study) -> Any:
    """A selection of runs, narrowed to the study's."""
    return statement.join(Experiment, col(Experiment.id) == col(Run.experiment_id)).where(
        col(Experiment.study_id) == study.id
    )
