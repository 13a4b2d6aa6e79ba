"""What has failed or was cancelled, queued again because a person asks for it: needed runs before those that need them."""

from collections import Counter
from collections.abc import Sequence

from sqlmodel import Session, col, select

from app.errors import NothingToRetry, RetryOtherFirst
from app.services import experiments, lifecycle
from app.states import RETRYABLE, RunStatus
from app.tables import Experiment, Run


def retry(session: Session, experiment: Experiment, actor: str = lifecycle.USER) -> int:
    """Queue every failed or cancelled run of the experiment again; returns how many. Raises NothingToRetry where there is none, else as `retry_runs` does.

    Runs of other experiments that ended because one of these had failed stay as they are: their own retry takes them up again.
    """
    experiment_id = experiment.id
    queued = retry_runs(session, experiments.runs_of(session, [experiment_id])[experiment_id], actor)
    if queued == 0:
        runs = experiments.runs_of(session, [experiments.get(session, experiment_id).id])[experiment_id]  # anew, or NotFound if just deleted
        counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(run.status for run in runs).items()))
        raise NothingToRetry(f"no run of experiment {experiment_id} has failed or was cancelled ({counts})")
    return queued


def retry_runs(session: Session, runs: Sequence[Run], actor: str = lifecycle.USER) -> int:
    """Queue those of the runs that have failed or were cancelled again, a needed run before what needs it; returns how many.

    A run may need another of the list, which is retried with it. Raises RetryOtherFirst, with nothing changed, where a needed
    run outside the list has itself failed or been cancelled.
    """
    ended = {run.id: run for run in runs if run.status in RETRYABLE}
    _refuse_hopeless(session, {run.needs for run in ended.values() if run.needs is not None} - set(ended))

    def depth(run: Run) -> int:
        return 1 + depth(ended[run.needs]) if run.needs in ended else 0

    ordered = sorted(ended, key=lambda run_id: (depth(ended[run_id]), run_id))
    with session.no_autoflush:
        queued = sum(lifecycle.retry(session, run_id, actor) for run_id in ordered)
    session.flush()
    session.expire_all()
    return queued


def _refuse_hopeless(session: Session, needed: set[str]) -> None:
    """Needed runs that cannot succeed; the others are locked until the transaction ends, so that they cannot fail unseen meanwhile."""
    locked = select(Run).where(col(Run.id).in_(needed)).order_by(col(Run.id)).with_for_update().execution_options(populate_existing=True)
    hopeless = [run for run in session.exec(locked) if run.status in RETRYABLE]
    if hopeless:
        named = "; ".join(f"run {run.id} of experiment {run.experiment_id} {_how_it_ended(run)}" for run in hopeless)
        raise RetryOtherFirst(f"it builds on what has no weights: {named}. Retry {_addresses(hopeless)} first")


def _how_it_ended(run: Run) -> str:
    return "has failed" if run.status == RunStatus.FAILED else "was cancelled"


def _addresses(runs: Sequence[Run]) -> str:
    return ", ".join(sorted({run.experiment_id for run in runs}))
