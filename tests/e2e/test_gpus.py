"""Machines whose GPU cannot be used: the service says so wherever anybody looks, and goes on when it can."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service, wait_until
from tests.gpus.stand_ins import TWO_GPUS, driver_library, in_path, nvidia_smi

MakeService = Callable[..., Service]

DIGITS = {"dataset": "digits", "model": {"hidden": [16]}, "epochs": 1}
TOO_OLD = "The NVIDIA driver on your system is too old (it is 535.183.01 for CUDA 12.2)"
SAID_SECONDS = 30.0
"""Of a machine that is very busy; an idle one takes four."""


def with_old_driver(service: Service, folder: Path, listed: tuple[str, ...] = TWO_GPUS[:1]) -> Path:
    """As on a machine whose driver has not been updated; returns the folder of its library."""
    library = driver_library(folder / "driver")
    service._environment |= {
        "PATH": in_path(nvidia_smi(folder / "bin", listed)),
        "LD_LIBRARY_PATH": str(library),
        "NVIDIA_STUB_DRIVER": "12020",
        "NVIDIA_STUB_LOG": str(folder / "calls"),
    }
    service._environment.pop("CUDA_VISIBLE_DEVICES", None)
    return library


def health(service: Service) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker.health"],
        env=service._environment,
        capture_output=True,
        text=True,
    )


def start(service: Service) -> "subprocess.Popen[bytes]":
    process = service.start("serve", "--port", str(service.port))
    service.wait_until_up()
    return process


def said(service: Service, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The only worker, as soon as it says something."""

    def look() -> Any:
        workers = service.get("/workers")["data"]
        return workers and what(workers[0]) and workers[0]

    found: dict[str, Any] = wait_until(
        look, SAID_SECONDS, f"a worker says it; {service.read_log()}"
    )
    return found


@pytest.mark.slow
def test_a_named_gpu_whose_driver_is_too_old_is_said_everywhere_and_never_replaced(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(devices="cuda:0")
    library = with_old_driver(service, tmp_path)
    process = start(service)
    experiment = service.submit(DIGITS)
    worker = said(service, lambda one: one["trouble"])
    assert worker["device"] == "cuda:0"
    assert worker["trouble"].startswith(TOO_OLD)
    assert "needs 580 or newer. Update the driver" in worker["trouble"]
    assert "build for CUDA 12.6" in worker["trouble"]
    record = wait_until(
        lambda: (r := service.record(experiment))["status_reason"] == "no_worker_online" and r,
        SAID_SECONDS,
        "the experiment says it",
    )
    clause = f"The worker on cuda:0 cannot train: {TOO_OLD}"
    assert clause in record["status_message"]
    ready = wait_until(
        lambda: "cannot train" in (r := service.get("/readyz"))["checks"]["workers"] and r,
        SAID_SECONDS,
        "/readyz says it",
    )
    assert (ready["status"], ready["checks"]["workers_online"]) == ("ready", 0)
    metrics = service.http.get("/metrics").text
    assert 'lab_workers_online{device="cuda:0"} 0' in metrics
    assert 'lab_workers_in_trouble{device="cuda:0"} 1' in metrics
    checked = health(service)
    assert checked.returncode == 1
    assert TOO_OLD in checked.stdout
    assert TOO_OLD in service.http.get("/ui/queue").text
    assert f"no trainer could be started on cuda:0: {TOO_OLD}" in service.log.read_text()
    assert service.run(experiment)["attempt"] == 0
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert {visible for _, _, visible in calls} == {"0"}, "a trainer sees its own card alone"

    (library / "libcuda.so.1").unlink()  # the next trainer that loads it finds none
    said(service, lambda one: (one["trouble"] or "").startswith("Found no NVIDIA driver"))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, "what cannot train can be stopped"


@pytest.mark.slow
def test_without_a_named_device_the_cpu_takes_the_place_of_a_gpu_that_cannot_be_used(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(devices="auto")
    with_old_driver(service, tmp_path)
    start(service)
    experiment = service.submit(DIGITS)
    worker = said(service, lambda one: one["caution"])
    assert (worker["device"], worker["trouble"]) == ("cpu", None)
    assert worker["caution"].startswith(f"GPU found and not usable: {TOO_OLD}")
    assert worker["caution"].endswith("; trains on the CPU")
    service.wait_for(experiment, "succeeded")
    wait_until(
        lambda: service.get("/readyz")["checks"]["workers"] == "ok", 10, "the workers are ok"
    )
    assert health(service).returncode == 0
    assert "trains on the CPU" in service.http.get("/ui/queue").text
    assert f"cuda:0: GPU found and not usable: {TOO_OLD}" in service.log.read_text()


@pytest.mark.slow
def test_a_driver_that_does_not_answer_is_no_machine_without_gpu(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(devices="auto")
    tool = nvidia_smi(
        tmp_path / "bin", end="echo Failed to initialize NVML: Unknown Error; exit 255"
    )
    service._environment["PATH"] = in_path(tool)
    start(service)
    worker = said(service, lambda one: one["caution"])
    words = "nvidia-smi ended with status 255: Failed to initialize NVML: Unknown Error; trains on the CPU"
    assert (worker["device"], worker["caution"]) == ("cpu", words)
    assert words in service.log.read_text()


@pytest.mark.slow
def test_a_gpu_that_is_back_is_used_without_a_restart(
    make_service: MakeService, tmp_path: Path
) -> None:
    """The trainers' server cannot load its libraries until they are there."""
    service = make_service(devices="cpu")
    broken = tmp_path / "first"
    broken.mkdir()
    (broken / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot be opened')\n")
    service._environment["PYTHONPATH"] = f"{broken}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    start(service)
    experiment = service.submit(DIGITS)
    worker = said(service, lambda one: one["trouble"])
    assert "ImportError: libcudart.so.13: cannot be opened" in worker["trouble"]
    (broken / "torch.py").unlink()
    service.wait_for(experiment, "succeeded")
    assert said(service, lambda one: one["trouble"] is None)
    wait_until(
        lambda: service.get("/readyz")["checks"]["workers"] == "ok", 10, "the workers are ok"
    )


@pytest.mark.slow
def test_a_job_of_a_batch_system_whose_gpu_cannot_be_used_ends_and_fails(
    make_service: MakeService, tmp_path: Path
) -> None:
    service = make_service(devices="cuda:0")
    with_old_driver(service, tmp_path)
    service.api()
    experiment = service.submit(DIGITS)
    process = service.start("worker", "--until-empty")
    assert process.wait(120) == 1
    assert "none of the workers can train: the job ends" in service.log.read_text()
    assert service.run(experiment)["attempt"] == 0
