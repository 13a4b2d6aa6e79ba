"""The two ways to run the service, with processes that come back when they die, as under a supervisor."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.service import Redis, Service, is_alive, parent_of
from tests.postgres import Cluster

NUM_WORKERS = 2
ANSWER_SECONDS = 60.0
SETTINGS: dict[str, object] = {
    "lease_seconds": 4,
    "stop_grace_seconds": 10,
    "max_crashes": 10_000,
    "checkpoint_seconds": 1,
    "log_level": "INFO",
}
"""Crashes are what this is about, so their number ends no run."""


class Stack:
    """API and workers as processes of their own; on SQLite with the embedded broker, or on PostgreSQL and Redis."""

    def __init__(self, folder: Path, cluster: Cluster | None, redis: Redis | None) -> None:
        self.cluster, self.redis = cluster, redis
        self._database = None if cluster is None else cluster.create()
        url = "" if cluster is None or self._database is None else cluster.url(self._database)
        self.service = Service(
            folder / "home", "" if redis is None else redis.url, database_url=url, **SETTINGS
        )
        self.name = "SQLite, embedded broker" if cluster is None else "PostgreSQL, Redis"
        self.api = self._start("api")
        self.workers = [self._start("worker") for _ in range(NUM_WORKERS)]
        self.service.wait_until_up()
        self.service.wait_for_workers(NUM_WORKERS)

    def revive(self) -> int:
        """Start whatever has died again; returns how many processes that were."""
        revived = 0
        if self.api.poll() is not None:
            self.api, revived = self._start("api"), revived + 1
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.workers[number], revived = self._start("worker"), revived + 1
        return revived

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """A request that is repeated while the API is down or busy, as a patient client's script repeats it."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                answer = self.service.http.request(method, path, json=body, headers=headers)
                if answer.status_code != 503 or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            self.revive()
            time.sleep(0.2)

    def pids(self, kind: str) -> list[int]:
        """Live processes: `worker` mains, their `child`ren that supervise, the `server`s that fork trainers, and
        `trainer`s.
        """
        mains = [pid for pid in self.service.worker_pids() if is_alive(pid)]
        trainers = self.service.trainer_pids()
        servers = sorted({parent_of(pid) for pid in trainers})
        children = sorted({parent_of(pid) for pid in servers})
        return {"worker": mains, "child": children, "server": servers, "trainer": trainers}[kind]

    def stop_gracefully(self, number: int) -> None:
        """SIGTERM to one `lab worker`, as at a shutdown; it comes back at the next `revive`."""
        self.workers[number].send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End everything."""
        for pid in self.service.lab_pids():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue
        self.service.stop()
        if self.cluster is not None and self._database is not None:
            self.cluster.drop(self._database)

    def _start(self, command: str) -> "subprocess.Popen[bytes]":
        return self.service.start(
            command,
            *(["--port", str(self.service.port)] if command == "api" else ["--workers", "1"]),
        )
