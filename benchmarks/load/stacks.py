"""What is put under load: the service as people run it, every core training; the yardstick beside it; or a service that
runs already.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Table, insert, text
from sqlmodel import Session, SQLModel, col, select

from app.roles import Role
from app.services.owners.keys import create_key
from app.settings import Settings
from app.storage.db import open_database
from app.storage.tables import Artifact, Attempt, Experiment, Metric, Run, StatusChange, new_id
from tests.e2e.service import Redis, Service, free_port, wait_until
from tests.postgres import Cluster, installed

DATABASE_VARIABLE, ROWS_VARIABLE = "YARDSTICK_DATABASE_URL", "YARDSTICK_ROWS"
"""What `yardstick` reads. That module is imported by its own process alone: its table must not become one of the
service's.
"""

CLASS_SIZE = 40
EXPERIMENTS = 10_000
DRAWN = 2 * CLASS_SIZE
"""So many of them, the newest, two a student, have the numbers of all their epochs: their curves can be drawn."""

TEMPLATE = {
    "name": "earlier",
    "dataset": "digits",
    "model": {"hidden": [16]},
    "epochs": 40,
    "seeds": 3,
}
TRAINING = {
    "name": "trains all the time",
    "dataset": "digits",
    "model": {"arch": "cnn", "width": 32, "stages": 2},
    "epochs": 10_000,
}
STEADY_EPOCH = 3
EDGE_SECONDS = 60.0
"""Longest wait for the end of an epoch."""

RECOVERY_SECONDS = 120.0
"""Longest wait for a service to be ready again after a load."""

STACKS = ("sqlite", "postgresql")


@dataclass
class Target:
    """A service that answers at `url`. `finished` are experiments that have ended, `training` (experiment, run) pairs
    of those that train for the whole time.

    `teacher` is a key that sees everything, `students` one key each. `api_pid` is None where the process is not ours to
    look at.
    """

    name: str
    url: str
    teacher: str = ""
    students: list[str] = field(default_factory=lambda: [""] * CLASS_SIZE)
    finished: list[str] = field(default_factory=list)
    training: list[tuple[str, str]] = field(default_factory=list)
    api_pid: int | None = None
    yardstick_database: str = ""
    ready: str = "/readyz"

    @property
    def headers(self) -> dict[str, str]:
        """The teacher's, who sees everything."""
        return {"Authorization": f"Bearer {self.teacher}"} if self.teacher else {}

    def client(self) -> httpx.Client:
        """For a question now and then."""
        return httpx.Client(base_url=self.url, timeout=60, headers=self.headers)


@contextmanager
def running(stack: str, folder: Path) -> Iterator[Target]:
    """The service with keys for a class, 10,000 experiments that have ended, and as many workers as cores, each with a
    run that does not end.
    """
    cores = os.cpu_count() or 1
    with ExitStack() as ending:
        settings: dict[str, object] = {"lease_seconds": 15}
        yardstick_database = f"sqlite:///{folder / 'yardstick.sqlite3'}"
        broker_url = ""
        if stack == "postgresql":
            programs = installed()
            assert programs is not None, "PostgreSQL's programs are not installed"
            cluster = Cluster(programs)
            ending.callback(cluster.remove)
            settings["database_url"] = cluster.url(cluster.create())
            yardstick_database = cluster.url(cluster.create()).replace(
                "postgresql://", "postgresql+psycopg://"
            )
            redis = Redis(folder)
            ending.callback(redis.kill)
            broker_url = redis.url
        service = Service(folder / "home", broker_url, **settings)
        ending.callback(service.stop)
        own = Settings(
            home=service.home, database_url=str(settings.get("database_url", "")), _env_file=None
        )
        teacher, students = _keys(own)
        service.http.headers["Authorization"] = f"Bearer {teacher}"
        if stack == "postgresql":
            api = service.api()
            service.start("worker", "--workers", str(cores))
            service.wait_for_workers(cores)
        else:
            api = service.serve(cores)
        template = service.submit(TEMPLATE)
        service.wait_for(template, "succeeded", 120)
        finished = fill(own, template["id"], [f"student-{number}" for number in range(CLASS_SIZE)])
        training = [_train(service, students[number % CLASS_SIZE]) for number in range(cores)]
        url = f"http://127.0.0.1:{service.port}"
        yield Target(stack, url, teacher, students, finished, training, api.pid, yardstick_database)


def elsewhere(url: str, key: str) -> Target:
    """A service that runs already, with what it has; an experiment is submitted where it has none."""
    target = Target(url, url.rstrip("/"), key, [key] * CLASS_SIZE)
    with target.client() as client:
        found = (
            client.get("/experiments", params={"limit": 100, "status": "succeeded"})
            .raise_for_status()
            .json()["data"]
        )
        target.finished = [row["id"] for row in found] or [
            client.post("/experiments", json=TEMPLATE).raise_for_status().json()["id"]
        ]
    return target


