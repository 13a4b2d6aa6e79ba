"""Further seeds of an experiment, and results taken over from equal runs that have finished."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from lab_models.files import sync_folder, write_atomically
from lab_models.revision import RESULTS_VERSION

SYNC_THREADS = 8
"""Folders are made durable in parallel: a disk takes much the same time for eight as for one."""


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
            owner=experiment.owner,
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


def take_over_equal(session: Session, experiments: Sequence[Experiment], runs_folder: Path, images: Mapping[str, str | None]) -> int:
    """Let the experiments' queued runs take over the results of equal runs that have succeeded; returns how many did.

    Equal are runs of the same owner and an equal spec (by fingerprint) with the same seed, on the same images (`images` is the SHA-256 of each data
    set here, None where it is not prepared and any will do), made by a version that gives the same numbers. Their files get a
    second name in this run's folder, so that either can be deleted without the other.
    """
    waiting = _waiting(session, experiments)
    owner = experiments[0].owner  # all are of one study
    hashes = {experiment.fingerprint: images[experiment.spec["dataset"]["name"]] for experiment in experiments}
    taken: list[str] = []
    with session.no_autoflush:  # what was remembered so far would be written before every single statement
        for were_trained in (True, False):
            for fingerprint, source in _finished(session, waiting, owner, were_trained) if waiting else ():
                run_ids = waiting.get((fingerprint, source.seed))
                if run_ids is None or not _is_equal(source, hashes[fingerprint]):
                    continue
                artifacts = artifacts_of(session, source.id)
                done = [run_id for run_id in run_ids if _take_over(session, run_id, source, artifacts, runs_folder)]
                taken += done
                waiting[fingerprint, source.seed] = [run_id for run_id in run_ids if run_id not in done]
                if not waiting[fingerprint, source.seed]:
                    del waiting[fingerprint, source.seed]
    _sync(runs_folder, taken)  # before the commit, which is when the rows begin to count
    session.flush()
    session.expire_all()
    return len(taken)


Wanted = dict[tuple[str, int], list[str]]
"""Ids of runs that wait, by the fingerprint of their spec and their seed."""


def _waiting(session: Session, experiments: Sequence[Experiment]) -> Wanted:
    """Runs that have not begun. Only their ids: an UPDATE looks through every row that the session holds as an object."""
    waiting: Wanted = {}
    fingerprints = {experiment.id: experiment.fingerprint for experiment in experiments}
    fresh = (col(Run.experiment_id).in_(fingerprints), col(Run.status) == RunStatus.QUEUED, col(Run.attempt) == 0)
    for run_id, experiment_id, seed in session.execute(select_columns(col(Run.id), col(Run.experiment_id), col(Run.seed)).where(*fresh)):
        waiting.setdefault((fingerprints[experiment_id], seed), []).append(run_id)
    return waiting


def _finished(session: Session, waiting: Wanted, owner: str, were_trained: bool) -> list[tuple[str, Run]]:
    """Candidates of the owner's with their fingerprints, the oldest first: those that were trained themselves, or those that took over another's results.

    On PostgreSQL they cannot be deleted until the transaction ends; SQLite has the whole database locked by then.
    """
    wanted = (
        col(Experiment.fingerprint).in_({fingerprint for fingerprint, _ in waiting}),
        col(Run.seed).in_({seed for _, seed in waiting}),
        col(Run.status) == RunStatus.SUCCEEDED,
        col(Run.owner) == owner,
        col(Run.reused_from).is_(None) if were_trained else col(Run.reused_from).is_not(None),
    )
    statement = select(Experiment.fingerprint, Run).join(Run, col(Experiment.id) == col(Run.experiment_id)).where(*wanted)
    held = statement.order_by(col(Run.created_at), col(Run.id)).with_for_update(of=Run, read=True, key_share=True)
    found = [(fingerprint, run) for fingerprint, run in session.exec(held) if (fingerprint, run.seed) in waiting]
    for _, run in found:
        session.expunge(run)
    return found


def _is_equal(source: Run, images: str | None) -> bool:
    environment = source.environment or {}
    return environment.get("results_version") == RESULTS_VERSION and images in (None, environment.get("dataset_sha256"))


def _take_over(session: Session, run_id: str, source: Run, artifacts: Sequence[Artifact], runs_folder: Path) -> bool:
    """File first, row second. False where a file is gone, or the run was claimed or cancelled meanwhile."""
    if not artifacts or not _files_taken(artifacts, runs_folder / source.id, runs_folder / run_id):
        return False
    if not lifecycle.take_over(session, run_id, source):
        return False
    session.add_all(Artifact(**{**artifact.model_dump(), "run_id": run_id}) for artifact in artifacts)
    columns = [col(Metric.epoch), col(Metric.split), col(Metric.name), col(Metric.value)]
    copied = select_columns(literal(run_id), *columns).where(col(Metric.run_id) == source.id)
    session.execute(insert(Metric).from_select(["run_id", "epoch", "split", "name", "value"], copied))
    return True


def _files_taken(artifacts: Sequence[Artifact], source: Path, folder: Path) -> bool:
    """Second names for the files, without a second copy where the file system can. False, with what was made removed, if one is not there whole."""
    made: list[Path] = []
    try:
        for artifact in artifacts:
            original, path = source / artifact.path, folder / artifact.path
            if original.stat().st_size != artifact.size_bytes:
                raise OSError(f"{original} is not whole")
            path.parent.mkdir(parents=True, exist_ok=True)
            made.append(path)
            _link(original, path)
    except OSError:  # gone or damaged, or no room for a copy: the run is trained anew, or its own worker says what is wrong
        for path in made:
            path.unlink(missing_ok=True)
        return False
    return True


def _sync(runs_folder: Path, run_ids: Iterable[str]) -> None:
    folders = [folder for run_id in run_ids for folder in {path.parent for path in (runs_folder / run_id).rglob("*")}]
    if folders:
        with ThreadPoolExecutor(SYNC_THREADS) as pool:
            list(pool.map(sync_folder, [runs_folder, *folders]))


def _link(original: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    try:
        os.link(original, path)
    except OSError:
        write_atomically(path, original.read_bytes())
