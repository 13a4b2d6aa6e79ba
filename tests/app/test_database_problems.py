"""What a database refuses becomes an answer that says so: never a 500."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.requests import Request
from starlette.testclient import TestClient

from app.api.http.database_problems import database_error
from app.settings import Settings
from app.storage.db import Database
from app.storage.engines import POOL
from tests.databases import ON_POSTGRESQL, writers_blocked


def test_a_nul_in_a_body_is_refused_on_every_database_and_spoils_no_list(api: TestClient) -> None:
    for body in ({"name": "a\0b"}, {"labels": {"k": "\0"}}, {"labels": {"\0": "v"}}):
        for address in ("/experiments", "/studies"):
            answer = api.post(address, json=body)
            assert answer.status_code == 400, answer.text
            assert "U+0000" in answer.json()["detail"]
    assert (
        api.post("/experiments", content=rb'{"name": "not one: \\u0000", "epochs": 1}').status_code
        == 201
    )
    assert api.get("/experiments?label=k:v").status_code == 200


@pytest.mark.parametrize("address", ["/experiments/%00", "/runs/a%00b", "/studies/%00"])
def test_a_nul_in_an_address_finds_nothing(api: TestClient, address: str) -> None:
    assert api.get(address).status_code == 404


@pytest.mark.parametrize("key", ["%00", "a%00b", "a%22b", "%22", "a%5c", "", "%E2%80%AE", "x" * 61])
def test_a_filter_by_a_key_that_no_label_can_have_is_refused_on_every_database(
    api: TestClient, key: str
) -> None:
    answer = api.get(f"/experiments?label={key}:v")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert answer.json()["errors"][0]["pointer"] == "/label"
    assert answer.json()["errors"][0]["message"].startswith("no label has the key")
    assert api.post(f"/experiments/cancel?label={key}:v").status_code == 422


def test_a_filter_by_a_value_that_no_label_can_have_is_refused_on_every_database(
    api: TestClient,
) -> None:
    answer = api.get("/experiments?label=k:%00")
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        422,
        "no label holds the character U+0000",
    )


@pytest.mark.parametrize("address", ["/experiments?study=%00", "/studies?recipe=%00"])
def test_a_nul_in_a_filter_finds_nothing_or_is_refused(api: TestClient, address: str) -> None:
    answer = api.get(address)
    assert answer.status_code == (422 if ON_POSTGRESQL else 200), answer.text


def test_a_nul_in_an_idempotency_key_or_a_cursor_is_no_fault_of_ours(api: TestClient) -> None:
    cursor = "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgIlx1MDAwMCJd"  # ["2026-01-01T00:00:00+00:00", "\u0000"]
    assert api.get(f"/experiments?cursor={cursor}").status_code == (422 if ON_POSTGRESQL else 200)


def test_a_writer_that_waits_too_long_for_another_is_told_to_come_again(
    settings: Settings, database: Database
) -> None:
    """On both databases alike, and readers do not wait at all."""
    impatient = Database(settings.effective_database_url, busy_seconds=0.2)
    with writers_blocked(settings):
        with impatient.reading() as session:
            session.connection()
        with pytest.raises(OperationalError) as raised, impatient.writing() as session:
            session.connection().exec_driver_sql("UPDATE run SET priority = 1")
    impatient.close()
    answer, body = rendered(database_error, raised.value)
    assert (answer.status_code, answer.headers["retry-after"], body["code"]) == (503, "2", "busy")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("""SELECT json_extract('{}', '$[x')""", 422, "invalid_request"),
        ("SELECT * FROM a_table_that_is_not_there", 500, "internal"),
        ("SELECT no_function(1)", 500, "internal"),
    ],
)
def test_what_sqlite_cannot_carry_out_at_all_is_not_called_busy(
    database: Database, statement: str, status: int, code: str
) -> None:
    with pytest.raises(OperationalError) as raised, database.reading() as session:
        session.connection().exec_driver_sql(statement)
    answer, body = rendered(database_error, raised.value)
    assert (answer.status_code, body["code"], "retry-after" in answer.headers) == (
        status,
        code,
        False,
    )


@pytest.mark.sqlite
def test_a_file_that_cannot_be_opened_is_a_matter_of_the_moment(settings: Settings) -> None:
    elsewhere = Database(f"sqlite:///{settings.home}/nowhere/lab.sqlite3")
    with pytest.raises(OperationalError) as raised, elsewhere.reading() as session:
        session.connection()
    elsewhere.close()
    assert rendered(database_error, raised.value)[0].status_code == 503


@pytest.mark.postgresql  # SQLite's writers take turns: they cannot wait for each other
def test_of_two_that_wait_for_each_other_one_is_told_to_come_again(database: Database) -> None:
    barrier, refused = threading.Barrier(2), []
    with database.writing() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO owner (name, turn) VALUES ('a', 0), ('b', 0)"
        )

    def lock(first: str, second: str) -> None:
        try:
            with database.writing() as session:
                session.connection().exec_driver_sql(
                    f"UPDATE owner SET turn = 1 WHERE name = '{first}'"
                )
                barrier.wait(20)
                session.connection().exec_driver_sql(
                    f"UPDATE owner SET turn = 1 WHERE name = '{second}'"
                )
        except OperationalError as error:
            refused.append(error)

    threads = [threading.Thread(target=lock, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1, "the other one has committed"
    answer, body = rendered(database_error, refused[0])
    assert (answer.status_code, answer.headers["retry-after"], body["code"]) == (503, "2", "busy")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (IntegrityError("INSERT", {}, Exception("duplicate key")), 409, "conflict"),
        (
            DataError("SELECT", {}, Exception("integer out of range\nDETAIL: …")),
            422,
            "invalid_request",
        ),
        (
            OperationalError("SELECT", {}, Exception("server closed the connection unexpectedly")),
            503,
            "busy",
        ),
        (NoConnectionFree("QueuePool limit of size 5 overflow 10 reached"), 503, "busy"),
    ],
)
def test_every_refusal_has_its_status(
    api: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr("app.services.experiments.visibility.whole", refuse)
    answer = api.get("/experiments/exp_x")
    assert (answer.status_code, answer.json()["code"], answer.headers["content-type"]) == (
        status,
        code,
        "application/problem+json",
    )
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "DETAIL" not in answer.text


def rendered(handler: Any, error: Exception) -> tuple[Any, dict[str, Any]]:
    answer = handler(
        Request({"type": "http", "method": "POST", "path": "/experiments", "headers": []}), error
    )
    return answer, json.loads(answer.body)


def test_a_pool_without_a_free_connection_is_503_for_readers_writers_and_the_door_and_soon_over(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = api.app.state.database.engine  # type: ignore[attr-defined]
    monkeypatch.setattr(engine.pool, "_timeout", 0.05)
    held = [engine.connect() for _ in range(POOL["pool_size"] + POOL["max_overflow"])]
    for answer in (
        api.get("/workers"),
        api.post("/experiments", json={}),
        api.get("/experiments"),
        api.get("/readyz"),
    ):
        assert answer.status_code == 503
    refused = api.get("/experiments")
    assert refused.json()["code"] == "busy"
    assert int(refused.headers["Retry-After"]) > 0
    for connection in held:
        connection.close()
    assert api.get("/workers").status_code == 200
    api.app.state.readiness.forget()  # type: ignore[attr-defined]
    assert api.get("/readyz").json()["checks"]["database"] == "ok"
