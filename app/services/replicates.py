"""Further seeds of an experiment, and results taken over from equal runs that have finished."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import insert, literal
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.errors import Conflict
from app.services import lifecycle
from app.services.artifacts import artifacts_of
from app.services.experiments import runs_of
from app.states import RunStatus, StatusReason
from app.tables import Artifact, Experiment, Metric, Run, utc_now
from lab_models.files import link_or_copy
from lab_models.revision import RESULTS_VERSION


def add_seeds(session: Session, experiment: Experiment, seeds: Sequence[int]) -> list[Run]:
    """Queue further replicates of an experiment, built on what the others are built on; seeds that it has are passed over."""
    there = runs_of(session, [experiment.id])[experiment.id]
    first = there[0]
    needed = None if first.needs is None else session.exec(select(Run.status).where(col(Run.id) == first.needs).with_for_update()).one()
    if needed in (RunStatus.FAILED, RunStatus.CANCELLED):
        raise Conflict(f"run {first.needs}, which experiment {experiment.id} builds on, has {needed}: retry it first")
    runs = [
        Run(
            experiment_id=experiment.id,
            seed=seed,
            position=position,
            priority=experiment.priority,
            created_at=utc_now(),
            status=RunStatus.QUEUED,
            status_reason=StatusReason.WAITING_FOR_WORKER if needed in (None, RunStatus.SUCCEEDED) else StatusReason.WAITING_FOR_TEACHER,
            epochs=first.epochs,
            num_steps=first.num_steps,
            needs=first.needs,
        )
        for position, seed in enumerate((seed for seed in seeds if seed not in {run.seed for run in there}), start=len(there))
    ]
    lifecycle.enqueue(session, runs)
    return runs


def take_over_equal(session: Session, experiment: Experiment, runs_folder: Path, images: str | None) -> int:
    """Let the experiment's queued runs take over the results of equal runs that have succeeded; returns how many did.

    Equal are runs of an equal spec (by fingerprint) with the same seed, on the same images (`images` is the data set's SHA-256
    here, None where it is not prepared and any will do), made by a version that gives the same numbers. Their files get a
    second name in this run's folder, so that either can be deleted without the other.
    """
    queued = {run.seed: run for run in runs_of(session, [experiment.id])[experiment.id] if run.status == RunStatus.QUEUED and run.attempt == 0}
    taken = 0
    for source in _finished(session, experiment, list(queued)):
        if source.seed in queued and _is_equal(source, images) and _files_are_there(session, source, runs_folder):
            taken += _take_over(session, queued.pop(source.seed), source, runs_folder)
    session.expire_all()
    return taken


def _finished(session: Session, experiment: Experiment, seeds: Sequence[int]) -> list[Run]:
    """Candidates, those that were trained themselves first, then the oldest."""
    wanted = (
        col(Experiment.fingerprint) == experiment.fingerprint,
        col(Run.experiment_id) != experiment.id,
        col(Run.seed).in_(seeds),
        col(Run.status) == RunStatus.SUCCEEDED,
    )
    statement = select(Run).join(Experiment, col(Experiment.id) == col(Run.experiment_id)).where(*wanted)
    return list(session.exec(statement.order_by(col(Run.reused_from).is_not(None), col(Run.created_at), col(Run.id))))


def _is_equal(source: Run, images: str | None) -> bool:
    environment = source.environment or {}
    return environment.get("results_version") == RESULTS_VERSION and images in (None, environment.get("dataset_sha256"))


def _files_are_there(session: Session, source: Run, runs_folder: Path) -> bool:
    files = [(runs_folder / source.id / artifact.path, artifact.size_bytes) for artifact in artifacts_of(session, source.id)]
    return bool(files) and all(path.is_file() and path.stat().st_size == size for path, size in files)


def _take_over(session: Session, run: Run, source: Run, runs_folder: Path) -> bool:
    """File first, row second."""
    artifacts = artifacts_of(session, source.id)
    for artifact in artifacts:
        path = runs_folder / run.id / artifact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(runs_folder / source.id / artifact.path, path)
    if not lifecycle.take_over(session, run.id, source):
        return False
    session.add_all(Artifact(**{**artifact.model_dump(), "run_id": run.id}) for artifact in artifacts)
    columns = [col(Metric.epoch), col(Metric.split), col(Metric.name), col(Metric.value)]
    copied = select_columns(literal(run.id), *columns).where(col(Metric.run_id) == source.id)
    session.execute(insert(Metric).from_select(["run_id", "epoch", "split", "name", "value"], copied))
    return True
