"""What a worker container's health check sees."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest

from app.services.lifecycle import workers
from app.storage.db import Database
from app.storage.tables import Worker, utc_now
from worker import health as worker_health

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.delenv("LAB_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_worker_of_this_host_that_showed_itself_is_healthy(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    _register(database, "one", HERE, seconds_ago=1)
    assert worker_health.main([]) == 0
    assert (
        capsys.readouterr().out
        == f"1 of 1 workers on {HERE} were seen within the last 20 seconds\n"
    )


def test_all_workers_that_were_asked_for_must_have_shown_themselves(database: Database) -> None:
    _register(database, "one", HERE, seconds_ago=1)
    assert worker_health.main(["--workers", "2"]) == 1
    _register(database, "two", HERE, seconds_ago=19)
    assert worker_health.main(["--workers", "2"]) == 0


def test_workers_of_other_hosts_and_silent_ones_do_not_count(database: Database) -> None:
    _register(database, "elsewhere", "another-host", seconds_ago=1)
    _register(database, "silent", HERE, seconds_ago=21)
    assert worker_health.main([]) == 1


def test_without_a_database_it_says_so_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "absent"))
    assert worker_health.main([]) == 1
    assert capsys.readouterr().out.startswith("cannot ask the database: ")
    assert not (tmp_path / "absent").exists()


def test_a_worker_that_cannot_train_is_not_healthy_and_says_why(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    _register(database, "one", HERE, seconds_ago=1, trouble="the NVIDIA driver is too old")
    assert worker_health.main([]) == 1
    assert capsys.readouterr().out.endswith(
        "; the worker on cpu cannot train: the NVIDIA driver is too old\n"
    )
    _register(database, "two", HERE, seconds_ago=1)
    assert worker_health.main([]) == 0
    assert worker_health.main(["--workers", "2"]) == 1


def _register(
    database: Database,
    identifier: str,
    host: str,
    seconds_ago: float,
    trouble: str | None = None,
) -> None:
    now = utc_now()
    row = Worker(
        id=identifier,
        host=host,
        pid=1,
        device="cpu",
        threads=1,
        trouble=trouble,
        started_at=now,
        seen_at=now - timedelta(seconds=seconds_ago),
    )
    with database.writing() as session:
        workers.register(session, row)
