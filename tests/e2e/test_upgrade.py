"""A database of the first schema, in use when its service ended, is opened by this one, and all goes on; then backed up
and restored.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from app.services.upkeep.backups import BackupRefused, back_up, restore
from app.settings import Settings
from app.storage.db import Database
from app.storage.schema import alembic_config, schema_revision
from tests.e2e.service import Service

pytestmark = pytest.mark.sqlite

FIRST = "0001"
SPEC = {"dataset": {"name": "digits"}, "model": {"arch": "mlp", "hidden": [16]}, "epochs": 2}
STORED = {  # as the first version wrote it, to the letter
    "kind": "train",
    "dataset": {
        "name": "digits",
        "val_fraction": 0.2,
        "stratified": True,
        "split_seed": 0,
        "train_limit": None,
        "augmentation": "none",
    },
    "model": {
        "arch": "mlp",
        "depth": 1,
        "width": 16,
        "hidden": None,
        "residual": False,
        "norm": "none",
        "dropout": 0.0,
        "dropout_at": "every_hidden",
    },
    "optimizer": {"name": "adam", "learning_rate": 0.001, "weight_decay": 0.0},
    "schedule": {"name": "constant"},
    "batch_size": 64,
    "epochs": 2,
    "label_smoothing": 0.0,
    "precision": "float32",
}
THEN = "2025-01-02 03:04:05.000000"
RUNS = {
    "queued": "run_queued0000000",
    "running": "run_running000000",
    "succeeded": "run_succeeded0000",
    "failed": "run_failed0000000",
}


def make_database_of_the_first_schema(file: Path) -> None:
    """An experiment each with a run that is queued, running under a worker that is gone, succeeded and failed, written
    without today's models.
    """
    database = Database(f"sqlite:///{file}")
    config = alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
        connection.commit()
        assert schema_revision(connection) == FIRST
    database.close()
    with closing(sqlite3.connect(file)) as connection, connection:
        for status in RUNS:
            insert_experiment(connection, status)


def insert(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",
        [json.dumps(v) if isinstance(v, dict | list) else v for v in values.values()],
    )


def insert_experiment(connection: sqlite3.Connection, status: str) -> None:
    experiment, run = f"exp_{status}", RUNS[status]
    sizes = {"parameters": 1210, "macs_per_sample": 1184}
    common = {
        "labels": {"from": "before"},
        "kind": "train",
        "priority": 0,
        "request_hash": status,
        "idempotency_key": f"key-{status}",
    }
    insert(
        connection,
        "experiment",
        id=experiment,
        created_at=THEN,
        fingerprint="4b5c36c1164fbfe5",
        submitted=SPEC,
        spec=STORED,
        **sizes,
        **common,
    )
    began = status != "queued"
    row = {
        "seed": 0,
        "position": 0,
        "priority": 0,
        "created_at": THEN,
        "cancel_requested": False,
        "crashes": 0,
        "epochs": 2,
        "step": 0,
        "num_steps": 20,
    }
    ended = {"finished_at": THEN} if status in ("succeeded", "failed") else {}
    if status == "succeeded":
        ended |= {
            "best": {"epoch": 2, "val": {"loss": 0.3, "accuracy": 0.9}},
            "test": {"loss": 0.3, "accuracy": 0.9},
        }
    if status == "failed":
        ended |= {
            "error": {
                "code": "diverged",
                "message": "the loss is not a number",
                "hint": "",
                "traceback_tail": "",
            }
        }
    reason = {
        "queued": "waiting_for_worker",
        "running": "training",
        "succeeded": "completed",
        "failed": "training_failed",
    }[status]
    moved = {
        "status": status,
        "status_reason": reason,
        "fence": int(began),
        "heartbeat": int(began),
        "attempt": int(began),
    }
    insert(
        connection,
        "run",
        id=run,
        experiment_id=experiment,
        epochs_done=2 if status == "succeeded" else 0,
        **row,
        **moved,
        **ended,
    )
    insert(
        connection,
        "status_change",
        run_id=run,
        attempt=0,
        from_status=None,
        to_status="queued",
        reason="waiting_for_worker",
        actor="user",
        at=THEN,
    )
    if began:
        insert(
            connection,
            "attempt",
            run_id=run,
            number=1,
            fence=1,
            worker_id="gone",
            started_at=THEN,
            notes=[],
        )
        checkpoint = {
            "attempt": 1,
            "epoch": 1,
            "step": 0,
            "path": "attempt-1/gone.pt",
            "sha256": "0" * 64,
            "size_bytes": 9,
            "created_at": THEN,
        }
        insert(connection, "checkpoint", run_id=run, **checkpoint)


@pytest.mark.timeout(240)
def test_a_database_of_the_first_schema_that_was_in_use_goes_on(
    make_service: Callable[..., Service],
) -> None:
    service = make_service()
    make_database_of_the_first_schema(service.home / "lab.sqlite3")
    process = service.serve()
    for status in ("queued", "running"):
        record = service.wait_for({"id": f"exp_{status}"}, "succeeded")
        assert record["labels"] == {"from": "before"}
    lost = service.get(f"/runs/{RUNS['running']}")
    assert [attempt["outcome"] for attempt in lost["attempts"]] == ["worker_lost", "completed"]
    assert lost["test"]["accuracy"] > 0.3
    assert service.get("/experiments/exp_succeeded")["status"] == "succeeded"
    assert service.get(f"/runs/{RUNS['succeeded']}")["test"]["accuracy"] == 0.9
    assert service.get("/experiments/exp_failed")["error"]["code"] == "diverged"
    service.post("/experiments/exp_failed/retry")
    service.wait_for({"id": "exp_failed"}, "succeeded")

    settings = Settings(home=service.home, _env_file=None)
    back_up(settings, service.home / "copy.db", overwrite=False)
    forgotten = service.submit(SPEC)
    service.wait_for(forgotten, "succeeded")
    with pytest.raises(BackupRefused, match="a service uses"):
        restore(settings, service.home / "copy.db")
    process.terminate()
    assert process.wait(60) == 0
    assert restore(settings, service.home / "copy.db").contents.runs == len(RUNS)
    service.serve()
    assert service.http.get(f"/experiments/{forgotten['id']}").status_code == 404
    assert service.get("/experiments/exp_running")["status"] == "succeeded"
    service.wait_for(service.submit(SPEC), "succeeded")
