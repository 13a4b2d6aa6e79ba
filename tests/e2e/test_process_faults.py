"""Processes killed, stopped and hung at the worst moments: on SQLite with the embedded broker, one service for most of
them.
"""

import os
import pickle
import random
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.service import Service, is_alive, parent_of, wait_until
from tests.e2e.test_faults import QUICK, STEADY, require_same_run

pytestmark = pytest.mark.slow

MakeService = Callable[..., Service]

LIGHT = {
    **STEADY,
    "model": {"arch": "mlp", "depth": 2, "width": 192, "dropout": 0.2, "norm": "batch"},
    "layer_gradients": {"layers": ["hidden.1.linear.weight"], "histograms": True},
}
"""As many epochs in a third of the time, and all that a run can keep."""


class Stack:
    """An API and one worker in processes of their own, what an undisturbed run gives, and failpoints to arm."""

    def __init__(self, home: Path) -> None:
        self.armed = home / "armed"
        self.service = Service(home / "home", failpoint=self.armed)

    def start(self) -> None:
        self.api = self.service.api()
        self.service.start("worker", "--workers", "1")
        self.service.wait_for_workers(1)
        self.undisturbed = self.service.submit(LIGHT)
        self.service.wait_for(self.undisturbed, "succeeded", 90)

    def begin(self, after_epoch: int = 5) -> Any:
        """A run under way, past so many epochs."""
        experiment = self.service.submit(LIGHT)
        self.service.wait_for_epoch(experiment, after_epoch)
        return experiment

    def arm(self, what: str) -> None:
        """Arm a failpoint; it is read whole or not at all."""
        temporary = self.armed.with_suffix(".new")
        temporary.write_text(what)
        temporary.replace(self.armed)

    def wait_until_fired(self) -> None:
        wait_until(lambda: not self.armed.exists(), 60, "the failpoint fires")

    def supervisors(self) -> list[int]:
        """The children of the workers' main processes that carry out attempts."""
        mains = self.service.worker_pids()
        return [
            pid
            for pid in self.service.lab_pids()
            if parent_of(pid) in mains and pid not in self.trainers()
        ]

    def trainers(self) -> list[int]:
        """Trainers and the servers that fork them."""
        pids = self.service.trainer_pids()
        return sorted({*pids, *(parent_of(pid) for pid in pids)})

    def freeze_worker(self) -> list[int]:
        """SIGSTOP to the worker's main process, its supervisor and all trainers, so that nothing moves while a test
        changes the world.

        Not within a transaction: SQLite's lock would be held for as long as they are frozen.
        """
        pids = [*self.service.worker_pids(), *self.supervisors(), *self.trainers()]
        for _ in range(20):
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            if self.can_be_written():
                return pids
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)
        raise AssertionError("a worker holds the database's lock every time it is frozen")

    def can_be_written(self) -> bool:
        """Whether nobody holds the database's lock."""
        with closing(
            sqlite3.connect(self.service.home / "lab.sqlite3", timeout=0.1, isolation_level=None)
        ) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def kill(self, pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 10, "they are dead")

    def require_recovered(self, experiment: Any, *outcomes: str) -> Any:
        """The run has succeeded after these attempts, with the bits and numbers of the undisturbed one."""
        self.service.wait_for(experiment, "succeeded", 90)
        run = self.service.run(experiment)
        assert [attempt["outcome"] for attempt in run["attempts"]] == list(outcomes)
        require_same_run(self.service, experiment, self.undisturbed)
        return run

    def files(self, experiment: Any) -> list[str]:
        """What lies in the run's folder under a final name, its log left out."""
        folder = self.service.home / "runs" / experiment["runs"][0]["id"]
        return sorted(
            path.name
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".") and path.name != "log.txt"
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("faults"))
    try:
        running.start()
        yield running
    finally:
        running.service.stop()


def test_a_killed_trainer_is_seen_at_once_and_its_run_ends_with_the_same_bits(stack: Stack) -> None:
    experiment = stack.begin()
    for pid in stack.service.trainer_pids():
        os.kill(pid, signal.SIGKILL)
    run = stack.require_recovered(experiment, "trainer_crashed", "completed")
    assert run["attempts"][1]["resumed_from"]["epoch"] >= 5


