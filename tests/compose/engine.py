"""One Compose project with a name, a port and volumes of its own, and the HTTP API that it publishes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.service import free_port

ROOT = Path(__file__).parent.parent.parent
POLL_SECONDS = 0.5
UP_SECONDS = 240.0
RUN_SECONDS = 600.0
COMMAND_SECONDS = 3600.0


class Missing(Exception):
    """Something that the test needs is not installed or does not run."""


def find_compose() -> list[str]:
    """The command that is Compose here: `docker-compose`, or else `docker compose`. Raises Missing, which says what is
    absent.
    """
    if shutil.which("docker") is None:
        raise Missing(
            "docker is not installed: the compose test needs a Docker engine and docker-compose"
        )
    if shutil.which("docker-compose") is not None:
        command = ["docker-compose"]
    elif (
        subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        command = ["docker", "compose"]
    else:
        raise Missing("docker-compose is not installed, nor is Compose 2 (`docker compose`)")
    answer = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise Missing(f"no Docker engine answers: {answer.stderr.strip()}")
    return command


class Busy(Exception):
    """The API answers 503: its database is away, and it says so."""


class Stack:
    """The services of docker-compose.yml under a project name of their own; whatever is in the caller's `LAB_…`
    variables does not count.
    """

    def __init__(
        self,
        command: list[str],
        name: str,
        log: Path,
        profiles: Iterable[str] = (),
        **settings: object,
    ) -> None:
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.log = log
        self.name = name
        chosen = [argument for profile in profiles for argument in ("--profile", profile)]
        no_settings = log.with_name("empty.env")  # in place of the user's .env
        no_settings.touch()
        self._command = [*command, "--project-name", name, "--env-file", str(no_settings), *chosen]
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LAB_", "COMPOSE_"))
        }
        self._environment = inherited | {
            "LAB_PORT": str(self.port),
            "LAB_THREADS": "1",
            **{key: str(value) for key, value in settings.items()},
        }

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one Compose command; its output goes to the log."""
        return self._run([*self._command, *arguments], check)

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one Docker command; its output goes to the log."""
        return self._run(["docker", *arguments], check)

    def up(self, *services: str) -> None:
        """Start the services (default: all) and wait until they are healthy."""
        self.compose("up", "--detach", "--no-build", *services)
        self.wait_until_healthy()

    def container(self, service: str) -> str:
        """The id of the service's container."""
        found = self.compose("ps", "--quiet", service).stdout.split()
        assert len(found) == 1, f"{service} has {len(found)} containers"
        return found[0]

    def inspect(self, service: str) -> Any:
        """What the engine knows of the service's container."""
        return json.loads(self.docker("inspect", self.container(service)).stdout)[0]

    def healths(self) -> dict[str, str]:
        """Each container's service with `healthy`, `starting` and so on, or its state when it does not run."""
        ids = self.compose("ps", "--quiet").stdout.split()
        records = json.loads(self.docker("inspect", *ids).stdout) if ids else []
        return {
            record["Config"]["Labels"]["com.docker.compose.service"]: record["State"]["Health"][
                "Status"
            ]
            if record["State"]["Running"]
            else record["State"]["Status"]
            for record in records
        }

    def wait_until_healthy(self) -> None:
        """Wait for every container of the project, at least API, worker and Redis."""

        def healthy() -> bool:
            healths = self.healths()
            return {"api", "worker", "redis"} <= set(healths) and set(healths.values()) == {
                "healthy"
            }

        self.wait_until(healthy, UP_SECONDS, "all containers are healthy")

    def wait_until(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Poll until the condition is true and return it; fail with `what` otherwise. An API or a database that is away
        is waited for.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                result = condition()
            except (httpx.TransportError, Busy):
                result = None
            if result:
                return result
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"not within {seconds:g} s: {what}; the log says more: {self.log}")

    def get(self, path: str) -> Any:
        response = self.http.get(path)
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Busy(response.text)
        assert response.is_success, f"GET {path}: {response.status_code} {response.text}"
        return response.json()

    def submit(self, body: dict[str, Any]) -> Any:
        response = self.http.post("/experiments", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    def record(self, experiment: Any) -> Any:
        return self.get(f"/experiments/{experiment['id']}")

    def run(self, experiment: Any) -> Any:
        """The record of its first run."""
        return self.get(f"/runs/{experiment['runs'][0]['id']}")

    def wait_for(self, experiment: Any, status: str) -> Any:
        def reached() -> Any:
            record = self.record(experiment)
            assert not record["is_terminal"] or record["status"] == status, (
                f"{record['status']}: {record['error']}"
            )
            return record["status"] == status and record

        return self.wait_until(reached, RUN_SECONDS, f"{experiment['id']} is {status}")

    def wait_for_epoch(self, experiment: Any, epoch: int) -> int:
        """Wait until more than `epoch` epochs are done and the run still trains; returns how many are done."""

        def reached() -> Any:
            record = self.record(experiment)
            assert not record["is_terminal"], (
                f"{record['status']} before epoch {epoch} was seen: the test's runs are too short for this machine"
            )
            return record["status"] == "running" and record["progress"]["epoch"] > epoch and record

        return int(
            self.wait_until(reached, RUN_SECONDS, f"epoch {epoch} of {experiment['id']} is done")[
                "progress"
            ]["epoch"]
        )

    def weights_sha256(self, experiment: Any) -> dict[str, str]:
        """Of each file of weights of its first run."""
        data = self.get(f"/runs/{experiment['runs'][0]['id']}/artifacts")["data"]
        found = {
            artifact["name"]: artifact["sha256"]
            for artifact in data
            if artifact["name"].endswith(".safetensors")
        }
        assert found, "the run has no weights"
        return found

    def epochs_recorded(self, experiment: Any) -> list[int]:
        """The epochs for which its first run has metrics, in the order of the answer."""
        return [
            epoch["epoch"]
            for epoch in self.get(f"/experiments/{experiment['id']}/metrics")["runs"][0]["epochs"]
        ]

    def remove(self) -> None:
        """Take down every container, network and volume of this project."""
        self.compose("logs", "--no-color", check=False)
        self.compose("down", "--volumes", "--remove-orphans", check=False)
        self.http.close()

    def _run(self, command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        with self.log.open("a") as log:
            log.write(
                f"$ {' '.join(command)}\n{answer.stdout}{answer.stderr}[{answer.returncode}]\n"
            )
        assert not check or answer.returncode == 0, (
            f"`{' '.join(command)}` ended with {answer.returncode}: {(answer.stderr or answer.stdout)[-2000:]}"
        )
        return answer
