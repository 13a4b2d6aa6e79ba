"""Starting where other people's files lie, starting what cannot start, and stopping: whole services in processes of
their own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.service import INSTALLED_LAB, LAB, Redis, Service, is_alive, wait_until

MakeService = Callable[..., Service]

DIGITS = {"dataset": "digits", "model": {"arch": "mlp", "hidden": [16]}, "epochs": 2}
LONG = {**DIGITS, "epochs": 5000}
HOMEWORK = ("app", "grp", "queue", "random", "token", "worker")
NAMES_OF_OURS = (
    "celery",
    "celeryconfig",
    "lab_models",
    "matplotlib",
    "migrations",
    "numpy",
    "tasks",
    "torch",
    "types",
)
AT_ONCE = 5.0
"""On a machine that is busy with other tests, where Celery alone takes 5 to 15 s to end; on a quiet one 0.3."""


def poisoned(folder: Path, names: tuple[str, ...]) -> Path:
    """A folder whose modules leave a mark when they are imported, and fail."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'marks')!r}, 'a').write({name + chr(10)!r})\nraise SystemExit(9)\n"
        )
    return folder


def require_no_marks(folder: Path) -> None:
    assert not (folder / "marks").exists(), (folder / "marks").read_text()


@pytest.mark.slow
def test_nothing_that_lies_where_the_service_is_started_is_imported(
    make_service: MakeService, tmp_path: Path
) -> None:
    """Homework lies in a folder; whoever can write there must not run code as the service either."""
    folder = poisoned(tmp_path / "homework", HOMEWORK + NAMES_OF_OURS)
    service = make_service()
    service._environment["DJANGO_SETTINGS_MODULE"] = "tasks"  # Celery would look for it
    command = ("serve", "--port", str(service.port), "--workers", "1")
    service.start(*command, lab=INSTALLED_LAB, folder=folder)
    service.start("worker", "--workers", "1", lab=INSTALLED_LAB, folder=folder)
    service.wait_until_up()
    service.wait_for_workers(2)
    experiments = [service.submit({**DIGITS, "seeds": [seed]}) for seed in (0, 1)]
    for experiment in experiments:
        service.wait_for(experiment, "succeeded")
    assert service.http.get(experiments[0]["links"]["curves"]).content.startswith(b"\x89PNG")
    service.stop()
    require_no_marks(folder)


@pytest.mark.slow
@pytest.mark.redis
def test_nor_on_redis_whose_doorbell_the_api_rings(
    make_service: MakeService, redis: Redis, tmp_path: Path
) -> None:
    folder = poisoned(tmp_path / "homework", HOMEWORK + NAMES_OF_OURS)
    service = make_service(broker_url=redis.url)
    command = ("serve", "--port", str(service.port), "--workers", "1")
    service.start(*command, lab=INSTALLED_LAB, folder=folder)
    service.wait_until_up()
    service.wait_for_workers(1)
    service.wait_for(service.submit(DIGITS), "succeeded")
    service.stop()
    require_no_marks(folder)


def test_a_spec_is_trained_without_a_service_among_homework(tmp_path: Path) -> None:
    folder = poisoned(tmp_path / "homework", HOMEWORK)
    (folder / "spec.json").write_text(
        '{"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "lab_models", "run", "spec.json", "--threads", "1"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "LAB_DATA_DIR": str(tmp_path / "data")},
    )
    assert done.returncode == 0, done.stderr
    require_no_marks(folder)


