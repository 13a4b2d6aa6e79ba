"""How long a person waits: from POST to the first optimizer step and to the result, against a fresh process for the
same spec.

The rounds are interleaved, so that a machine that is slow for a while is slow for all.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.service import Redis, Service

ROUNDS = 7
SPEC = {"dataset": "digits", "model": {"arch": "mlp", "hidden": [64, 32]}, "epochs": 1}


def measure() -> list[dict[str, Any]]:
    """One row per quantity: median, minimum, maximum in seconds, and how often it was measured."""
    samples: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder, _services(Path(folder)) as services:
        # the first run prepares the data set, which is no waiting for later ones
        for service in services.values():
            service.wait_for(service.submit(SPEC), "succeeded")
            service.wait_for(service.submit(SPEC), "succeeded")
        for number in range(ROUNDS):
            for name, service in services.items():
                first_step, result = _once(service)
                samples.setdefault(f"{name}, warm worker: first optimizer step", []).append(
                    first_step
                )
                samples.setdefault(f"{name}, warm worker: result in the record", []).append(result)
            samples.setdefault("baseline, python -m lab_models run: result printed", []).append(
                _fresh_process(Path(folder), number)
            )
    return [
        {
            "what": what,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "n": len(values),
        }
        for what, values in samples.items()
    ]


def _once(service: Service) -> tuple[float, float]:
    time.sleep(0.5)  # let the next trainer warm up: this measures a warm worker, not a queue
    experiment = service.submit(SPEC)
    record = service.wait_for(experiment, "succeeded")
    attempt = service.run(experiment)["attempts"][0]
    created = datetime.fromisoformat(experiment["created_at"])
    return tuple(
        (datetime.fromisoformat(text) - created).total_seconds()
        for text in (attempt["first_step_at"], record["finished_at"])
    )  # type: ignore[return-value]


def _fresh_process(folder: Path, number: int) -> float:
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC))
    began = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "lab_models",
        "run",
        str(spec),
        "--out",
        str(folder / f"out{number}"),
        "--threads",
        "1",
    ]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        env={"LAB_HOME": str(folder / "embedded"), "PATH": "/usr/bin:/bin"},
    )
    return time.perf_counter() - began


@contextmanager
def _services(folder: Path) -> Iterator[dict[str, Service]]:
    embedded = Service(folder / "embedded")
    embedded.serve()
    services = {"embedded": embedded}
    redis = None
    if shutil.which("redis-server"):
        redis = Redis(folder)
        services["redis"] = Service(folder / "redis", broker_url=redis.url)
        services["redis"].api()
        services["redis"].start("worker")
        services["redis"].wait_for_workers(1)
    try:
        yield services
    finally:
        for service in services.values():
            service.stop()
        if redis is not None:
            redis.kill()
