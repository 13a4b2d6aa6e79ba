"""Retry: what failed or was cancelled is queued again on a person's wish, and nothing else is."""

from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.errors import RetryOtherFirst
from app.services import lifecycle
from app.services.experiments import experiments, metrics, progress, retrying, tasks
from app.services.lifecycle import Lease, Progressed
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import LEGAL_MOVES, RETRYABLE, RunStatus
from app.storage.tables import Run, StatusChange
from lab_models.training.protocol import (
    Completed,
    EpochCompleted,
    Failed,
    SavedArtifact,
    SavedCheckpoint,
    Started,
)

TRAIN = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}
STUDENT = {"kind": "distill", "student": {"hidden": [4]}, "epochs": 2}
DIVERGED = Failed(
    code="diverged",
    message="the loss is not a number",
    hint="lower the learning rate",
    traceback="…",
)


def submit(api: TestClient, body: dict[str, Any]) -> Any:
    answer = api.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def retry(api: TestClient, experiment: Any) -> Any:
    answer = api.post(f"/experiments/{experiment['id']}/retry")
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(api: TestClient, experiment: Any) -> tuple[str, str]:
    """Code and detail of a retry that is 409."""
    answer = api.post(f"/experiments/{experiment['id']}/retry")
    assert answer.status_code == 409, answer.text
    return answer.json()["code"], answer.json()["detail"]


def record(api: TestClient, experiment: Any) -> Any:
    return api.get(f"/experiments/{experiment['id']}").json()


def begin(database: Database) -> Lease:
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
    assert lease is not None
    return lease


def finish_epoch(database: Database, lease: Lease, epoch: int) -> None:
    checkpoint = SavedCheckpoint(
        path=f"attempt-{lease.attempt}/checkpoint-{epoch}.pt",
        sha256="0" * 64,
        size_bytes=1000,
        epoch=epoch,
        step=0,
    )
    scores = {"loss": 1.0 / epoch, "accuracy": 0.5}
    event = EpochCompleted(
        epoch=epoch,
        metrics={"train": scores, "val": scores},
        best_epoch=epoch,
        best_val={"loss": 1.0 / epoch},
        stop_reason=None,
        checkpoint=checkpoint,
    )
    with database.writing() as session:
        progress.record_epoch(session, lease, event)


