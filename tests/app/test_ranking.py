"""Lists of experiments by what they have reached."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from app.api.experiments.lists import Sort
from app.services.experiments.ranking import SortKey
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Experiment, Run
from lab_models.specs import read_request
from tests.app.test_reads import statements

SPEC = read_request({"dataset": "digits"}).spec_with(None).model_dump(mode="json")
BEGUN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def add(
    database: Database,
    name: str,
    accuracies: list[float | None],
    *,
    minutes: int = 0,
    labels: dict[str, str] | None = None,
) -> str:
    """An experiment that was created so many minutes after the beginning; a run without accuracy waits."""
    row = {
        "id": f"exp_{name}",
        "created_at": BEGUN + timedelta(minutes=minutes),
        "name": name,
        "labels": labels or {},
        "kind": "train",
        "fingerprint": name,
        "submitted": {},
        "spec": SPEC,
        "parameters": 1,
        "macs_per_sample": 1,
        "request_hash": "",
    }
    runs = [_run(row, seed, accuracy) for seed, accuracy in enumerate(accuracies)]
    with database.writing() as session:
        session.execute(insert(Experiment), [row])
        session.execute(insert(Run), runs)
    return str(row["id"])


def _run(experiment: dict[str, Any], seed: int, accuracy: float | None) -> dict[str, Any]:
    done = accuracy is not None
    created_at = experiment["created_at"]
    return {
        "id": f"run_{experiment['name']}_{seed}",
        "experiment_id": experiment["id"],
        "seed": seed,
        "position": seed,
        "created_at": created_at,
        "finished_at": created_at + timedelta(seconds=10 - seed) if done else None,
        "status": RunStatus.SUCCEEDED if done else RunStatus.QUEUED,
        "status_reason": StatusReason.COMPLETED if done else StatusReason.WAITING_FOR_WORKER,
        "epochs": 1,
        "num_steps": 1,
        "best": {"epoch": 1, "val": {"accuracy": accuracy, "loss": 1 - accuracy}} if done else None,
        "test": {"accuracy": accuracy, "loss": 2 - accuracy} if done else None,
    }


def names(api: TestClient, query: str) -> list[str]:
    answer = api.get(f"/experiments?{query}")
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["data"]]


@pytest.fixture
def four(database: Database) -> None:
    add(database, "good", [0.9, 0.7], minutes=1)  # 0.8 on average
    add(database, "best", [0.95], minutes=2, labels={"week": "2"})
    add(database, "half", [0.5, None], minutes=3, labels={"week": "2"})
    add(database, "new", [None], minutes=4)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-test.accuracy", ["best", "good", "half", "new"]),
        ("test.accuracy", ["half", "good", "best", "new"]),
        ("-val.accuracy", ["best", "good", "half", "new"]),
        ("test.loss", ["best", "good", "half", "new"]),
        ("-val.loss", ["half", "good", "best", "new"]),
        ("-finished_at", ["best", "good", "new", "half"]),
        ("finished_at", ["good", "best", "new", "half"]),
        ("created_at", ["good", "best", "half", "new"]),
        ("-created_at", ["new", "half", "best", "good"]),
    ],
)
def test_a_list_is_sorted_by_means_over_finished_runs_and_what_has_none_comes_last(
    api: TestClient, sort: str, expected: list[str]
) -> None:
    assert names(api, f"sort={sort}") == expected
    assert sort != "-created_at" or names(api, "") == expected


@pytest.mark.usefixtures("four")
def test_a_row_says_what_was_reached(api: TestClient) -> None:
    rows = {row["name"]: row for row in api.get("/experiments").json()["data"]}
    assert rows["good"]["reached"] == pytest.approx(
        {"test.accuracy": 0.8, "test.loss": 1.2, "val.accuracy": 0.8, "val.loss": 0.2}
    )
    assert rows["half"]["reached"]["test.accuracy"] == 0.5
    assert set(rows["new"]["reached"].values()) == {None}
    assert rows["good"]["finished_at"] == "2026-01-02T03:05:15.000006Z"
    assert rows["half"]["finished_at"] is rows["new"]["finished_at"] is None


@pytest.mark.usefixtures("four")
def test_filters_go_with_a_sort(api: TestClient) -> None:
    assert names(api, "sort=test.accuracy&label=week:2") == ["half", "best"]
    assert names(api, "sort=-test.accuracy&status=succeeded") == ["best", "good"]


@pytest.mark.parametrize("sort", ["-test.accuracy", "val.loss", "-finished_at", "created_at"])
def test_pages_of_a_sorted_list_hold_each_row_once_whatever_is_equal(
    api: TestClient, database: Database, sort: str
) -> None:
    thirds = [0.1, 0.2, 0.7]
    for number in range(11):
        accuracies: list[float | None] = [None] if number % 4 == 3 else [*thirds[number % 3 :]]
        add(database, f"e{number:02}", accuracies, minutes=number // 2)
    whole = names(api, f"sort={sort}&limit=500")
    paged: list[str] = []
    cursor = ""
    while True:
        page = api.get(f"/experiments?sort={sort}&limit=2{cursor}").json()
        paged += [row["name"] for row in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(whole) == 11
    assert paged == whole


@pytest.mark.usefixtures("four")
def test_a_cursor_belongs_to_its_sort(api: TestClient) -> None:
    cursor = api.get("/experiments?sort=-test.accuracy&limit=1").json()["next_cursor"]
    for other in ("test.accuracy", "-created_at", "finished_at"):
        answer = api.get(f"/experiments?sort={other}&cursor={cursor}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/cursor"


def test_an_unknown_sort_is_refused_with_what_there_is(api: TestClient) -> None:
    answer = api.get("/experiments?sort=-test.acuracy").json()
    (error,) = answer["errors"]
    assert error["pointer"] == "/sort"
    assert "'-test.accuracy'" in error["message"]


def test_every_key_can_be_asked_for_both_ways() -> None:
    assert set(get_args(Sort)) == {f"{sign}{key}" for key in SortKey for sign in ("", "-")}


@pytest.mark.usefixtures("four")
def test_a_page_that_is_sorted_is_one_statement_that_reads_no_spec(api: TestClient) -> None:
    asked = statements(api.app.state.database)  # type: ignore[attr-defined]
    names(api, "sort=-test.accuracy")
    page, *named = [statement for statement in asked if "FROM experiment" in statement]
    assert len(named) <= 1, "of which fingerprint nothing is known is read once"
    assert "spec" not in page
    assert "submitted" not in page