def test_a_device_that_fails_is_a_crash_and_no_verdict_on_the_spec(stack: Stack) -> None:
    experiment = stack.begin()
    stack.arm("file.before_rename device")
    run = stack.require_recovered(experiment, "trainer_crashed", "completed")
    assert "unspecified launch failure" in run["attempts"][0]["notes"][-1]
    assert run["error"] is None


def test_a_killed_supervisor_takes_its_trainer_along_and_the_lease_brings_the_run_back(
    stack: Stack,
) -> None:
    experiment = stack.begin()
    trainers = stack.trainers()
    supervisors = stack.supervisors()
    assert len(supervisors) == 1
    stack.kill(supervisors)
    wait_until(
        lambda: not any(is_alive(pid) for pid in trainers),
        10,
        "the trainers die with their supervisor",
    )
    stack.require_recovered(experiment, "worker_lost", "completed")


def test_an_api_killed_in_mid_run_disturbs_no_run(stack: Stack) -> None:
    experiment = stack.begin()
    stack.api.kill()
    stack.api.wait()
    stack.service.processes.remove(stack.api)
    stack.api = stack.service.api()
    stack.require_recovered(experiment, "completed")


@pytest.mark.parametrize(
    ("armed", "outcomes"),
    [
        ("file.before_rename kill checkpoint-*", ("trainer_crashed", "completed")),
        ("file.after_rename kill checkpoint-*", ("trainer_crashed", "completed")),
        ("file.before_rename kill weights.safetensors", ("trainer_crashed", "completed")),
        ("file.after_rename kill predictions.safetensors", ("trainer_crashed", "completed")),
        ("file.after_rename kill layer-gradients.safetensors", ("trainer_crashed", "completed")),
    ],
)
def test_a_crash_between_file_rename_and_row_changes_no_bit(
    armed: str, outcomes: tuple[str, ...], stack: Stack
) -> None:
    experiment = stack.begin()
    stack.arm(armed)
    stack.wait_until_fired()
    run = stack.require_recovered(experiment, *outcomes)
    assert run["attempts"][1]["resumed_from"] is not None
    assert run["attempts"][1]["notes"] == []


def damage(path: Path) -> str:
    """One flipped bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return ""


def remove(path: Path) -> str:
    path.unlink()
    return ""


class Evil:
    """Writes the file `canary` when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self._canary}",))


def plant_code(path: Path) -> str:
    """A pickle that runs code; returns its sum, so that the row can vouch for it."""
    content = pickle.dumps(Evil(path.parent / "canary"))
    path.write_bytes(content)
    return sha256(content).hexdigest()


@pytest.mark.parametrize("change", [damage, remove, plant_code])
def test_a_checkpoint_that_is_not_what_was_written_is_passed_over_and_the_attempt_says_so(
    change: Callable[[Path], str], stack: Stack
) -> None:
    experiment = stack.begin()
    run_id = experiment["runs"][0]["id"]
    frozen = stack.freeze_worker()
    with sqlite3.connect(stack.service.home / "lab.sqlite3", timeout=20) as database:
        epoch, relative = database.execute(
            "SELECT epoch, path FROM checkpoint WHERE run_id = ? ORDER BY epoch DESC, step DESC",
            (run_id,),
        ).fetchone()
        forged = change(stack.service.home / "runs" / run_id / relative)
        if forged:
            database.execute(
                "UPDATE checkpoint SET sha256 = ? WHERE run_id = ? AND path = ?",
                (forged, run_id, relative),
            )
    database.close()
    stack.kill(frozen)
    run = stack.require_recovered(experiment, "worker_lost", "completed")
    assert run["attempts"][1]["resumed_from"]["epoch"] == epoch - 1
    assert len(run["attempts"][1]["notes"]) == 1
    assert (
        f"checkpoint after epoch {epoch} is damaged and was passed over"
        in run["attempts"][1]["notes"][0]
    )
    assert not list(stack.service.home.rglob("canary")), "the planted code has run"


def test_a_drained_worker_puts_its_run_back_even_when_told_twice_and_with_its_whole_group(
    stack: Stack,
) -> None:
    experiment = stack.begin()
    main = stack.service.worker_pids()[0]
    trainers = stack.trainers()
    for _ in range(2):
        os.killpg(main, signal.SIGTERM)
        for pid in trainers:  # sessions of their own, but systemd's control groups reach them too
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(main), 30, "the worker leaves")
    stack.require_recovered(experiment, "worker_shutdown", "completed")
    assert stack.service.run(experiment)["attempts"][1]["resumed_from"]["epoch"] >= 5


