"""What the containers promise, each promise a step that breaks something for real; a step returns what it saw, in one
line.
"""

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.compose.engine import Stack

LONG = {"model": "mlp", "dataset": "digits", "epochs": 300}
QUICK = {"model": "mlp", "dataset": "digits", "epochs": 3}
EARLY_EPOCH = 10
KIBIBYTE, MEGABYTE = 1024, 10**6
PRINT_TABLES = """
import psycopg
with psycopg.connect("host=postgres user=lab dbname=lab") as connection:
    for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        print(name)
"""
LAB_USER = "10001:10001"


def write_digits_as_mnist(folder: Path) -> None:
    """As many images as MNIST has, in its files: a bright bar for each class, at a place of its own. Everybody may read
    them.
    """
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 60_000), ("t10k", 10_000)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels + 4] = 255
        (raw / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, count, 28, 28) + images.tobytes()
        )
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, count) + labels.tobytes()
        )
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


class Steps:
    """The steps on one stack; the first long run, which nobody disturbs, is what the others are compared with."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._undisturbed: dict[str, str] = {}

    def images(self) -> str:
        """The API's image has no torch and the worker's has it; both have the PostgreSQL driver."""
        without = self.stack.compose(
            "run", "--rm", "--no-deps", "-T", "api", "python", "-c", "import torch", check=False
        )
        assert without.returncode != 0, "the API's image has torch"
        assert "No module named 'torch'" in without.stdout + without.stderr, without.stderr
        self.stack.compose(
            "run", "--rm", "--no-deps", "-T", "api", "python", "-c", "import psycopg"
        )
        self.stack.compose(
            "run", "--rm", "--no-deps", "-T", "worker", "python", "-c", "import torch, psycopg"
        )
        sizes = {
            name: int(
                self.stack.docker(
                    "image", "inspect", "--format", "{{.Size}}", f"training-lab-{name}"
                ).stdout
            )
            for name in ("api", "worker")
        }
        return ", ".join(f"{name} {size / MEGABYTE:.0f} MB" for name, size in sizes.items())

    def hardening(self) -> str:
        """No root, no capabilities, a root file system that cannot be written, Redis reachable from inside alone."""
        for service in self.stack.healths():
            container = self.stack.inspect(service)
            host = container["HostConfig"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            assert host["Init"], service
            assert host["RestartPolicy"]["Name"] == "unless-stopped", service
            assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}, service
            assert host["PidsLimit"] > 0, service
            published = {
                address["HostIp"]
                for bindings in (host["PortBindings"] or {}).values()
                for address in bindings
            }
            assert published == ({"127.0.0.1"} if service == "api" else set()), (
                f"{service} is published on {published}"
            )
        for service in ("api", "worker"):
            assert self.stack.inspect(service)["Config"]["User"] == LAB_USER
            refused = self.stack.compose("exec", "-T", service, "touch", "/home/lab/x", check=False)
            assert "Read-only file system" in refused.stdout + refused.stderr
            capabilities = self.stack.compose(
                "exec", "-T", service, "grep", "CapEff", "/proc/self/status"
            ).stdout.split()
            assert capabilities == ["CapEff:", "0000000000000000"], capabilities
        policy = self.stack.compose(
            "exec", "-T", "redis", "redis-cli", "config", "get", "maxmemory-policy"
        ).stdout.split()
        assert policy == ["maxmemory-policy", "noeviction"], policy
        return f"{len(self.stack.healths())} containers"

    def post_to_png(self) -> str:
        """POST, poll, picture: the first thing that a user does."""
        began = time.monotonic()
        experiment = self.stack.submit(QUICK)
        accuracy = self.stack.wait_for(experiment, "succeeded")["runs"][0]["test"]["accuracy"]
        seconds = time.monotonic() - began
        answer = self.stack.http.get(f"/experiments/{experiment['id']}/curves.png")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert len(set(picture.convert("L").getdata())) > 10, "the picture is empty"
            size = picture.size
        return (
            f"succeeded in {seconds:.1f} s, test accuracy {accuracy:.3f}; curves.png"
            f" {len(answer.content) / KIBIBYTE:.0f} KiB, {size[0]} x {size[1]}"
        )

    def data_folder(self) -> str:
        """A run on files that lie in the folder of LAB_DATA alone, which no container can write to."""
        experiment = self.stack.submit({"model": "mlp", "dataset": "mnist", "epochs": 1})
        accuracy = self.stack.wait_for(experiment, "succeeded")["runs"][0]["test"]["accuracy"]
        assert accuracy > 0.9, accuracy
        for service in ("api", "worker"):
            refused = self.stack.compose("exec", "-T", service, "touch", "/data-in/x", check=False)
            assert "Read-only file system" in refused.stdout + refused.stderr
        return f"test accuracy {accuracy:.3f} on bars"

    def backup(self, folder: Path) -> str:
        """Database and files, while everything runs, into a folder of the machine; the second time nothing is copied
        again.
        """
        folder.chmod(0o777)
        command = ("run", "--rm", "--no-deps", "-T", "-v", f"{folder}:/backup", "api")
        saved = ("lab", "backup", "/backup/lab.db", "--force", "--files", "/backup/files")
        first = self.stack.compose(*command, *saved).stdout.splitlines()
        second = self.stack.compose(*command, *saved).stdout.splitlines()
        assert " 0 were there already" in first[-1], first
        assert "0 files copied" in second[-1], second
        self.stack.compose(*command, "rm", "-r", "/backup/lab.db", "/backup/files")
        return first[-1]

    def undisturbed(self) -> str:
        """The run that the disturbed ones must equal."""
        experiment = self.stack.submit(LONG)
        run = self._finished(experiment, attempts=1)
        self._undisturbed = self.stack.weights_sha256(experiment)
        return f"{_attempts(run)}, weights {self._digest()}"

    def kill_container(self) -> str:
        """`docker kill` of the worker in mid-run; the engine takes that for a wish and leaves it dead, so it is started
        by hand.
        """

        def disturb() -> None:
            self.stack.docker("kill", "--signal", "KILL", self.stack.container("worker"))
            assert self.stack.healths()["worker"] == "exited"
            self.stack.up("worker")

        return self._disturbed(disturb, ended="worker_lost")

    def kill_processes(self) -> str:
        """kill -9 of everything in the worker's container; the engine starts it again by itself."""

        def disturb() -> None:
            before = self.stack.inspect("worker")["RestartCount"]
            self.stack.compose("exec", "-T", "worker", "sh", "-c", "kill -9 -1", check=False)
            self.stack.wait_until(
                lambda: self.stack.inspect("worker")["RestartCount"] > before,
                60,
                "the engine has started the worker again",
            )

        return self._disturbed(disturb, ended="worker_lost")

    def restart_redis(self) -> str:
        """A run in progress does not notice; one queued meanwhile starts after it."""
        queued: list[Any] = []

        def disturb() -> None:
            self.stack.compose("stop", "redis")
            queued.append(self.stack.submit(QUICK))
            self.stack.compose("start", "redis")

        said = self._disturbed(disturb, ended=None)
        self.stack.wait_for(queued[0], "succeeded")
        return f"{said}; submitted while Redis was gone: succeeded"

    def uses_postgres(self) -> str:
        """The rows are in PostgreSQL, and no SQLite file was made beside it."""
        tables = self.stack.compose(
            "exec", "-T", "api", "python", "-c", PRINT_TABLES
        ).stdout.split()
        assert {"experiment", "run", "attempt"} <= set(tables), tables
        files = self.stack.compose("exec", "-T", "api", "ls", "/data").stdout.split()
        assert "lab.sqlite3" not in files, files
        return f"{len(tables)} tables"

    def restart_postgres(self) -> str:
        """The database goes away under a run and comes back."""
        return self._disturbed(lambda: self.stack.compose("restart", "postgres"), ended="any")

    def graceful_stop(self) -> str:
        """`docker-compose stop worker` ends it within its grace period; the run is queued with its progress and goes on
        at the next start.
        """
        grace = self.stack.inspect("worker")["Config"]["StopTimeout"]
        seen: list[str] = []

        def disturb() -> None:
            epochs = self.stack.run(experiment)["progress"]["epoch"]
            began = time.monotonic()
            self.stack.compose("stop", "worker")
            seconds = time.monotonic() - began
            state = self.stack.inspect("worker")["State"]
            assert state["ExitCode"] == 0, f"exit status {state['ExitCode']}: it was killed"
            assert seconds < grace, f"{seconds:.1f} s of {grace} s"
            run = self.stack.run(experiment)
            assert (run["status"], run["status_reason"]) == ("queued", "worker_shutdown"), run
            assert run["progress"]["epoch"] >= epochs, run["progress"]
            seen.append(
                f"stopped in {seconds:.1f} s of {grace} s, queued with {run['progress']['epoch']} epochs"
            )
            self.stack.up("worker")

        experiment = self.stack.submit(LONG)
        said = self._disturbed(disturb, ended="worker_shutdown", experiment=experiment)
        return f"{seen[0]}; {said}"

    def down_and_up(self) -> str:
        """Everything is taken down with a run in the queue and brought up again on the same volumes."""
        self.stack.compose("stop", "worker")
        queued = self.stack.submit(QUICK)
        before = self._records()
        self.stack.compose("down")
        self.stack.up()
        assert set(before) <= set(self._records()), "records are lost"
        ended = {
            identifier: status for identifier, status in before.items() if status == "succeeded"
        }
        assert ended.items() <= self._records().items()
        self.stack.wait_for(queued, "succeeded")
        return f"{len(before)} records before and after; the queued run succeeded"

    def _records(self) -> dict[str, str]:
        return {
            record["id"]: record["status"]
            for record in self.stack.get("/experiments?limit=100")["data"]
        }

    def _disturbed(
        self, disturb: Callable[[], object], ended: str | None, experiment: Any = None
    ) -> str:
        """Disturb a run in its middle; it ends with the undisturbed run's weights and each epoch recorded once.

        `ended` is how its first attempt must have ended: None when that one finished the run, `any` when both are
        right.
        """
        experiment = experiment or self.stack.submit(LONG)
        at = self.stack.wait_for_epoch(experiment, EARLY_EPOCH)
        disturb()
        run = self._finished(
            experiment, attempts=None if ended == "any" else 1 if ended is None else 2
        )
        if ended not in (None, "any"):
            assert run["attempts"][0]["outcome"] == ended, run["attempts"]
        assert self.stack.weights_sha256(experiment) == self._undisturbed, (
            "the weights differ from the undisturbed run's"
        )
        return f"disturbed at epoch {at}, {_attempts(run)}, weights {self._digest()} as undisturbed"

    def _finished(self, experiment: Any, attempts: int | None) -> Any:
        self.stack.wait_for(experiment, "succeeded")
        run = self.stack.run(experiment)
        assert attempts in (None, run["attempt"]), run
        assert self.stack.epochs_recorded(experiment) == list(range(1, LONG["epochs"] + 1)), (
            "an epoch is missing or there twice"
        )  # type: ignore[call-overload]
        return run

    def _digest(self) -> str:
        return "…".join((next(iter(self._undisturbed.values()))[:8], ""))


def _attempts(run: Any) -> str:
    return "1 attempt" if run["attempt"] == 1 else f"{run['attempt']} attempts"
