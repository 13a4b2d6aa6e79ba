"""`GET /metrics`: what Prometheus' own parser reads is what has happened."""

import math
from datetime import timedelta

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from sqlmodel import col
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import experiments, progress
from app.services.lifecycle import Lease, workers
from app.storage.db import Database
from app.storage.tables import Run, StatusChange, Worker, utc_now
from lab_models.training.protocol import EpochCompleted, SavedCheckpoint
from tests.app.test_retry import STUDENT, TRAIN, begin, fail, retry, submit, succeed


def families(api: TestClient) -> dict[str, Metric]:
    answer = api.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(api: TestClient, name: str) -> dict[str, float]:
    """By the only label's value, or by the empty one."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for sample in families(api)[name].samples
    }


def epoch(database: Database, lease: Lease, number: int, seconds: float) -> None:
    checkpoint = SavedCheckpoint(
        path=f"attempt-1/{number}.pt", sha256="0" * 64, size_bytes=1, epoch=number, step=0
    )
    scores = {"loss": 1.0, "accuracy": 0.5}
    metrics = {
        "train": {**scores, "seconds": 0.75 * seconds},
        "val": {**scores, "seconds": 0.25 * seconds},
    }
    event = EpochCompleted(
        epoch=number,
        metrics=metrics,
        best_epoch=1,
        best_val={"loss": 1.0},
        stop_reason=None,
        checkpoint=checkpoint,
    )
    with database.writing() as session:
        progress.record_epoch(session, lease, event)


def test_every_metric_has_help_a_unit_in_its_name_and_a_type(api: TestClient) -> None:
    found = families(api)
    assert {name: family.type for name, family in found.items()} == {
        "lab_queue_depth": "gauge",
        "lab_queue_oldest_wait_seconds": "gauge",
        "lab_runs": "gauge",
        "lab_run_failures": "counter",
        "lab_epoch_seconds": "gauge",
        "lab_lease_losses": "counter",
        "lab_workers_online": "gauge",
        "lab_workers_in_trouble": "gauge",
        "lab_disk_free_bytes": "gauge",
        "lab_build_info": "gauge",
        "lab_http_requests": "counter",
        "lab_http_request_seconds": "histogram",
        "lab_http_waiting": "gauge",
        "lab_http_refused": "counter",
        "lab_http_connections": "gauge",
        "lab_http_connections_refused": "counter",
        "lab_http_held_bytes": "gauge",
        "lab_http_held_refused": "counter",
        "lab_http_too_slow": "counter",
    }
    assert all(
        family.documentation.endswith(".") or "increase()" in family.documentation
        for family in found.values()
    )
    assert values(api, "lab_disk_free_bytes")[""] > 0
    (build,) = found["lab_build_info"].samples
    assert build.value == 1
    assert set(build.labels) == {"version", "revision", "python"}


def test_queue_and_runs_follow_each_transition(api: TestClient, database: Database) -> None:
    empty = {"queued": 0, "running": 0, "paused": 0, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert (
        values(api, "lab_runs"),
        values(api, "lab_queue_depth"),
        values(api, "lab_queue_oldest_wait_seconds"),
    ) == (empty, {"": 0}, {"": 0})
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}})
    assert (values(api, "lab_runs"), values(api, "lab_queue_depth")) == (
        {**empty, "queued": 2},
        {"": 1},
    )
    teacher = begin(database)
    assert (values(api, "lab_runs"), values(api, "lab_queue_depth")) == (
        {**empty, "queued": 1, "running": 1},
        {"": 0},
    )
    succeed(database, teacher)
    assert (values(api, "lab_runs"), values(api, "lab_queue_depth")) == (
        {**empty, "queued": 1, "succeeded": 1},
        {"": 1},
    )
    api.post(f"/experiments/{student['id']}/cancel")
    assert (values(api, "lab_runs"), values(api, "lab_queue_depth")) == (
        {**empty, "cancelled": 1, "succeeded": 1},
        {"": 0},
    )


def backdate(database: Database, run_id: str, seconds: float) -> None:
    moment = utc_now() - timedelta(seconds=seconds)
    with database.writing() as session:
        session.execute(update(Run).where(col(Run.id) == run_id).values(created_at=moment))
        session.execute(
            update(StatusChange).where(col(StatusChange.run_id) == run_id).values(at=moment)
        )


def test_the_oldest_wait_counts_from_when_a_run_could_last_be_taken(
    api: TestClient, database: Database
) -> None:
    first, second = (submit(api, TRAIN)["runs"][0]["id"] for _ in range(2))
    backdate(database, first, 5000)
    backdate(database, second, 1000)
    assert values(api, "lab_queue_oldest_wait_seconds")[""] == pytest.approx(5000, abs=60)
    lease = begin(database)
    assert values(api, "lab_queue_oldest_wait_seconds")[""] == pytest.approx(1000, abs=60)
    with database.writing() as session:
        lifecycle.release(session, lease)
    assert values(api, "lab_queue_oldest_wait_seconds")[""] == pytest.approx(1000, abs=60), (
        "the first is queued anew, and waits since now"
    )


def test_failures_by_code_and_lease_losses(api: TestClient, database: Database) -> None:
    assert (values(api, "lab_run_failures"), values(api, "lab_lease_losses")) == ({}, {"": 0})
    experiment = submit(api, {**TRAIN, "seeds": 2})
    fail(database, begin(database))
    for _ in range(2):
        lease = begin(database)
        with database.writing() as session:
            run = experiments.get_run(session, lease.run_id)
            lifecycle.reap(session, run.id, run.fence, run.heartbeat, 2)
    assert (values(api, "lab_run_failures"), values(api, "lab_lease_losses")) == (
        {"diverged": 1, "crash_loop": 1},
        {"": 2},
    )
    retry(api, experiment)
    assert (values(api, "lab_run_failures"), values(api, "lab_lease_losses")) == ({}, {"": 2})


def test_epoch_seconds_are_means_by_architecture_of_what_is_recent(
    api: TestClient, database: Database
) -> None:
    submit(api, TRAIN)
    cnn = {"dataset": "digits", "model": {"arch": "cnn", "stages": 1}, "epochs": 2}
    bodies = [TRAIN, cnn]
    for body in bodies:
        submit(api, body)
    for _ in range(3):
        lease = begin(database)
        with database.reading() as session:
            arch = experiments.get(
                session, experiments.get_run(session, lease.run_id).experiment_id
            ).spec["model"]["arch"]
        epoch(database, lease, 1, 2.0 if arch == "mlp" else 9.0)
        epoch(database, lease, 2, 4.0 if arch == "mlp" else 11.0)
        succeed(database, lease)
    assert values(api, "lab_epoch_seconds") == {"cnn": 10.0, "mlp": 3.0}
    with database.writing() as session:
        session.execute(update(Run).values(finished_at=utc_now() - timedelta(hours=2)))
    assert values(api, "lab_epoch_seconds") == {}


def test_workers_online_fall_to_zero_and_not_to_nothing(
    api: TestClient, database: Database
) -> None:
    assert values(api, "lab_workers_online") == {"cpu": 0}
    now = utc_now()
    with database.writing() as session:
        for number, (device, age) in enumerate([("cuda:0", 0), ("cuda:0", 0), ("cuda:1", 300)]):
            worker = Worker(
                id=f"w{number}",
                host="h",
                pid=1,
                device=device,
                threads=1,
                started_at=now,
                seen_at=now - timedelta(seconds=age),
            )
            workers.register(session, worker)
    assert values(api, "lab_workers_online") == {"cpu": 0, "cuda:0": 2, "cuda:1": 0}


def test_requests_are_counted_by_route_and_timed(api: TestClient) -> None:
    for _ in range(3):
        api.get("/runs/run_0000000000000")
    api.get("/healthz")
    found = families(api)
    counts = {
        tuple(sample.labels.values()): sample.value for sample in found["lab_http_requests"].samples
    }
    assert counts == {("GET", "/runs/{run_id}", "404"): 3, ("GET", "/healthz", "200"): 1}
    samples = [
        sample
        for sample in found["lab_http_request_seconds"].samples
        if sample.labels["route"] == "/runs/{run_id}"
    ]
    buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert [float(sample.labels["le"]) for sample in samples if sample.name.endswith("_bucket")][
        -1
    ] == math.inf
    assert (
        buckets[-1],
        [sample.value for sample in samples if sample.name.endswith("_count")],
    ) == (3, [3])
    assert next(sample.value for sample in samples if sample.name.endswith("_sum")) > 0
