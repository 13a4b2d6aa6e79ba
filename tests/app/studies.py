"""Studies for tests: sent over the API, their runs ended as a worker would end them."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.datasets import datasets
from app.services.experiments import artifacts, metrics
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run, Study
from lab_models.common.files import write_atomically
from lab_models.common.revision import RESULTS_VERSION, torch_version
from lab_models.training.protocol import SavedArtifact

ENVIRONMENT = {
    "results_version": RESULTS_VERSION,
    "dataset_sha256": "d" * 64,
    "device": "cpu: test",
    "version": "0.1.0",
    "torch": torch_version(),
    "threads": 1,
    "micro_batches": 1,
    "built_on": None,
}


def send(api: TestClient, **body: Any) -> dict[str, Any]:
    """POST /studies; the record."""
    answer = api.post("/studies", json=body)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def grid(**more: Any) -> dict[str, Any]:
    """A body: two depths (at 1 both would be the same), plain and residual, two seeds."""
    return {
        "spec": {"model": {"width": 16}, "epochs": 2},
        "vary": {"model.depth": [2, 3], "model.residual": [False, True]},
        "seeds": 2,
        **more,
    }


def finish(
    database: Database,
    settings: Settings,
    study_id: str,
    accuracies: Mapping[tuple[str, int], float],
    default: float = 0.9,
) -> int:
    """End every run of a study that can be claimed as succeeded, with the accuracy of its (cell, seed); returns how
    many.
    """
    ended = 0
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, "worker")
            if lease is None:
                return ended
            run = session.get_one(Run, lease.run_id)
            experiment = session.get_one(Experiment, run.experiment_id)
            assert experiment.study_id == study_id
            accuracy = accuracies.get((str(experiment.cell), run.seed), default)
            _succeed(session, settings, lease, run, accuracy)
            ended += 1


def finish_all(database: Database, settings: Settings, accuracies: Mapping[int, float]) -> None:
    """End every run that can be claimed as succeeded, with the accuracy of its seed."""
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, "worker")
            if lease is None:
                return
            run = session.get_one(Run, lease.run_id)
            _succeed(session, settings, lease, run, accuracies[run.seed])


def fail_next(database: Database) -> str:
    """End the next run as failed; returns its id."""
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker")
        assert lease is not None
        lifecycle.fail(
            session,
            lease,
            {
                "code": "diverged",
                "message": "the loss is not finite",
                "hint": "lower the learning rate",
                "traceback_tail": "",
            },
        )
        return lease.run_id


def runs_by_cell(database: Database, study_id: str) -> dict[tuple[str, int], Run]:
    """A study's runs by cell and seed, in the order of its table."""
    with database.reading() as session:
        cells = [cell["key"] for cell in session.get_one(Study, study_id).design["cells"]]
        rows = session.exec(
            select(Experiment, Run).where(
                col(Experiment.id) == col(Run.experiment_id), col(Experiment.study_id) == study_id
            )
        ).all()
        rows = sorted(rows, key=lambda row: (cells.index(row[0].cell), row[1].position))
        return {(str(experiment.cell), run.seed): run for experiment, run in rows}


def _succeed(
    session: Session, settings: Settings, lease: lifecycle.Lease, run: Run, accuracy: float
) -> None:
    dataset = session.get_one(Experiment, run.experiment_id).spec["dataset"]["name"]
    environment = {
        **ENVIRONMENT,
        "dataset_sha256": datasets.catalog(settings).sha256(dataset) or "d" * 64,
        "built_on": _built_on(session, run),
    }
    lifecycle.renew(session, lease, lifecycle.Begun(environment, run.epochs))
    for epoch in range(1, run.epochs + 1):
        numbers = {"loss": 1.0 / epoch, "accuracy": accuracy - 0.1 / epoch}
        metrics.record_epoch(
            session,
            run.id,
            epoch,
            {"train": {**numbers, "seconds": 2.0}, "val": {**numbers, "seconds": 0.5}},
        )
    written = write_atomically(
        settings.runs_folder / run.id / "attempt-1" / "weights.safetensors",
        f"{run.experiment_id} {run.seed} {accuracy}".encode(),
    )
    lifecycle.succeed(
        session,
        lease,
        best={"epoch": run.epochs, "val": {"loss": 0.5, "accuracy": accuracy}},
        test={"loss": 0.5, "accuracy": accuracy},
    )
    file = SavedArtifact(
        name="weights.safetensors",
        media_type="application/octet-stream",
        path="attempt-1/weights.safetensors",
        sha256=written.sha256,
        size_bytes=written.size_bytes,
    )
    artifacts.publish(session, run.id, [file])


def _built_on(session: Session, run: Run) -> dict[str, Any] | None:
    """As a trainer records it."""
    if run.needs is None:
        return None
    below = session.get_one(Run, run.needs)
    return {
        "run": below.id,
        "seed": below.seed,
        "weights_sha256": artifacts.weights_of(session, [below.id])[below.id],
        "dataset_sha256": (below.environment or {})["dataset_sha256"],
    }
