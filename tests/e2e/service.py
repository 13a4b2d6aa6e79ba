"""A real service in processes of its own, started the way a user starts it, and killed the way an accident kills it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

LAB = [sys.executable, "-m", "app.commands"]
INSTALLED_LAB = [str(Path(sys.executable).with_name("lab"))]
START_SECONDS = 60.0
LEASE_SECONDS = 2.0
CLOSED_PORT = "http://127.0.0.1:9"


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until the condition is true and return it; fail with `what` otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Service:
    """`lab serve`, or `lab api` with `lab worker`s beside it, on a free port with a home of its own."""

    def __init__(self, home: Path, broker_url: str = "", **settings: object) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LAB_")}
        self._environment = inherited | {
            "LAB_HOME": str(home),
            "LAB_BROKER_URL": broker_url,
            "LAB_LEASE_SECONDS": str(LEASE_SECONDS),
            "LAB_RING_SECONDS": "1",
            "LAB_DEVICES": "cpu",
            "LAB_MIN_FREE_BYTES": "0",
            "LAB_THREADS": "1",
            "http_proxy": CLOSED_PORT,
            "https_proxy": CLOSED_PORT,
            "no_proxy": "127.0.0.1,localhost",
            "TORCH_HOME": str(home / "torch"),
            **{f"LAB_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = home / "service.log"

    def start(
        self, *command: str, lab: Sequence[str] = LAB, folder: Path | None = None
    ) -> "subprocess.Popen[bytes]":
        """Run `lab <command>`, in a folder; its output goes to the log."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*lab, *command],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=folder,
            )
        self.processes.append(process)
        return process

    def serve(self, workers: int = 1) -> "subprocess.Popen[bytes]":
        """API and local workers, up and with all workers online."""
        process = self.start("serve", "--port", str(self.port), "--workers", str(workers))
        self.wait_until_up()
        self.wait_for_workers(workers)
        return process

    def api(self) -> "subprocess.Popen[bytes]":
        """The API alone."""
        process = self.start("api", "--port", str(self.port))
        self.wait_until_up()
        return process

    def wait_until_up(self) -> None:
        def answers() -> bool:
            try:
                return self.http.get("/healthz").is_success
            except httpx.TransportError:
                return False

        wait_until(answers, START_SECONDS, f"the API answers; its log:\n{self.read_log()}")

    def wait_for_workers(self, count: int) -> None:
        wait_until(
            lambda: self.get("/readyz")["checks"]["workers_online"] >= count,
            START_SECONDS,
            f"{count} workers are online; the log:\n{self.read_log()}",
        )

    def get(self, path: str) -> Any:
        response = self.http.get(path)
        assert response.is_success, response.text
        return response.json()

    def post(self, path: str, body: Any = None) -> Any:
        response = self.http.post(path, json=body)
        assert response.is_success, response.text
        return response.json()

    def submit(self, body: Any) -> Any:
        return self.post("/experiments", body)

    def record(self, experiment: Any) -> Any:
        return self.get(f"/experiments/{experiment['id']}")

    def run(self, experiment: Any, number: int = 0) -> Any:
        return self.get(f"/runs/{experiment['runs'][number]['id']}")

    def wait_for(self, experiment: Any, status: str, seconds: float = 60.0) -> Any:
        def reached() -> Any:
            record = self.record(experiment)
            assert not record["is_terminal"] or record["status"] == status, (
                f"{record['status']}: {record['error']}\n{self.read_log()}"
            )
            return record["status"] == status and record

        return wait_until(
            reached, seconds, f"{experiment['id']} is {status}; the log:\n{self.read_log()}"
        )

    def wait_for_epoch(self, experiment: Any, epoch: int, seconds: float = 60.0) -> Any:
        return wait_until(
            lambda: (r := self.record(experiment))["progress"]["epoch"] > epoch and r,
            seconds,
            f"epoch {epoch} is done; the log:\n{self.read_log()}",
        )

    def weights_sha256(self, experiment: Any, number: int = 0) -> dict[str, str]:
        data = self.get(f"/runs/{experiment['runs'][number]['id']}/artifacts")["data"]
        return {
            artifact["name"]: artifact["sha256"]
            for artifact in data
            if artifact["name"].endswith(".safetensors")
        }

    def metrics(self, experiment: Any, number: int = 0) -> Any:
        return self.get(f"/experiments/{experiment['id']}/metrics")["runs"][number]["epochs"]

    def worker_pids(self) -> list[int]:
        """Main processes of all `python -m worker` that belong to this service."""
        return [
            pid
            for pid in self._own_pids()
            if "worker" in command_of(pid)
            and command_of(parent_of(pid))[1:3] == ["-m", "app.commands"]
        ]

    def trainer_pids(self) -> list[int]:
        """Forked trainers: processes of the lab whose parent is one as well."""
        return [
            pid
            for pid in self._own_pids()
            if "trainers" in command_of(pid) and "trainers" in command_of(parent_of(pid))
        ]

    def lab_pids(self) -> list[int]:
        """Every process of this service, dead ones that nobody has reaped left out."""
        return self._own_pids()

    def kill_workers(self) -> None:
        """kill -9 of every worker's main process."""
        pids = self.worker_pids()
        assert pids, "no worker process found"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def read_log(self) -> str:
        return self.log.read_text()[-6000:] if self.log.exists() else ""

    def stop(self) -> None:
        """End whatever still runs."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        self.http.close()

    def _own_pids(self) -> list[int]:
        marker = f"LAB_HOME={self.home}".encode()
        found = {
            pid
            for pid in all_pids()
            if marker in _read(f"/proc/{pid}/environ").split(b"\0") and is_alive(pid)
        }
        return sorted(
            found
            | {
                pid
                for pid in all_pids()
                if "trainers" in command_of(pid)
                and any(parent in found for parent in ancestors(pid))
                and is_alive(pid)
            }
        )


class Redis:
    """A private redis-server that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL)
        wait_until(self._accepts, 10, "redis-server accepts connections")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def is_alive(pid: int) -> bool:
    """Running, not a zombie: `kill -0` cannot tell them apart."""
    stat = _read(f"/proc/{pid}/stat")
    return bool(stat) and stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def parent_of(pid: int) -> int:
    stat = _read(f"/proc/{pid}/stat")
    return int(stat.rpartition(b")")[2].split()[1]) if stat else 0


def ancestors(pid: int) -> list[int]:
    found = []
    while (pid := parent_of(pid)) > 1:
        found.append(pid)
    return found


def command_of(pid: int) -> list[str]:
    return _read(f"/proc/{pid}/cmdline").decode().split("\0")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