def fail(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        progress.record_failed(session, lease, DIVERGED)


def succeed(database: Database, lease: Lease) -> None:
    weights = SavedArtifact(
        name="weights.safetensors",
        media_type="application/octet-stream",
        path="attempt-1/w",
        sha256="0" * 64,
        size_bytes=7,
    )
    event = Completed(
        stop_reason="all_epochs",
        best_epoch=2,
        best_val={"loss": 0.1},
        test={"loss": 0.1, "accuracy": 0.9},
        artifacts=(weights,),
    )
    with database.writing() as session:
        progress.record_completed(session, lease, event)


def resume(database: Database, lease: Lease, settings: Settings) -> list[int]:
    """Start as a trainer does, from the newest checkpoint; returns the epochs of all that there are."""
    with database.writing() as session:
        checkpoints = tasks.load_task(session, lease, settings.runs_folder).resume
        progress.record_started(
            session,
            lease,
            Started(
                environment={}, resumed_from=(checkpoints[0].epoch, 0) if checkpoints else None
            ),
        )
    return [checkpoint.epoch for checkpoint in checkpoints]


def epochs_of(database: Database, lease: Lease) -> list[int]:
    with database.reading() as session:
        return list(metrics.metrics_of(session, [lease.run_id])[lease.run_id])


def test_only_failed_and_cancelled_are_retryable_and_no_table_of_moves_lets_them_go() -> None:
    assert {RunStatus.FAILED, RunStatus.CANCELLED} == RETRYABLE
    assert all(LEGAL_MOVES[status] == frozenset() for status in RETRYABLE)


def test_a_failed_run_becomes_as_if_it_had_never_failed_and_its_history_says_who_asked(
    api: TestClient, database: Database
) -> None:
    experiment = submit(api, TRAIN)
    lease = begin(database)
    finish_epoch(database, lease, 1)
    fail(database, lease)
    failed = record(api, experiment)
    assert (failed["status"], failed["error"]["code"], failed["links"]["retry"]) == (
        "failed",
        "diverged",
        f"/experiments/{experiment['id']}/retry",
    )
    retried = retry(api, experiment)
    assert (
        retried["status"],
        retried["is_terminal"],
        retried["error"],
        retried["finished_at"],
    ) == ("queued", False, None, None)
    assert retried["started_at"] == failed["started_at"]
    with database.reading() as session:
        run = session.get_one(Run, lease.run_id)
        last = session.exec(select(StatusChange).order_by(col(StatusChange.id).desc())).first()
        stored = session.connection().exec_driver_sql("SELECT error IS NULL FROM run").scalar()
    assert (
        run.worker_id,
        run.cancel_requested,
        run.crashes,
        run.stop_reason,
        run.attempt,
        run.fence,
    ) == (None, False, 0, None, 1, 1)
    assert stored == 1
    assert last is not None
    assert (last.from_status, last.to_status, last.reason, last.actor, last.attempt) == (
        "failed",
        "queued",
        "waiting_for_worker",
        "local",
        1,
    )
    again = begin(database)
    assert (again.run_id, again.attempt, again.fence) == (lease.run_id, 2, 2)


def test_the_next_attempt_goes_on_from_the_checkpoints_that_there_are(
    api: TestClient, database: Database, settings: Settings
) -> None:
    experiment = submit(api, TRAIN)
    lease = begin(database)
    for epoch in (1, 2, 3):
        finish_epoch(database, lease, epoch)
    api.post(f"/experiments/{experiment['id']}/cancel")
    with database.writing() as session:
        lifecycle.confirm_cancel(session, lease)
    assert record(api, experiment)["disk_bytes"] == 2000
    retry(api, experiment)
    lease = begin(database)
    assert resume(database, lease, settings) == [3, 2]
    assert epochs_of(database, lease) == [1, 2, 3]
    assert api.get(f"/runs/{lease.run_id}").json()["attempts"][1]["resumed_from"] == {
        "epoch": 3,
        "step": 0,
    }


def test_without_a_checkpoint_it_starts_at_epoch_1_and_its_old_numbers_are_forgotten(
    api: TestClient, database: Database, settings: Settings
) -> None:
    experiment = submit(api, TRAIN)
    lease = begin(database)
    with database.writing() as session:
        lifecycle.renew(session, lease, Progressed(2))
        for epoch in (1, 2):
            metrics.record_epoch(session, lease.run_id, epoch, {"train": {"loss": 1.0}})
    fail(database, lease)
    retry(api, experiment)
    lease = begin(database)
    assert resume(database, lease, settings) == []
    assert epochs_of(database, lease) == []
    assert record(api, experiment)["progress"] == {"fraction": 0.0, "epoch": 1, "epochs": 4}


def test_crashes_are_counted_anew(api: TestClient, database: Database) -> None:
    experiment = submit(api, TRAIN)
    for _ in range(3):
        with database.writing() as session:
            lease = lifecycle.claim(session, "w")
            assert lease is not None
            lifecycle.crashed(session, lease, "signal 9", 3)
    assert record(api, experiment)["error"]["code"] == "crash_loop"
    retry(api, experiment)
    lease = begin(database)
    assert lease.attempt == 4
    with database.writing() as session:
        lifecycle.crashed(session, lease, "signal 9", 3)
    after = record(api, experiment)
    assert (after["status"], after["status_reason"]) == ("queued", "trainer_crashed"), (
        "one crash is not the last"
    )


def test_a_run_cancelled_in_the_queue_is_queued_again_at_its_old_place(
    api: TestClient, database: Database
) -> None:
    first, _second = submit(api, TRAIN), submit(api, TRAIN)
    api.post(f"/experiments/{first['id']}/cancel")
    assert retry(api, first)["queue"] == {"position": 1, "ahead": 0, "starts_at": None}
    lease = begin(database)
    assert (lease.run_id, lease.attempt) == (first["runs"][0]["id"], 1)
    with database.reading() as session:
        assert not lifecycle.asked(session, lease), "the old wish to cancel is forgotten"


def test_only_the_runs_that_ended_badly_are_queued_and_the_rest_goes_on(
    api: TestClient, database: Database
) -> None:
    experiment = submit(api, {**TRAIN, "seeds": 4})
    leases = [begin(database) for _ in range(3)]
    succeed(database, leases[0])
    fail(database, leases[1])
    retried = retry(api, experiment)
    assert [run["status"] for run in retried["runs"]] == [
        "succeeded",
        "queued",
        "running",
        "queued",
    ]
    assert [run["attempt"] for run in retried["runs"]] == [1, 1, 1, 0]
    assert refused(api, experiment) == (
        "nothing_to_retry",
        f"no run of experiment {experiment['id']} has failed or was cancelled (2 queued, 1 running, 1 succeeded)",
    )


def test_what_has_succeeded_is_never_retried(api: TestClient, database: Database) -> None:
    experiment = submit(api, TRAIN)
    lease = begin(database)
    succeed(database, lease)
    before = record(api, experiment)
    assert refused(api, experiment)[0] == "nothing_to_retry"
    with database.writing() as session:
        assert not lifecycle.retry(session, [lease.run_id])
    assert record(api, experiment) == before
    assert api.post("/experiments/exp_none/retry").status_code == 404


def test_a_retry_rings_once_for_each_queued_run(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    experiment = submit(api, {**TRAIN, "seeds": 3})
    api.post(f"/experiments/{experiment['id']}/cancel")
    monkeypatch.setattr(api.app.state.doorbell, "ring", rung.append)  # type: ignore[attr-defined]
    retry(api, experiment)
    refused(api, experiment)
    assert rung == [3]


def test_a_student_whose_teacher_failed_is_retried_after_it_and_waits_for_it(
    api: TestClient, database: Database
) -> None:
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}, "seeds": 2})
    teacher = {"id": student["related"]["teacher_experiment"]}
    lease = begin(database)
    fail(database, lease)
    before = record(api, student)
    assert before["status_reason"] == "teacher_failed"
    code, detail = refused(api, student)
    assert code == "retry_other_first"
    assert (
        detail
        == f"it builds on what has no weights: run {lease.run_id} of experiment {teacher['id']} has failed. Retry"
        f" {teacher['id']} first"
    )
    with database.writing() as session:
        assert not lifecycle.retry(session, [student["runs"][0]["id"]])
    assert record(api, student) == before, "nothing is changed"

    assert retry(api, teacher)["status"] == "queued"
    assert record(api, student)["status"] == "failed", "its own retry takes it up again"
    waiting = retry(api, student)
    assert {run["status_reason"] for run in waiting["runs"]} == {"waiting_for_teacher"}
    lease = begin(database)
    assert lease.run_id == student["related"]["teacher_run"]
    with database.writing() as session:
        assert lifecycle.claim(session, "w") is None
    succeed(database, lease)
    assert {run["status_reason"] for run in record(api, student)["runs"]} == {"waiting_for_worker"}
    assert begin(database).attempt == 1