@contextmanager
def yardstick(database_url: str, folder: Path) -> Iterator[Target]:
    """The bare application on a port of its own, with as many rows as the service has experiments."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.load.yardstick:app",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--no-access-log",
    ]
    environment = os.environ | {DATABASE_VARIABLE: database_url, ROWS_VARIABLE: str(EXPERIMENTS)}
    with (folder / "yardstick.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(url), 60, "the yardstick answers")
        yield Target("yardstick", url, api_pid=process.pid, ready="/healthz")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fill(settings: Settings, template_id: str, owners: list[str]) -> list[str]:
    """Put copies of an experiment that has ended into the database, the owners in turn; returns those whose epochs were
    copied too, one after the other's.
    """
    database = open_database(settings)
    with database.writing() as session:
        template = session.get_one(Experiment, template_id)
        runs = session.exec(select(Run).where(col(Run.experiment_id) == template_id)).all()
        copied: dict[type[SQLModel], list[dict[str, Any]]] = {
            Experiment: [],
            Run: [],
            Attempt: [],
            StatusChange: [],
            Artifact: [],
            Metric: [],
        }
        on_runs: tuple[type[SQLModel], ...] = (Attempt, StatusChange, Artifact, Metric)
        of_runs = {
            model: _rows_of_runs(session, model, [run.id for run in runs]) for model in on_runs
        }
        drawn: list[str] = []
        for number in range(EXPERIMENTS):
            experiment_id, owner = new_id("exp"), owners[number % len(owners)]
            created = template.created_at - timedelta(seconds=EXPERIMENTS - number)
            is_drawn = number >= EXPERIMENTS - DRAWN
            copied[Experiment].append(
                {
                    **template.model_dump(),
                    "id": experiment_id,
                    "created_at": created,
                    "owner": owner,
                    "idempotency_key": None,
                }
            )
            for run in runs if is_drawn else runs[:1]:
                run_id = new_id("run")
                copied[Run].append(
                    {
                        **run.model_dump(),
                        "id": run_id,
                        "experiment_id": experiment_id,
                        "created_at": created,
                        "owner": owner,
                    }
                )
                for model in on_runs:
                    if is_drawn or model is not Metric:
                        copied[model] += [
                            {**row, "run_id": run_id} for row in of_runs[model][run.id]
                        ]
            if is_drawn:
                drawn.append(experiment_id)
        for model, rows in copied.items():
            table: Table = SQLModel.metadata.tables[str(model.__tablename__)]
            for start in range(0, len(rows), 10_000):
                session.execute(insert(table), rows[start : start + 10_000])
        if not database.is_sqlite:
            session.execute(text("ANALYZE"))  # as the server does by itself, a minute later
    database.close()
    return drawn


def _rows_of_runs(
    session: Session, model: Any, run_ids: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows that hang on each run; a number that the database gives is left for it to give again."""
    given = {"id"} if model is StatusChange else set()
    rows = {
        run_id: session.exec(select(model).where(model.run_id == run_id)).all()
        for run_id in run_ids
    }
    return {
        run_id: [row.model_dump(exclude=given) for row in found] for run_id, found in rows.items()
    }


def _keys(settings: Settings) -> tuple[str, list[str]]:
    """The teacher's key, which sees everything, and one for each student."""
    database = open_database(settings)
    with database.writing() as session:
        teacher = create_key(session, "teacher", Role.ADMIN)[1]
        students = [
            create_key(session, f"student-{number}", Role.SUBMIT)[1] for number in range(CLASS_SIZE)
        ]
    database.close()
    return teacher, students


def _train(service: Service, key: str) -> tuple[str, str]:
    """Start a run that does not end, of this student's, and wait until it has its pace."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = (
        service.http.post("/experiments", json=TRAINING, headers=headers).raise_for_status().json()
    )
    service.wait_for_epoch(answer, STEADY_EPOCH, 60)
    return answer["id"], answer["runs"][0]["id"]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


def missing(stack: str) -> str | None:
    """What this machine lacks for a stack, if anything."""
    if stack == "postgresql" and installed() is None:
        return "PostgreSQL's programs are not installed"
    if stack == "postgresql" and shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return None


def resident_bytes(pid: int) -> int:
    """What a process holds in memory, from /proc."""
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """What a process has used of the cores so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def epochs_per_second(target: Target, seconds: float) -> float:
    """How fast all runs of the stack train together, by the service's own records: from the end of one epoch to the end
    of another, for each.

    What the service cannot tell within a minute, or has taken from its worker meanwhile, counts as not trained.
    """
    with httpx.Client(
        base_url=target.url, timeout=EDGE_SECONDS / 4, headers=target.headers
    ) as client:
        at_first = {run: _next_epoch(client, run) for _, run in target.training}
        time.sleep(seconds)
        at_last = {run: _next_epoch(client, run) for _, run in target.training}
    return sum(
        (last[0] - first[0]) / (last[1] - first[1])
        for run, last in at_last.items()
        if last is not None and (first := at_first[run]) is not None
    )


def _next_epoch(client: httpx.Client, run: str) -> tuple[int, float] | None:
    """The epoch that begins next, and when; None if none of the first attempt's does in time."""
    began, deadline = None, time.monotonic() + EDGE_SECONDS
    while (now := time.monotonic()) < deadline:
        epoch = _epoch(client, run)
        if epoch is not None and began is not None and epoch > began:
            return epoch, now
        began = epoch if began is None else began
        time.sleep(0.05)
    return None


def _epoch(client: httpx.Client, run: str) -> int | None:
    """The epoch that is being trained, None while the service cannot say."""
    try:
        answer = client.get(f"/runs/{run}")
    except httpx.TransportError:
        return None
    if (
        not answer.is_success
        or (record := answer.json())["attempt"] != 1
        or record["status"] != "running"
    ):
        return None
    return int(record["progress"]["epoch"])


def recovery_seconds(target: Target) -> float | None:
    """How long it takes until the service answers again that it is ready, three times running and each within a second;
    None if it does not in time.
    """
    began, quick = time.monotonic(), 0
    with httpx.Client(base_url=target.url, timeout=5) as client:
        while time.monotonic() - began < RECOVERY_SECONDS:
            asked = time.monotonic()
            try:
                ready = client.get(target.ready).is_success and time.monotonic() - asked < 1
            except httpx.TransportError:
                ready = False
            quick = quick + 1 if ready else 0
            if quick == 3:
                return time.monotonic() - began
            time.sleep(0.05)
    return None
