"""`/readyz` tells the truth: 503 for what makes submits fail, and what else there is."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlmodel import col
from starlette.testclient import TestClient

from app.main import create_app
from app.services.lifecycle import workers
from app.services.upkeep import readiness
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import StatusChange, Worker, utc_now
from tests.app.test_retry import TRAIN, begin, submit
from tests.e2e.service import Redis, free_port


def checks(api: TestClient, status: int = 200) -> dict[str, Any]:
    answer = api.get("/readyz")
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == ("ready" if status == 200 else "not ready")
    found: dict[str, Any] = answer.json()["checks"]
    return found


def register(database: Database, name: str = "w", trouble: str | None = None) -> None:
    """A worker that has just shown itself."""
    now = utc_now()
    with database.writing() as session:
        workers.register(
            session,
            Worker(
                id=name,
                host="h",
                pid=1,
                device="cpu",
                threads=1,
                trouble=trouble,
                started_at=now,
                seen_at=now,
            ),
        )


def test_all_is_well(api: TestClient, database: Database) -> None:
    found = checks(api)
    assert found.pop("free_bytes") > 0
    assert found == {
        "database": "ok",
        "storage": "ok",
        "broker": "embedded",
        "workers": "none is online",
        "workers_online": 0,
        "runs_queued": 0,
        "oldest_wait_seconds": 0,
    }


def test_workers_and_what_waits_are_shown_and_do_not_decide(
    api: TestClient, database: Database
) -> None:
    now = utc_now()
    register(database)
    submit(api, {**TRAIN, "seeds": 3})
    with database.writing() as session:
        session.execute(
            update(StatusChange)
            .where(col(StatusChange.id) == 2)
            .values(at=now - timedelta(seconds=500))
        )
    found = checks(api)
    assert (found["workers"], found["workers_online"], found["runs_queued"]) == ("ok", 1, 3)
    assert 0 <= found["oldest_wait_seconds"] <= 60, (
        "a run that was queued again waits since then, but not longer than it is there"
    )


def test_a_worker_that_cannot_train_is_shown_with_its_reason_and_is_not_waited_for(
    api: TestClient, database: Database
) -> None:
    register(database, "w", trouble="the driver is too old")
    register(database, "v", trouble="the driver is too old")
    clause = "the worker on cpu cannot train: the driver is too old (and 1 more cannot)"
    found = checks(api)
    assert (found["workers"], found["workers_online"]) == (clause, 0)
    record = submit(api, TRAIN)
    assert record["status_reason"] == "no_worker_online"
    assert record["status_message"] == (
        "Queued, but nobody can train it. The worker on cpu cannot train: the driver is too old (and 1 more cannot)."
    )
    assert [one["trouble"] for one in api.get("/workers").json()["data"]] == [
        "the driver is too old"
    ] * 2
    register(database, "fit")
    with database.reading() as session:
        state = readiness.database_state(session)
    assert (state.workers_online, state.trouble) == (1, clause)
    assert len(api.get("/workers").json()["data"]) == 3


def test_a_wrong_schema_is_not_ready(api: TestClient, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert checks(api, 503)["database"] == "wrong schema revision"


@pytest.mark.sqlite
def test_a_database_that_is_none_is_not_ready(api: TestClient, settings: Settings) -> None:
    file = settings.home / "lab.sqlite3"
    for name in ("lab.sqlite3-wal", "lab.sqlite3-shm"):
        (settings.home / name).unlink(missing_ok=True)
    api.app.state.database.close()  # type: ignore[attr-defined]
    file.write_bytes(b"this is no database" * 1000)
    assert checks(api, 503)["database"] == "no answer: file is not a database"


def test_a_disk_that_is_nearly_full_is_not_ready(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"min_free_bytes": 10**18}))) as api:
        found = checks(api, 503)
    assert (found["database"], found["storage"]) == ("ok", "low on disk")


def test_a_home_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    assert readiness.storage_state(tmp_path / "gone", 0) == readiness.StorageState(
        "LAB_HOME cannot be written: No such file or directory", 0
    )
    (tmp_path / "file").touch()
    assert (
        readiness.storage_state(tmp_path / "file", 0).state
        == "LAB_HOME cannot be written: Not a directory"
    )
    assert readiness.storage_state(tmp_path, 0).state == "ok"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "the try leaves nothing"


def with_broker(settings: Settings, port: int) -> dict[str, Any]:
    with TestClient(
        create_app(settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{port}/0"}))
    ) as api:
        return checks(api)


def test_a_broker_that_is_down_or_hangs_is_shown_in_time_and_does_not_decide(
    settings: Settings,
) -> None:
    assert with_broker(settings, free_port())["broker"].startswith("redis does not answer")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert with_broker(settings, silent.getsockname()[1])["broker"].startswith(
            "redis does not answer"
        )


@pytest.mark.redis
def test_a_broker_that_answers(settings: Settings, tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    try:
        assert with_broker(settings, redis.port)["broker"] == "redis"
    finally:
        redis.kill()


def test_a_run_that_is_taken_waits_no_longer(api: TestClient, database: Database) -> None:
    submit(api, TRAIN)
    begin(database)
    assert checks(api)["runs_queued"] == 0