def test_a_cancelled_student_of_a_trained_teacher_waits_for_nobody(
    api: TestClient, database: Database
) -> None:
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}})
    succeed(database, begin(database))
    api.post(f"/experiments/{student['id']}/cancel")
    assert retry(api, student)["runs"][0]["status_reason"] == "waiting_for_worker"


def test_runs_of_several_experiments_are_retried_together_the_needed_ones_first(
    api: TestClient, database: Database
) -> None:
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}, "seeds": 2})
    untouched = submit(api, TRAIN)
    api.post(f"/experiments/{student['related']['teacher_experiment']}/cancel")
    ids = [student["id"], student["related"]["teacher_experiment"], untouched["id"]]
    with database.writing() as session:
        runs = [run for found in experiments.runs_of(session, ids).values() for run in found]
        run_ids = [run.id for run in runs]
        assert [run.status for run in runs] == ["failed", "failed", "cancelled", "queued"]
        with pytest.raises(RetryOtherFirst, match="was cancelled"):
            retrying.retry_runs(session, run_ids[:2])
        assert [run.status for run in runs] == ["failed", "failed", "cancelled", "queued"]
        assert retrying.retry_runs(session, run_ids) == 3
        assert [run.status_reason for run in runs] == [
            "waiting_for_teacher",
            "waiting_for_teacher",
            "waiting_for_worker",
            "waiting_for_worker",
        ]
        assert retrying.retry_runs(session, run_ids) == 0
        assert retrying.retry_runs(session, []) == 0