@pytest.mark.slow
def test_workers_that_cannot_start_are_named_and_come_up_once_they_can(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service()
    broken = tmp_path / "first"
    broken.mkdir()
    (broken / "worker.py").write_text("raise ImportError('libbroken.so.1: no such file')\n")
    path = os.environ.get("PYTHONPATH", "")
    service._environment["PYTHONPATH"] = f"{broken}{os.pathsep}{path}"
    process = service.start("serve", "--port", str(service.port), "--workers", "1")
    service.wait_until_up()
    experiment = service.submit(DIGITS)
    words = "with status 1 (ImportError: libbroken.so.1: no such file)"
    said = wait_until(
        lambda: (m := service.record(experiment)["status_message"]) and words in m and m,
        20,
        "the run says why nobody takes it",
    )
    assert said.startswith("Queued, but no worker of this service comes up: worker 0 ended at once")
    ready = service.get("/readyz")
    assert ready["checks"]["workers"].startswith(f"worker 0 ended at once, {words}")
    wait_until(lambda: "starts in 2 s" in service.read_log(), 20, "the pauses become longer")
    log = service.log.read_text()
    assert f"worker 0 ended, {words}; the next one starts in 1 s" in log
    assert "Traceback" in log  # all that it said, too
    (broken / "worker.py").unlink()
    service.wait_for(experiment, "succeeded")
    wait_until(lambda: service.get("/readyz")["checks"]["workers"] == "ok", 20, "all is well again")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_lab_worker_names_them_on_its_terminal_and_can_be_stopped_meanwhile(
    make_service: MakeService,
) -> None:
    service = make_service()
    service._environment["LAB_THREADS"] = "1"
    broken = service.home / "first"
    broken.mkdir()
    (broken / "worker.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    path = os.environ.get("PYTHONPATH", "")
    service._environment["PYTHONPATH"] = f"{broken}{os.pathsep}{path}"
    process = service.start("worker", "--workers", "2")
    for slot in (0, 1):
        said = f"worker {slot} ended, killed by SIGKILL; the next one starts in 2 s"
        wait_until(lambda said=said: said in service.read_log(), 30, said)  # type: ignore[misc]
    process.send_signal(signal.SIGINT)
    assert process.wait(AT_ONCE) == 0
    assert service.log.read_text().count("; the next one starts in 1 s") == 2


def test_an_idle_service_is_gone_at_once_and_leaves_nothing(make_service: MakeService) -> None:
    service = make_service()
    process = service.serve(workers=2)
    service.wait_for(service.submit(DIGITS), "succeeded")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    seconds = time.monotonic() - began
    assert service.lab_pids() == []
    log = service.log.read_text()
    assert seconds < AT_ONCE, log
    assert "waiting for 2 workers to leave: they save what they train; Ctrl-C again: at once" in log
    assert log.count(" leaves") == 2
    assert "ended, " not in log


@pytest.mark.slow
@pytest.mark.redis
def test_an_idle_worker_on_redis_is_gone_at_once_as_well(
    make_service: MakeService, redis: Redis
) -> None:
    service = make_service(broker_url=redis.url)
    service.api()
    process = service.start("worker", "--workers", "1")
    service.wait_for_workers(1)
    service.wait_for(service.submit(DIGITS), "succeeded")
    process.send_signal(signal.SIGTERM)
    assert process.wait(AT_ONCE) == 0
    assert service.get("/readyz")["checks"]["workers_online"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", pytest.param("worker", marks=pytest.mark.slow)])
def test_a_second_ctrl_c_ends_a_training_service_at_once_and_the_next_start_goes_on(
    make_service: MakeService, command: str
) -> None:
    service = make_service()
    if command == "serve":
        process = service.serve()
    else:
        service.api()
        process = service.start("worker", "--workers", "1")
        service.wait_for_workers(1)
    experiment = service.submit(LONG)
    service.wait_for_epoch(experiment, 2)
    trainers = service.trainer_pids()
    for pid in trainers:
        os.kill(pid, signal.SIGSTOP)  # now it cannot save itself, and would be waited for
    process.send_signal(signal.SIGINT)
    wait_until(
        lambda: "waiting for 1 worker to leave" in service.read_log(), 10, "it is waited for"
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(AT_ONCE) == 130
    wait_until(lambda: not any(map(is_alive, trainers)), 10, "nothing trains any more")

    service.stop()
    service.processes.clear()
    again = Service(service.home)
    try:
        again.serve()
        attempts = wait_until(
            lambda: len(found := again.run(experiment)["attempts"]) == 2 and found,
            60,
            "it is taken up again",
        )
        assert attempts[0]["outcome"] == "worker_lost"
        assert again.record(experiment)["progress"]["epoch"] >= 2
        again.post(f"/experiments/{experiment['id']}/cancel")
        again.wait_for(experiment, "cancelled")
    finally:
        again.stop()


def test_a_taken_port_is_one_sentence_and_nothing_is_made(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service()
    service.api()
    home = tmp_path / "second"
    second = subprocess.run(
        [*LAB, "serve", "--port", str(service.port), "--workers", "2"],
        env={**service._environment, "LAB_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith(
        f"port {service.port} is taken (by another lab serve?): `--port "
    )
    assert second.stderr.count("\n") == 1
    assert not home.exists()
    assert service.get("/healthz") == {"status": "ok"}
