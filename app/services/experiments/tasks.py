"""What a lease's holder has to do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from app.services.experiments import artifacts, likeness
from app.services.experiments.by_itself import is_by_itself
from app.services.lifecycle import Lease
from app.storage.tables import Artifact, Experiment, Run
from lab_models.specs import AnySpec, ContinueSpec, KeptWeights, TrainSpec, read_spec
from lab_models.training.protocol import FoundationFiles, SavedCheckpoint


@dataclass(frozen=True)
class Task:
    """What a lease's run is: spec, seed, the checkpoints it may start from, and the trained network that it builds
    on. `threads` are those of its attempt before or, of a verification, of the run that it repeats; None where nothing
    says any. `is_by_itself` where it is compared with no other run.
    """

    spec: AnySpec
    seed: int
    resume: tuple[SavedCheckpoint, ...]
    micro_batches: int
    foundation: FoundationFiles | None
    experiment_id: str
    memory_bytes: int
    """The least that it takes."""
    threads: int | None = None
    is_by_itself: bool = False

    def with_foundation(self, foundation: FoundationFiles) -> "Task":
        """The same, built on the same network, whose weights lie elsewhere."""
        return replace(self, foundation=foundation)


def load_task(session: Session, lease: Lease, runs_folder: Path) -> Task:
    """What there is to do. The spec is validated again."""
    run = session.get_one(Run, lease.run_id)
    experiment = session.get_one(Experiment, run.experiment_id)
    spec = read_spec(experiment.spec)
    kept = spec.origin.weights if isinstance(spec, ContinueSpec) else "best"
    foundation = (
        None if run.needs is None else _published_network(session, run.needs, kept, runs_folder)
    )
    return Task(
        spec,
        run.seed,
        artifacts.resumable(session, run.id),
        run.micro_batches,
        foundation,
        experiment.id,
        experiment.memory_bytes or 0,
        likeness.threads_on_a_cpu(run.environment or _repeated(session, experiment, run.seed)),
        is_by_itself=is_by_itself(session, run, experiment),
    )


def _repeated(session: Session, experiment: Experiment, seed: int) -> Mapping[str, Any]:
    """The environment of the run that one of a verification repeats; empty where it repeats none that is there."""
    original = experiment.related.get("verifies")
    if original is None:
        return {}
    asked = select(Run.environment).where(col(Run.experiment_id) == original, col(Run.seed) == seed)
    return session.exec(asked).first() or {}


WEIGHTS: dict[KeptWeights, str] = {
    "best": "weights.safetensors",
    "last": "weights-last.safetensors",
}


def _published_network(
    session: Session, run_id: str, kept: KeptWeights, runs_folder: Path
) -> FoundationFiles:
    run = session.get_one(Run, run_id)
    spec = read_spec(session.get_one(Experiment, run.experiment_id).spec)
    weights = session.get_one(Artifact, (run_id, WEIGHTS[kept]))
    assert isinstance(spec, TrainSpec | ContinueSpec)
    assert run.test is not None
    assert run.best is not None
    return FoundationFiles(
        run_id=run_id,
        spec=spec,
        seed=run.seed,
        weights=runs_folder / run_id / weights.path,
        sha256=weights.sha256,
        test_accuracy=run.test["accuracy"],
        epoch=run.best["epoch"] if kept == "best" else run.epochs_done,
        dataset_sha256=(run.environment or {}).get("dataset_sha256"),
    )
