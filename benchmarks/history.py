"""What requests, claims and looks cost with a long history: a home with many experiments stored and many queued.

`python -m benchmarks.history` prints for each the milliseconds from request to answer, and the CPU time of the service,
which a busy machine disturbs least. The rows are those of one run that was trained for it, cloned under other ids with
times, owners, labels and statuses that vary.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, insert, select, text
from sqlmodel import col

from app.services import lifecycle
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.tables import (
    Artifact,
    Attempt,
    Experiment,
    Metric,
    Owner,
    Run,
    StatusChange,
    new_id,
)
from tests.e2e.service import Service
from tests.postgres import Cluster, installed

OWNERS = 40
ROUNDS = 9
ROWS_AT_ONCE = 2000
METRICS_AT_MOST = 1_000_000
SPEC: dict[str, Any] = {"dataset": "digits", "model": {"hidden": [64, 32]}, "epochs": 10}
ERROR = {
    "code": "diverged",
    "message": "the training loss is not finite at step 3 of epoch 1",
    "hint": "lower the learning rate",
    "traceback_tail": "x" * 1500,
}
TABLES: tuple[Any, ...] = (Experiment, Run, Attempt, StatusChange, Artifact, Metric)
MOST_MS = {
    "list by status, succeeded": 30.0,
    "list by status, running": 30.0,
    "GET a queued record": 30.0,
    "POST /experiments": 30.0,
    "/queue": 30.0,
    "/metrics": 30.0,
    "/readyz": 30.0,
    "a poller's look": 1.0,
    "cancel of a study of 1,000 runs": 200.0,
}
"""What the service promises on a machine that is idle otherwise."""

Rows = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Fills a home, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history")
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--postgresql", action="store_true", help="a PostgreSQL server of its own")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        if options.postgresql:
            with _postgresql() as url:
                _measure_all(Path(folder) / "home", url, options.stored, options.queued)
        else:
            _measure_all(Path(folder) / "home", "", options.stored, options.queued)


def _measure_all(home: Path, url: str, stored: int, queued: int) -> None:
    with _service(home, url) as service:
        service.serve()
        experiment = service.submit(SPEC)
        service.wait_for(experiment, "succeeded")
    database = open_database(Settings(home=home, database_url=url, _env_file=None))
    fill(database, _rows_of(database, experiment["id"]), stored, queued)
    print(f"{stored:,} experiments stored, {queued:,} queued\n")
    print(f"{'':<46}{'ms':>9}{'CPU, ms':>9}{'at most':>9}")
    with _service(home, url) as service:
        api = service.api()
        for name, once in _requests(service, database):
            _say(name, *_timed(api.pid, once))
        _say("cancel of a study of 1,000 runs", *_cancelled(service, api.pid))
    for name, work in {"a poller's look": _look, "a claim": _claim}.items():
        _say(name, *_timed(os.getpid(), partial(work, database)))
    database.close()


@contextmanager
def _postgresql() -> Iterator[str]:
    """The URL of an empty database on a server of its own."""
    programs = installed()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed")
    cluster = Cluster(programs)
    try:
        yield cluster.url(cluster.create())
    finally:
        cluster.remove()


@contextmanager
def _service(home: Path, url: str) -> Iterator[Service]:
    service = Service(home, **({"database_url": url} if url else {}))
    try:
        yield service
    finally:
        service.stop()


def _say(name: str, milliseconds: float, cpu: float | None) -> None:
    shown = "" if cpu is None else f"{cpu:.1f}"
    most = MOST_MS.get(name)
    verdict = "" if most is None else f"{most:>9.0f}{'' if milliseconds <= most else '  too much'}"
    print(f"{name:<46}{milliseconds:>9.1f}{shown:>9}{verdict}", flush=True)


def _rows_of(database: Database, experiment_id: str) -> Rows:
    found: Rows = {}
    with database.reading() as session:
        run_id = session.execute(
            select(col(Run.id)).where(col(Run.experiment_id) == experiment_id)
        ).scalar_one()
        for table in TABLES:
            columns = table.__table__.c
            key = columns.run_id if "run_id" in columns else columns.id
            wanted = experiment_id if table is Experiment else run_id
            rows = session.execute(select(table.__table__).where(key == wanted)).mappings()
            # the database numbers changes itself
            found[table.__name__] = [
                {key: value for key, value in row.items() if key != "change"} for row in rows
            ]
    return found


def fill(database: Database, template: Rows, stored: int, queued: int) -> None:
    """So many experiments that have ended, 92 % of them well, and so many whose run waits."""
    places = [(number, False) for number in range(stored)] + [(n, True) for n in range(queued)]
    per_run = len(template["Metric"])
    now = datetime.now(UTC)
    with database.writing() as session:
        known = set(session.scalars(select(col(Owner.name))))
        session.add_all(
            Owner(name=name) for name in map(_owner, range(OWNERS)) if name not in known
        )
    for start in range(0, len(places), ROWS_AT_ONCE):
        batch: Rows = {table.__name__: [] for table in TABLES}
        for number, waits in places[start : start + ROWS_AT_ONCE]:
            at = now - timedelta(minutes=0 if waits else stored - number)
            measured = not waits and (stored - number) * per_run <= METRICS_AT_MOST
            _clone(template, batch, number, at, waits=waits, measured=measured)
        _insert(database.engine, batch)
    if database.engine.dialect.name == "postgresql":
        with database.engine.begin() as connection:
            connection.execute(text("ANALYZE"))


def _owner(number: int) -> str:
    return f"student{number % OWNERS}"


def _clone(
    template: Rows, batch: Rows, number: int, at: datetime, *, waits: bool, measured: bool
) -> None:
    experiment_id, run_id, owner = new_id("exp"), new_id("run"), _owner(number)
    batch["Experiment"].append(
        template["Experiment"][0]
        | {
            "id": experiment_id,
            "created_at": at,
            "owner": owner,
            "name": f"experiment {number}",
            "labels": {"week": str(number % 12), "only": str(number)},
            "fingerprint": f"{number:064x}",
        }
    )
    run = template["Run"][0] | {
        "id": run_id,
        "experiment_id": experiment_id,
        "owner": owner,
        "created_at": at,
    }
    if waits:
        fresh = dict.fromkeys(
            ("started_at", "finished_at", "best", "test", "train", "environment", "worker_id")
        )
        counted = dict.fromkeys(
            ("epochs_done", "step", "attempt", "fence", "heartbeat", "artifact_bytes"), 0
        )
        run |= fresh | counted
        run |= {"status": "queued", "status_reason": "waiting_for_worker", "stop_reason": None}
        batch["Run"].append(run)
        return
    status, reason = _end_of(number)
    run |= {"status": status, "status_reason": reason}
    if status == "failed":
        run |= {"test": None, "error": ERROR}
    run |= {"started_at": at, "finished_at": at + timedelta(seconds=random.Random(number).random())}
    batch["Run"].append(run)
    for name in ("Attempt", "StatusChange", "Artifact", *(("Metric",) if measured else ())):
        if name != "Artifact" or status == "succeeded":
            batch[name] += [
                {key: value for key, value in row.items() if key != "id"} | {"run_id": run_id}
                for row in template[name]
            ]


def _end_of(number: int) -> tuple[str, str]:
    if number % 100 < 92:
        return "succeeded", "completed"
    if number % 100 < 98:
        return "failed", "training_failed"
    return "cancelled", "cancelled_by_user"


def _insert(engine: Engine, batch: Rows) -> None:
    with engine.begin() as connection:
        for table in TABLES:
            if batch[table.__name__]:
                connection.execute(insert(table.__table__), batch[table.__name__])


def _requests(service: Service, database: Database) -> Iterator[tuple[str, Callable[[], object]]]:
    with database.reading() as session:
        waiting = session.scalars(
            select(col(Run.experiment_id)).where(col(Run.status) == "queued").limit(ROUNDS + 2)
        ).all()
        ended = session.scalars(
            select(col(Run.experiment_id)).where(col(Run.status) == "succeeded").limit(1)
        ).one()
    paths = {
        "list, first page": "/experiments",
        "list by status, succeeded": "/experiments?status=succeeded",
        "list by status, failed": "/experiments?status=failed",
        "list by status, queued": "/experiments?status=queued",
        "list by status, running": "/experiments?status=running",
        "list by label, one in 12": "/experiments?label=week:3",
        "list by label, one": "/experiments?label=only:77",
        "list by owner": "/experiments?owner=student7",
        "list by accuracy": "/experiments?sort=-test.accuracy",
        "counts": "/experiments/counts",
        "by owner (the class)": "/experiments/by-owner",
        "GET a finished record": f"/experiments/{ended}",
        "/queue": "/queue",
        "/metrics": "/metrics",
        "/readyz": "/readyz",
        "/healthz": "/healthz",
        "studies": "/studies",
    }
    for name, path in paths.items():
        yield name, partial(_get, service, path)
    places = iter(list(waiting) * 3)
    yield "GET a queued record", lambda: _get(service, f"/experiments/{next(places)}")
    numbers = iter(range(1000))
    yield (
        "POST /experiments",
        lambda: service.submit({**SPEC, "name": f"new {next(numbers)}"}),
    )


def _get(service: Service, path: str) -> None:
    service.http.get(path).raise_for_status()


def _timed(pid: int, once: Callable[[], object]) -> tuple[float, float]:
    """Medians of wall-clock and means of a process's CPU time, in milliseconds."""
    once()
    walls, before = [], _cpu_seconds(pid)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        once()
        walls.append(time.perf_counter() - began)
    return 1000 * statistics.median(walls), 1000 * (_cpu_seconds(pid) - before) / ROUNDS


def _cpu_seconds(pid: int) -> float:
    """Of all threads that live, by the scheduler's own account in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _cancelled(service: Service, pid: int) -> tuple[float, float]:
    """A study of 40 cells with 25 seeds each."""
    body = {
        "spec": SPEC,
        "vary": {"batch_size": list(range(10, 50))},
        "seeds": 25,
        "reuse": False,
    }
    study = service.post("/studies", body)
    before, began = _cpu_seconds(pid), time.perf_counter()
    service.post(f"/studies/{study['id']}/cancel")
    return 1000 * (time.perf_counter() - began), 1000 * (_cpu_seconds(pid) - before)


def _look(database: Database) -> None:
    with database.reading() as session:
        assert lifecycle.is_any_to_take(session, 0, ("cpu",))


def _claim(database: Database) -> None:
    with database.writing() as session:
        assert lifecycle.claim(session, "measured") is not None


if __name__ == "__main__":
    main()
