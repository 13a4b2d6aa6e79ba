"""The class at a glance: what each owner's experiments have come to, as their own records say it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.pages.words import number
from app.roles import Role
from app.services import lifecycle
from app.services.experiments import progress
from app.services.experiments.by_owner import work_by_owner
from app.services.experiments.filtering import Filters
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Attempt, Run
from lab_models.training.protocol import Failed
from tests.app.people import caller
from tests.app.test_confusion import assessment, succeed
from tests.app.test_reads import statements


@pytest.fixture
def ada(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "ada")


@pytest.fixture
def admin(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "boss", Role.ADMIN)


def post(client: TestClient, **body: Any) -> str:
    answer = client.post("/experiments", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def rows(client: TestClient, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/experiments/by-owner{query}")
    assert answer.status_code == 200, answer.text
    return {row["owner"]: row for row in answer.json()["data"]}


def fail(database: Database, code: str) -> str:
    """Let the next queued run fail with this code."""
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
    with database.writing() as session:
        progress.record_failed(session, lease, Failed(code=code, message="as asked for"))
    return lease.run_id


def test_a_row_is_what_the_records_say(
    api: TestClient, ada: TestClient, admin: TestClient, database: Database, settings: Settings
) -> None:
    low = post(ada, name="low", seeds=2, labels={"exercise": "1.2", "week": "3"})
    for seed in range(2):
        succeed(database, settings, assessment(seed))
    high = post(ada, name="high", seeds=1, labels={"exercise": "1.2"})
    succeed(database, settings, assessment(2))
    other = post(ada, name="other", labels={"exercise": "2.1"})
    succeed(database, settings, assessment(3))
    for code in ("out_of_memory", "diverged"):
        at = post(ada, name=code, seeds=1)
        failed = fail(database, code)
    waits = post(ada, name="waits", seeds=4)
    bob = caller(api, database, "bob")
    post(bob, name="his", labels={"week": "3"})

    found = rows(admin, "?key=exercise")
    assert set(found) == {"ada", "bob"}
    row = found["ada"]
    assert row["experiments"] == 6
    assert row["runs"] == {"succeeded": 4, "failed": 2, "queued": 4}
    assert row["done_today"] == 4
    assert row["newest"]["id"] == waits
    error = {name: row["last_error"][name] for name in ("code", "run_id", "experiment_id")}
    assert error == {"code": "diverged", "run_id": failed, "experiment_id": at}
    accuracy = {
        one: ada.get(f"/experiments/{one}").json()["results"]["test"]["accuracy"]
        for one in (low, high, other)
    }
    best = max((low, high), key=lambda one: (accuracy[one]["mean"], one == high))
    assert {value: one["experiment"]["id"] for value, one in row["best"].items()} == {
        "1.2": best,
        "2.1": other,
    }
    assert row["best"]["1.2"]["accuracy"] == pytest.approx(accuracy[best]["mean"], rel=1e-12)
    assert row["best"]["1.2"]["n"] == accuracy[best]["n"]
    assert found["bob"]["best"] == {}
    assert admin.get("/experiments/by-owner").json()["label_keys"] == {"exercise": 3, "week": 2}

    week = rows(admin, "?label=week:3")
    assert (week["ada"]["experiments"], week["ada"]["runs"]) == (1, {"succeeded": 2})
    assert week["ada"]["newest"]["id"] == low
    assert week["ada"]["last_error"] is None
    assert week["bob"]["experiments"] == 1
    assert rows(admin, "?label=week:4") == {}
    assert set(rows(ada)) == {"ada"}
    assert admin.get("/experiments/by-owner?key=no key").status_code == 422


def test_the_page_has_a_row_for_everybody_and_says_what_the_api_says(
    api: TestClient, ada: TestClient, admin: TestClient, database: Database, settings: Settings
) -> None:
    one = post(ada, name="low <b>", labels={"exercise": "1.10", "week": "3"})
    succeed(database, settings, assessment(0))
    two = post(ada, labels={"exercise": "1.2"})
    succeed(database, settings, assessment(1))
    page = admin.get("/ui/class").text
    row = rows(admin, "?key=exercise")["ada"]
    headings = re.findall("<th[^>]*>([^<]*)</th>", page)
    assert headings[-3:] == ["1.2, %", "1.10, %", "Hand-in"]
    for value, experiment in (("1.10", one), ("1.2", two)):
        accuracy = number(row["best"][value]["accuracy"], "accuracy")
        assert re.search(f'/ui/experiments/{experiment}" title="[^"]*">{accuracy}<', page)
    assert "low &lt;b&gt;: mean of 1 run" in page
    assert 'href="/bundles?owner=ada" download' in page
    assert 'id="owner-boss"' in page  # who has nothing yet has a row too
    week = admin.get("/ui/class?label=week:3&key=").text
    assert 'href="/bundles?label=week%3A3&amp;owner=ada" download' in week
    assert 'id="owner-boss"' not in week
    assert "Nobody has an experiment" in admin.get("/ui/class?label=week:9").text
    assert admin.get("/ui/class?key=no%20key").status_code == 422
    assert ada.get("/ui/class").status_code == 403


def test_hours_are_those_of_a_week_by_device(
    ada: TestClient, admin: TestClient, database: Database
) -> None:
    post(ada, seeds=3)
    now = datetime.now(UTC)
    lasted = (("cpu: some", 1.0, 0), ("cuda: NVIDIA H200", 2.0, 3), ("cpu: some", 4.0, 8))
    with database.writing() as session:
        for run, (device, hours, days) in zip(_runs(session), lasted, strict=True):
            run.environment = {"device": device}
            end = now - timedelta(days=days)
            session.add(run)
            session.add(
                Attempt(
                    run_id=run.id,
                    number=1,
                    fence=1,
                    worker_id="w",
                    started_at=end - timedelta(hours=hours),
                    finished_at=end,
                )
            )
    row = rows(admin)["ada"]
    assert (row["cpu_hours_week"], row["gpu_hours_week"]) == pytest.approx((1.0, 2.0))
    with database.reading() as session:
        later = work_by_owner(session, Filters(), None, now + timedelta(days=5)).owners["ada"]
    assert (later.cpu_hours, later.gpu_hours) == pytest.approx((1.0, 0.0))


def _runs(session: Session) -> list[Run]:
    return list(session.exec(select(Run).order_by(col(Run.seed))))


def test_however_many_there_are_it_takes_as_many_statements(
    ada: TestClient, database: Database
) -> None:
    def counted() -> int:
        asked = statements(database)
        with database.reading() as session:
            work_by_owner(session, Filters(), "exercise")
        return len([one for one in asked if one.lstrip().startswith("SELECT")])

    post(ada)
    few = counted()
    for _ in range(3):
        post(ada, labels={"exercise": "1"})
    assert counted() == few == 7
