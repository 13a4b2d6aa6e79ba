"""`lab worker` as a job of a batch system: it ends by itself when nothing is left to do, and in time when told."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Redis, Service, ancestors
from tests.e2e.test_distillation import STUDENT
from tests.e2e.test_faults import QUICK, STEADY

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "examples" / "slurm.sh"
JOB_SECONDS = 90

MakeService = Callable[..., Service]


def begun(service: Service, *options: str) -> tuple[Any, "subprocess.Popen[bytes]"]:
    """A job that trains a long run, some epochs past its beginning."""
    experiment = service.submit(STEADY)
    job = service.start("worker", "--workers", "1", *options)
    service.wait_for_epoch(experiment, 3)
    return experiment, job


def require_given_back(service: Service, experiment: Any) -> None:
    """At once, without a lease to wait for, and not as a crash."""
    run = service.run(experiment)
    assert (run["status"], run["status_reason"]) == ("queued", "worker_shutdown"), (
        run["error"] or service.read_log()
    )
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["worker_shutdown"]


@pytest.mark.slow
def test_a_job_until_empty_trains_all_with_what_waits_for_a_teacher_and_leaves(
    make_service: MakeService,
) -> None:
    service = make_service()
    service.api()
    plain = service.submit({**QUICK, "seeds": 2})
    student = service.submit({**STUDENT, "seeds": 1})
    job = service.start("worker", "--workers", "2", "--until-empty")
    assert job.wait(JOB_SECONDS) == 0
    for experiment in (plain, student):
        assert service.record(experiment)["status"] == "succeeded"
    assert service.get("/readyz")["checks"]["workers_online"] == 0, "they have signed off"
    assert service.start("worker", "--workers", "1", "--until-empty").wait(JOB_SECONDS) == 0
    assert "nothing is queued" in service.read_log()


@pytest.mark.redis
@pytest.mark.slow
def test_usr1_some_time_before_the_end_of_a_job_gives_its_run_back_and_the_next_job_goes_on(
    make_service: MakeService, redis: Redis
) -> None:
    service = make_service(broker_url=redis.url, lease_seconds=60)
    service.api()
    experiment, job = begun(service, "--until-empty")
    os.kill(job.pid, signal.SIGUSR1)
    assert job.wait(40) == 0
    require_given_back(service, experiment)
    assert service.start("worker", "--workers", "1", "--until-empty").wait(JOB_SECONDS) == 0
    assert service.record(experiment)["status"] == "succeeded"
    assert service.run(experiment)["attempts"][1]["resumed_from"]["epoch"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_every_process_of_a_job_is_no_crash_either(
    make_service: MakeService, number: signal.Signals
) -> None:
    """As `srun` and control groups deliver it."""
    service = make_service(lease_seconds=60)
    api = service.api()
    experiment, job = begun(service)
    of_the_job = [pid for pid in service.lab_pids() if not is_of(api.pid, pid)]
    assert len(of_the_job) >= 4, "the command, the worker, its child, the trainers"
    for pid in of_the_job:
        os.kill(pid, number)
    assert job.wait(40) == 0
    require_given_back(service, experiment)


def test_a_job_whose_seconds_are_over_leaves_what_is_queued(make_service: MakeService) -> None:
    service = make_service()
    service.api()
    experiment = service.submit(STEADY)
    assert service.start("worker", "--workers", "1", "--max-seconds", "1").wait(40) == 0
    assert service.record(experiment)["status"] == "queued"
    assert "1 seconds are over" in service.read_log()


@pytest.mark.slow
def test_the_script_for_slurm_is_bash_and_its_worker_trains_what_is_queued(
    make_service: MakeService, tmp_path: Path
) -> None:
    """Slurm reads the lines that begin with #SBATCH; the rest is run as Slurm would."""
    lines = re.findall(r"^#SBATCH (--[\w-]+)(?:=\S+)?$", SCRIPT.read_text(), re.MULTILINE)
    assert {"--array", "--signal", "--requeue", "--time"} <= set(lines)
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    service = make_service()
    service.api()
    experiment = service.submit(QUICK)
    lab = tmp_path / "venv" / "bin" / "lab"
    lab.parent.mkdir(parents=True)
    lab.write_text(f'#!/bin/bash\nexec {sys.executable} -m app.commands "$@"\n')
    lab.chmod(0o755)
    job = service.start(
        f"LAB_VENV={tmp_path / 'venv'}",
        "SLURM_CPUS_PER_TASK=1",
        "bash",
        str(SCRIPT),
        lab=["env"],
    )
    assert job.wait(JOB_SECONDS) == 0, service.read_log()
    assert service.record(experiment)["status"] == "succeeded"


def is_of(parent: int, pid: int) -> bool:
    """Whether a process is another's, at whatever distance."""
    return pid == parent or parent in ancestors(pid)
