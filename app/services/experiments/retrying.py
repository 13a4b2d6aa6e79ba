"""What has failed or was cancelled, queued again because a person asks for it: needed runs before those that need
them.
"""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.errors import NothingToRetry, RetryOtherFirst
from app.services import lifecycle
from app.services.experiments import experiments
from app.storage.states import RETRYABLE, RunStatus
from app.storage.tables import Experiment, Run


def retry(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> int:
    """Queue every failed or cancelled run of the experiment again; returns how many. Raises NothingToRetry where there
    is none, else as `retry_runs` does.

    Runs of other experiments that ended because one of these had failed stay as they are: their own retry takes them up
    again.
    """
    experiment_id = experiment.id
    ended = [
        run.id for run in experiments.its_runs(session, experiment_id) if run.status in RETRYABLE
    ]
    queued = retry_runs(session, ended, actor)
    if queued == 0:
        # anew, or NotFound if just deleted
        runs = experiments.its_runs(session, experiments.get(session, experiment_id).id)
        counts = ", ".join(
            f"{count} {status}"
            for status, count in sorted(Counter(run.status for run in runs).items())
        )
        raise NothingToRetry(
            f"no run of experiment {experiment_id} has failed or was cancelled ({counts})"
        )
    return queued


def retry_runs(session: Session, run_ids: Sequence[str], actor: str = lifecycle.USER) -> int:
    """Queue those of the runs that have failed or were cancelled again; returns how many.

    A run may need another of the list, which is retried with it. Raises RetryOtherFirst, with nothing changed, where a
    needed run outside the list has itself failed or been cancelled.
    """
    _refuse_hopeless(session, run_ids)
    queued = lifecycle.retry(session, run_ids, actor)
    session.expire_all()
    return len(queued)


def _refuse_hopeless(session: Session, run_ids: Sequence[str]) -> None:
    """Needed runs that cannot succeed; the others are locked until the transaction ends, so that they cannot fail
    unseen meanwhile.
    """
    needing = aliased(Run)
    needed = select_columns(col(needing.needs)).where(col(needing.id).in_(run_ids))
    outside = (
        select(Run)
        .where(col(Run.id).in_(needed), col(Run.id).not_in(run_ids))
        .order_by(col(Run.id))
    )
    locked = outside.with_for_update().execution_options(populate_existing=True)
    hopeless = [run for run in session.exec(locked) if run.status in RETRYABLE]
    if hopeless:
        named = "; ".join(
            f"run {run.id} of experiment {run.experiment_id} {_how_it_ended(run)}"
            for run in hopeless
        )
        raise RetryOtherFirst(
            f"it builds on what has no weights: {named}. Retry {_addresses(hopeless)} first"
        )


def _how_it_ended(run: Run) -> str:
    return "has failed" if run.status == RunStatus.FAILED else "was cancelled"


def _addresses(runs: Sequence[Run]) -> str:
    return ", ".join(sorted({run.experiment_id for run in runs}))
