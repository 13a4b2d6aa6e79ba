"""A database that is locked, read-only or full, and a schema that this code does not know: refused with words, and
nothing changed.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.errors import Misconfigured
from app.main import create_app
from app.settings import Settings
from app.storage.database_file import file_has_moved
from app.storage.db import Database, open_database

BODY = {"epochs": 1}

# files and locks that PostgreSQL keeps to itself; its own faults are in tests/e2e/test_postgres.py
pytestmark = pytest.mark.sqlite


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def swap_database(client: TestClient, database: Database) -> None:
    """The application goes on with another way to the same file."""
    client.app.state.database.close()  # type: ignore[attr-defined]
    client.app.state.database = database  # type: ignore[attr-defined]


def require_nothing_stored_and_working(client: TestClient, settings: Settings) -> None:
    assert client.get("/experiments").json()["data"] == []
    assert client.post("/experiments", json=BODY).status_code == 201
    with sqlite3.connect(settings.home / "lab.sqlite3") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_a_database_locked_for_too_long_is_503_with_when_to_come_back(
    client: TestClient, settings: Settings
) -> None:
    swap_database(client, Database(settings.effective_database_url, busy_seconds=0.3))
    blocker = sqlite3.connect(settings.home / "lab.sqlite3", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answer = client.post("/experiments", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/experiments").status_code == 200, "reading goes on"
    blocker.execute("ROLLBACK")
    blocker.close()
    require_nothing_stored_and_working(client, settings)


def test_a_read_only_database_is_503_and_still_read(client: TestClient, settings: Settings) -> None:
    usual = settings.effective_database_url
    swap_database(
        client, Database(usual.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true")
    )
    answer = client.post("/experiments", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "read_only")
    assert "nothing was changed" in answer.json()["detail"]
    assert client.get("/experiments").status_code == 200
    swap_database(client, Database(usual))
    require_nothing_stored_and_working(client, settings)


def require_moved(client: TestClient) -> None:
    for answer in (
        client.post("/experiments", json=BODY),
        client.post("/experiments/cancel?status=queued"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_moved")
        assert "lab.sqlite3" in answer.json()["detail"]
        assert "put it back, or restart" in answer.json()["detail"]
    client.app.state.readiness.forget()  # type: ignore[attr-defined]
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (
        503,
        "the database file is no longer where it was opened",
    )


def test_a_home_that_was_moved_away_is_not_written_into(
    client: TestClient, settings: Settings
) -> None:
    """The open file goes on taking writes wherever it is; the next start would not find them."""
    home, elsewhere = settings.home, settings.home.with_name("elsewhere")
    home.rename(elsewhere)
    with closing(sqlite3.connect(elsewhere / "lab.sqlite3")) as database:
        require_moved(client)
        assert database.execute("SELECT count(*) FROM experiment").fetchone() == (0,)
    assert not home.exists()
    elsewhere.rename(home)
    require_nothing_stored_and_working(client, settings)
    client.app.state.readiness.forget()  # type: ignore[attr-defined]
    assert client.get("/readyz").status_code == 200


def test_a_database_that_was_removed_or_replaced_is_not_written_into(
    client: TestClient, settings: Settings
) -> None:
    path = settings.home / "lab.sqlite3"
    kept = path.with_name("kept")
    path.rename(kept)
    require_moved(client)
    client.app.state.database.engine.pool.dispose()  # type: ignore[attr-defined]
    assert client.post("/experiments", json=BODY).status_code == 503
    assert not path.exists(), "a new connection makes no empty file in its place"
    path.write_bytes(kept.read_bytes())
    assert client.post("/experiments", json=BODY).json()["code"] == "database_moved"
    kept.replace(path)
    require_nothing_stored_and_working(client, settings)


def test_a_database_without_a_file_has_none_to_move() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        database = Database(url)
        with database.writing() as session:
            assert not file_has_moved(session)
        database.close()


@pytest.fixture
def newer(tmp_path: Path) -> Settings:
    """A home whose database a later version has written."""
    settings = Settings(home=tmp_path, log_level="ERROR", _env_file=None)
    database = open_database(settings)
    with database.writing() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    return settings


def test_a_schema_of_a_newer_version_is_refused_and_left_as_it_is(newer: Settings) -> None:
    with pytest.raises(Misconfigured, match="revision 9999, which this version does not know"):
        open_database(newer)
    with sqlite3.connect(newer.home / "lab.sqlite3") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    database.close()


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "worker"),
        ("-m", "app.commands", "worker"),
        ("-m", "app.commands", "serve", "--port", "0"),
    ],
)
def test_neither_service_nor_worker_starts_on_a_schema_it_does_not_know(
    command: tuple[str, ...], newer: Settings
) -> None:
    environment = {"LAB_HOME": str(newer.home), "PATH": "/usr/bin:/bin", "LAB_DEVICES": "cpu"}
    ended = subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 2
    assert "restore the backup" in ended.stderr
    assert "Traceback" not in ended.stderr
