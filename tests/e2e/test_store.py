"""Machines that share no folder: an API and workers, each with a home of its own, PostgreSQL, Redis and a bucket."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_datasets_api import flowers, zipped
from tests.buckets import Buckets, served
from tests.e2e.service import Redis, Service, all_pids, ancestors, command_of
from tests.e2e.test_faults import STEADY
from tests.postgres import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

TEACHER = {"dataset": "flowers", "model": {"arch": "cnn", "stages": 1, "width": 8}, "epochs": 2}
DISTILL = {
    "kind": "distill",
    "dataset": "flowers",
    "teacher": {"spec": TEACHER},
    "student": {"hidden": [8]},
    "epochs": 2,
}


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with served() as server:
        yield server


@pytest.fixture
def service(
    postgresql: Cluster, make_service: Callable[..., Service], redis: Redis, buckets: Buckets
) -> Iterator[Service]:
    """The API, in a home that no worker sees."""
    name = postgresql.create()
    running = make_service(
        broker_url=redis.url, database_url=postgresql.url(name), store=buckets.take()
    )
    running.api()
    yield running
    running.stop()
    postgresql.drop(name)


class Machine:
    """Another machine: the service's settings, but for a home of its own."""

    def __init__(self, home: Path, service: Service) -> None:
        self.home, self._service = home, service

    def start_worker(self) -> Any:
        lab = [sys.executable, "-m", "app.commands"]
        self.process = self._service.start(
            f"LAB_HOME={self.home}", *lab, "worker", "--workers", "1", "--until-empty", lab=["env"]
        )
        return self.process

    def work_until_empty(self) -> None:
        assert self.start_worker().wait(120) == 0, self._service.read_log()

    def kill(self) -> None:
        """kill -9 of all of it at once, the machine's power gone."""
        lost = [pid for pid in all_pids() if self.process.pid in ancestors(pid)]
        assert any("trainers" in command_of(pid) for pid in lost)
        for pid in (self.process.pid, *lost):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.slow
def test_own_images_a_teacher_and_its_student_are_trained_on_machines_that_share_no_folder(
    service: Service, tmp_path: Path
) -> None:
    uploaded = service.http.put("/datasets/flowers", content=zipped(flowers()))
    assert uploaded.status_code == 201, uploaded.text
    student = service.submit(DISTILL)
    Machine(tmp_path / "one", service).work_until_empty()
    record = service.record(student)
    assert record["status"] == "succeeded", record["error"]
    again = service.submit({**DISTILL, "alpha": 0.5})
    assert again["related"]["teacher_run"] == student["related"]["teacher_run"]
    Machine(tmp_path / "two", service).work_until_empty()
    assert service.record(again)["status"] == "succeeded", "its teacher was trained elsewhere"

    get, run_id = service.http.get, again["runs"][0]["id"]
    for picture in ("curves.png", "confusion-matrix.png"):
        assert get(f"/experiments/{again['id']}/{picture}").content.startswith(b"\x89PNG")
    for artifact in service.get(f"/runs/{run_id}/artifacts")["data"]:
        answer = get(f"/runs/{run_id}/artifacts/{artifact['name']}")
        assert sha256(answer.content).hexdigest() == artifact["sha256"]
    answer = service.post(f"/runs/{run_id}/predict", {"split": "test", "row": 1})
    assert answer["predicted"]["name"] in {"rose", "tulip"}
    assert get(f"/runs/{run_id}/model.onnx").is_success
    teacher = service.get(f"/runs/{student['related']['teacher_run']}")["experiment_id"]
    assert get(f"/experiments/{teacher}/explanations.png").is_success
    for home in (tmp_path / "one", tmp_path / "two"):
        assert {path.name for path in (home / "runs").rglob("*") if path.is_file()} == {"log.txt"}


@pytest.mark.slow
def test_a_machine_that_is_lost_loses_no_run_and_another_goes_on_with_the_same_bits(
    service: Service, tmp_path: Path
) -> None:
    undisturbed = service.submit(STEADY)
    Machine(tmp_path / "one", service).work_until_empty()
    disturbed = service.submit(STEADY)
    lost = Machine(tmp_path / "lost", service)
    lost.start_worker()
    service.wait_for_epoch(disturbed, 5)
    lost.kill()
    # the other one's poller takes the run back when its lease is over
    other = Machine(tmp_path / "other", service)
    other_job = service.start(
        f"LAB_HOME={other.home}",
        sys.executable,
        "-m",
        "app.commands",
        "worker",
        "--workers",
        "1",
        lab=["env"],
    )
    service.wait_for(disturbed, "succeeded", 120)
    attempts = service.run(disturbed)["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["worker_lost", "completed"]
    assert attempts[1]["resumed_from"]["epoch"] >= 5
    assert service.weights_sha256(disturbed) == service.weights_sha256(undisturbed)
    assert len(service.weights_sha256(disturbed)) == 3
    os.kill(other_job.pid, signal.SIGTERM)
    assert other_job.wait(40) == 0