def test_kill_9_while_a_worker_drains_leaves_no_half_file_and_loses_nothing(stack: Stack) -> None:
    experiment = stack.begin()
    stack.arm("file.before_rename stop checkpoint-*")
    stack.wait_until_fired()  # the trainer stands still in the middle of a save
    main = stack.service.worker_pids()[0]
    os.kill(main, signal.SIGTERM)
    pids = [*stack.service.worker_pids(), *stack.supervisors()]
    assert all(is_alive(pid) for pid in pids), "it waits for the checkpoint"
    stack.kill(pids)
    stack.require_recovered(experiment, "worker_lost", "completed")


def cancel(stack: Stack, experiment: Any) -> None:
    stack.service.post(f"/experiments/{experiment['id']}/cancel")
    record = stack.service.wait_for(experiment, "cancelled", 20)
    assert record["status_reason"] == "cancelled_by_user"
    assert record["runs"][0]["test"] is None
    assert stack.service.get(f"/runs/{experiment['runs'][0]['id']}/artifacts")["data"] == []
    assert stack.service.post(f"/experiments/{experiment['id']}/cancel")["status"] == "cancelled", (
        "a second time is no error"
    )


def test_a_cancel_before_the_first_sign_of_life_is_heeded(stack: Stack) -> None:
    experiment = stack.service.submit(LIGHT)
    wait_until(lambda: stack.service.run(experiment)["status"] != "queued", 30, "it is claimed")
    cancel(stack, experiment)


@pytest.mark.parametrize(
    "armed",
    [
        "file.before_rename stop checkpoint-*",
        "file.after_rename stop checkpoint-*",
        "file.before_rename stop weights.*",
        "file.after_rename stop predictions.*",
    ],
)
def test_a_cancel_during_a_save_or_while_results_are_written_is_heeded_and_leaves_whole_files(
    armed: str, stack: Stack
) -> None:
    experiment = stack.begin()
    stack.arm(armed)
    stack.wait_until_fired()
    cancel(stack, experiment)
    assert [name for name in stack.files(experiment) if name.endswith(".tmp")] == []
    stack.service.wait_for(stack.service.submit(QUICK), "succeeded")


def test_a_run_that_was_to_be_cancelled_when_its_worker_died_is_cancelled_and_not_queued(
    stack: Stack,
) -> None:
    experiment = stack.begin()
    frozen = stack.freeze_worker()
    assert stack.service.post(f"/experiments/{experiment['id']}/cancel")["status"] == "running"
    stack.kill(frozen)
    record = stack.service.wait_for(experiment, "cancelled", 60)
    assert len(stack.service.run(record)["attempts"]) == 1


def test_submits_survive_kill_9_of_the_api_each_stored_once_or_not_at_all(
    make_service: MakeService,
) -> None:
    """A client that sends again with its key until it is answered gets one experiment, however often the API dies under
    it.
    """
    service = make_service()
    api = service.api()
    generator = random.Random(6)
    keys = [uuid.UUID(int=generator.getrandbits(128)).hex for _ in range(80)]
    answered: dict[str, str] = {}
    statuses = set()

    def submit_all() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=20) as http:
            for key in keys:
                while key not in answered:
                    try:
                        answer = http.post(
                            "/experiments",
                            json={"epochs": 1, "name": key},
                            headers={"Idempotency-Key": key},
                        )
                    except httpx.TransportError:
                        continue
                    statuses.add(answer.status_code)
                    answered[key] = answer.json()["id"]

    client = threading.Thread(target=submit_all, daemon=True)
    client.start()
    for count in (10, 30, 60):
        wait_until(lambda so_many=count: len(answered) >= so_many, 60, f"{count} are answered")
        api.kill()
        api.wait()
        service.processes.remove(api)
        api = service.api()
    client.join(60)
    assert set(answered) == set(keys)
    assert statuses <= {200, 201}
    stored = service.get("/experiments?limit=500")["data"]
    assert {row["name"]: row["id"] for row in stored} == answered
    assert len(stored) == len(keys)
    assert all(row["num_runs"] == 1 for row in stored)
