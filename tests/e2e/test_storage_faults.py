"""Disks that fill up and databases that are locked under a running service: it says so, keeps what it has, and goes on
when it can.
"""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import LAB, LEASE_SECONDS, Service, wait_until
from tests.e2e.test_faults import QUICK, require_same_run
from tests.e2e.test_process_faults import LIGHT

pytestmark = pytest.mark.slow

MakeService = Callable[..., Service]
LOCKED_SECONDS = 4 * LEASE_SECONDS


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    try:
        running.api()
        running.start("worker", "--workers", "1")
        running.wait_for_workers(1)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def undisturbed(service: Service) -> Any:
    experiment = service.submit(LIGHT)
    service.wait_for(experiment, "succeeded", 90)
    return experiment


def integrity_of(home: Path) -> list[tuple[str]]:
    with sqlite3.connect(home / "lab.sqlite3", timeout=20) as database:
        rows = database.execute("PRAGMA integrity_check").fetchall()
    database.close()
    return rows


def test_a_database_locked_longer_than_a_lease_loses_no_submit_and_no_bit(
    service: Service, undisturbed: Any
) -> None:
    """The worker lets go of what it cannot hold, a submit waits, and afterwards everything goes on."""
    experiment = service.submit(LIGHT)
    service.wait_for_epoch(experiment, 5)
    blocker = sqlite3.connect(
        service.home / "lab.sqlite3", isolation_level=None, timeout=20, check_same_thread=False
    )
    blocker.execute("BEGIN IMMEDIATE")
    unlock = threading.Timer(LOCKED_SECONDS, lambda: blocker.execute("ROLLBACK"))
    unlock.start()
    waiting = service.submit(QUICK)
    assert not unlock.is_alive(), "the submit was answered once the lock was gone"
    unlock.join()
    blocker.close()
    assert waiting["status"] == "queued"
    for one in (experiment, waiting):
        service.wait_for(one, "succeeded", 90)
    assert [attempt["outcome"] for attempt in service.run(experiment)["attempts"]] == [
        "database_unreachable",
        "completed",
    ], "it is no crash"
    require_same_run(service, experiment, undisturbed)
    assert "the database was out of reach" in service.read_log()


def limit_files(pid: int, size: int) -> None:
    """The kernel lets this process write no file past so many bytes, as on a disk without room."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_database_that_may_not_grow_is_507_and_whole_afterwards(service: Service) -> None:
    api = service.processes[0].pid
    stored = len(service.get("/experiments?limit=500")["data"])
    limit_files(api, 1)
    answer = service.http.post("/experiments", json=QUICK)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert "nothing was changed" in answer.json()["detail"]
    assert service.http.get("/healthz").is_success
    limit_files(api, resource.RLIM_INFINITY)
    assert len(service.get("/experiments?limit=500")["data"]) == stored
    service.wait_for(service.submit(QUICK), "succeeded")
    assert integrity_of(service.home) == [("ok",)]


def test_a_trainer_without_room_for_its_checkpoint_fails_by_name_and_a_retry_ends_with_the_same_bits(
    service: Service, undisturbed: Any
) -> None:
    experiment = service.submit(LIGHT)
    service.wait_for_epoch(experiment, 5)
    for pid in service.trainer_pids():
        limit_files(pid, 4096)
    record = service.wait_for(experiment, "failed")
    assert record["error"]["code"] == "storage_full"
    assert "free disk space" in record["error"]["hint"]
    folder = service.home / "runs" / experiment["runs"][0]["id"]
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"]
    assert len(files) == 2, "the two checkpoints before are kept"
    assert not [path for path in files if path.name.startswith(".")], "nothing half written is left"
    for pid in service.trainer_pids():  # the spare was limited as well
        os.kill(pid, signal.SIGKILL)
    service.post(f"/experiments/{experiment['id']}/retry")
    service.wait_for(experiment, "succeeded", 90)
    attempts = service.run(experiment)["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["training_failed", "completed"]
    assert attempts[1]["resumed_from"]["epoch"] >= 5
    assert attempts[1]["notes"] == []
    require_same_run(service, experiment, undisturbed)


class SmallDisk(Service):
    """The whole service on a file system of its own, a few megabytes large, that no other process sees."""

    def serve_on(self, size: str) -> None:
        script = f'mount -t tmpfs -o size={size} tmpfs "$LAB_HOME" && exec "$@"'
        with self.log.open("ab") as log:
            command = [
                "unshare",
                "-Urm",
                "sh",
                "-c",
                script,
                "sh",
                *LAB,
                "serve",
                "--port",
                str(self.port),
                "--workers",
                "1",
            ]
            process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        self.wait_until_up()
        self.wait_for_workers(1)
        self.disk = Path(f"/proc/{process.pid}/root{self.home}")


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(
            ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )


def test_a_full_disk_stops_nothing_for_good(tmp_path: Path) -> None:
    """True ENOSPC for database, checkpoints, logs and all; then room is made, and every run ends with the bits it
    should have.
    """
    if not can_mount(tmp_path):
        pytest.skip("no mount namespace of one's own here")
    service = SmallDisk(tmp_path / "home")
    service.log = tmp_path / "service.log"
    try:
        service.serve_on("48m")
        undisturbed = service.submit(LIGHT)
        service.wait_for(undisturbed, "succeeded", 90)
        experiment = service.submit(LIGHT)
        service.wait_for_epoch(experiment, 5)
        fill(service.disk / "filler")
        wait_until(lambda: is_refused(service), 60, "a submit is refused for want of room")
        (service.disk / "filler").unlink()
        wait_until(lambda: not is_refused(service), 60, "there is room again")
        record = wait_until(
            lambda: (r := service.record(experiment))["is_terminal"] and r, 90, "the run ends"
        )
        if record["status"] == "failed":
            assert record["error"]["code"] == "storage_full"
            service.post(f"/experiments/{experiment['id']}/retry")
        service.wait_for(experiment, "succeeded", 90)
        require_same_run(service, experiment, undisturbed)
        assert integrity_of(service.disk) == [("ok",)]
    finally:
        service.stop()


def fill(path: Path) -> None:
    """Leave no byte free."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def is_refused(service: Service) -> bool:
    answer = service.http.post("/experiments", json={**QUICK, "name": "x" * 100})
    assert answer.status_code in (201, 507), answer.text
    return answer.status_code == 507
