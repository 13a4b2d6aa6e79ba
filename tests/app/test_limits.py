"""What is more than the service allows is refused with a sentence that names the setting, and nothing of it is
stored.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.api.http import rates
from app.api.http.bodies import refuse_deep_nesting
from app.api.http.rates import Rates
from app.errors import BadBody
from app.main import create_app
from app.roles import Role
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run
from tests.app.people import caller, make_key
from tests.app.studies import fail_next, grid, send
from tests.app.test_api import require_problem

Make = Callable[..., TestClient]


@pytest.fixture
def make_api(tmp_path: Path) -> Iterator[Make]:
    """Makes an API in this process with the given settings, on one database."""
    opened: list[TestClient] = []

    def make(**values: Any) -> TestClient:
        settings = Settings(home=tmp_path, log_level="ERROR", _env_file=None, **values)
        opened.append(TestClient(create_app(settings), raise_server_exceptions=False).__enter__())
        return opened[-1]

    yield make
    for api in opened:
        api.__exit__(None, None, None)


def num_runs(api: TestClient) -> int:
    with api.app.state.database.reading() as session:  # type: ignore[attr-defined]
        return len(session.exec(select(Run)).all())


@pytest.mark.parametrize(
    ("values", "body", "pointer", "setting"),
    [
        ({"max_epochs": 5}, {"epochs": 6}, "/epochs", "LAB_MAX_EPOCHS"),
        ({"max_seeds": 2}, {"seeds": 3}, "/seeds", "LAB_MAX_SEEDS"),
        ({"max_parameters": 1000}, {}, "/model", "LAB_MAX_PARAMETERS"),
        ({"max_batch_size": 32}, {"batch_size": 33}, "/batch_size", "LAB_MAX_BATCH_SIZE"),
        ({"max_steps": 100}, {"batch_size": 8, "epochs": 2}, "/epochs", "LAB_MAX_STEPS"),
        ({"max_labels": 1}, {"labels": {"a": "1", "b": "2"}}, "/labels", "LAB_MAX_LABELS"),
        ({"max_label_length": 3}, {"labels": {"a": "1234"}}, "/labels/a", "LAB_MAX_LABEL_LENGTH"),
    ],
)
def test_a_limit_names_the_field_and_the_setting(
    make_api: Make, values: dict, body: dict, pointer: str, setting: str
) -> None:
    api = make_api(**values)
    for dry_run in ("true", "false"):
        [error] = require_problem(
            api.post("/experiments", json=body, params={"dry_run": dry_run}), 422, "invalid_request"
        )["errors"]
        assert error["pointer"] == pointer
        assert f"({setting})" in error["message"]
    assert num_runs(api) == 0


def test_what_is_just_allowed_passes(make_api: Make) -> None:
    api = make_api(
        max_epochs=5,
        max_seeds=2,
        max_batch_size=32,
        max_steps=5 * 36,
        max_labels=1,
        max_label_length=3,
        max_queued_per_owner=2,
    )
    # digits: 1,150 training images are 36 batches
    body = {"epochs": 5, "seeds": 2, "batch_size": 32, "labels": {"a": "123"}}
    assert api.post("/experiments?dry_run=true", json=body).json()["estimate"]["steps"] == 5 * 36
    assert api.post("/experiments", json=body).status_code == 201


def test_the_limits_hold_for_the_cells_of_a_study(make_api: Make) -> None:
    api = make_api(max_study_runs=7, max_label_length=3)
    assert (
        "(LAB_MAX_STUDY_RUNS)"
        in require_problem(api.post("/studies", json=grid()), 422, "invalid_request")["detail"]
    )
    problem = require_problem(
        api.post("/studies", json=grid(seeds=1, labels={"a": "1234"})), 422, "invalid_request"
    )
    assert [error["pointer"] for error in problem["errors"]] == ["/labels/a"]
    assert num_runs(api) == 0


def test_labels_that_are_added_one_by_one_count_together(make_api: Make) -> None:
    api = make_api(max_labels=2)
    address = (
        "/experiments/"
        + api.post("/experiments", json={"labels": {"a": "1", "b": "2"}}).json()["id"]
    )
    problem = require_problem(
        api.patch(address, json={"labels": {"c": "3"}}), 422, "invalid_request"
    )
    assert "(LAB_MAX_LABELS)" in problem["detail"]
    assert api.get(address).json()["labels"] == {"a": "1", "b": "2"}
    assert api.patch(address, json={"labels": {"c": "3", "a": None}}).json()["labels"] == {
        "b": "2",
        "c": "3",
    }


def test_an_owner_has_so_many_waiting_runs_and_no_more(make_api: Make) -> None:
    api = make_api(max_queued_per_owner=3)
    database: Database = api.app.state.database  # type: ignore[attr-defined]
    anna, ben = caller(api, database, "anna"), caller(api, database, "ben")
    assert anna.post("/experiments", json={"seeds": 2}).status_code == 201
    problem = require_problem(anna.post("/experiments", json={"seeds": 2}), 429, "too_many_runs")
    assert problem["detail"].startswith(
        "this would make 4 waiting runs of anna, more than the 3 of this service (LAB_MAX_QUEUED_PER_OWNER); nothing"
        " was stored"
    )
    require_problem(anna.post("/studies", json=grid(seeds=1)), 429, "too_many_runs")
    assert num_runs(api) == 2
    assert anna.post("/experiments", json={}).status_code == 201
    assert ben.post("/experiments", json={"seeds": 3}).status_code == 201


def test_paused_runs_wait_too_and_cancelled_ones_make_room(make_api: Make) -> None:
    api = make_api(max_queued_per_owner=1)
    address = "/experiments/" + api.post("/experiments", json={}).json()["id"]
    assert api.post(f"{address}/pause").status_code == 200
    require_problem(api.post("/experiments", json={}), 429, "too_many_runs")
    assert api.post(f"{address}/resume").status_code == 200
    assert api.post(f"{address}/cancel").status_code == 200
    assert api.post("/experiments", json={}).status_code == 201
    require_problem(api.post(f"{address}/retry"), 429, "too_many_runs")
    assert api.get(address).json()["status"] == "cancelled"


def test_a_study_that_grows_or_is_retried_is_held_to_the_queues_limit(make_api: Make) -> None:
    api = make_api(max_queued_per_owner=4)
    database: Database = api.app.state.database  # type: ignore[attr-defined]
    study = send(api, **grid(seeds=1))
    address = f"/studies/{study['id']}"
    require_problem(api.post(f"{address}/extend", json={"seeds": 1}), 429, "too_many_runs")
    assert api.get(address).json()["progress"]["num_runs"] == 4
    fail_next(database)
    assert api.post("/experiments", json={}).status_code == 201
    require_problem(api.post(f"{address}/retry"), 429, "too_many_runs")


def test_a_priority_above_0_needs_an_admin_while_keys_are_asked_for(
    api: TestClient, database: Database
) -> None:
    assert api.post("/experiments", json={"priority": 5}).status_code == 201
    anna, admin = caller(api, database, "anna"), caller(api, database, "instructor", Role.ADMIN)
    for address, body in (("/experiments", {}), ("/studies", grid(seeds=1))):
        problem = require_problem(
            anna.post(address, json={**body, "priority": 1}), 422, "invalid_request"
        )
        assert [error["pointer"] for error in problem["errors"]] == ["/priority"]
        assert anna.post(address, json={**body, "priority": -1}).status_code == 201
        assert admin.post(address, json={**body, "priority": 1}).status_code == 201
    hers = anna.post("/experiments", json={}).json()["id"]
    require_problem(
        anna.patch(f"/experiments/{hers}", json={"priority": 1}), 422, "invalid_request"
    )
    assert admin.patch(f"/experiments/{hers}", json={"priority": 2}).status_code == 200
    with database.reading() as session:
        assert [
            run.priority for run in session.exec(select(Run).where(col(Run.experiment_id) == hers))
        ] == [2]


def test_the_depth_of_a_body_is_a_setting(make_api: Make) -> None:
    api = make_api(max_body_depth=8)
    deep = b'{"a":' * 9 + b"1" + b"}" * 9
    problem = require_problem(api.post("/experiments", content=deep), 400, "bad_json")
    assert problem["detail"] == "the document nests deeper than 8 levels (LAB_MAX_BODY_DEPTH)"
    require_problem(
        api.post("/experiments", content=b'{"a":' * 8 + b"1" + b"}" * 8), 422, "invalid_request"
    )


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"[]", 1), (b"", 0), (b'"["', 0), (b'"\\"[["', 0), (b'{"a": "]]", "b": [1, {}]}', 3),
        (b"[[]][[]]", 2), (b'"\\\\"[', 1), (b'"unended [[[', 0),
        (b"[\n\"\xff{\"\n]", 1),
    ],
)  # fmt: skip
def test_only_brackets_outside_of_strings_nest(body: bytes, depth: int) -> None:
    refuse_deep_nesting(body, depth)
    if depth:
        with pytest.raises(BadBody):
            refuse_deep_nesting(body, depth - 1)


def test_a_body_of_quotes_or_backslashes_is_looked_through_in_linear_time() -> None:
    for body in (
        b'"' + b'\\"' * 499_999,
        b'"' * 999_999,
        b'"' + b"\\" * 999_999,
        b"[]" * 500_000,
        b'["' * 7 + b'"x\\"' * 300_000,
    ):
        refuse_deep_nesting(body, 32)  # hours, if each quote began a search of its own


@pytest.mark.parametrize(
    "body", [b"[]," * 100_000, b'["a", {}]' * 50_000, b'{"name": "' + b"[" * 300_000 + b'"}']
)
def test_looking_for_depth_takes_no_step_of_python_for_each_byte(body: bytes) -> None:
    lines = 0

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        refuse_deep_nesting(body, 2)
    finally:
        sys.settrace(before)
    assert 0 < lines < 10


def test_a_slow_body_holds_no_lock(make_api: Make) -> None:
    """Whoever sends a byte a minute must not keep others from writing: the transaction begins when the body is
    there.
    """
    api = make_api()
    study = send(api, **grid(seeds=1))
    cell = study["cells"][0]["experiment_id"]
    answers = asyncio.run(
        _while_bodies_come(
            api,
            [
                ("POST", f"/studies/{study['id']}/extend", {"seeds": 1}),
                ("PATCH", f"/experiments/{cell}", {"name": "it"}),
            ],
        )
    )
    assert answers == [(201, 200), (201, 200)]


async def _while_bodies_come(
    api: TestClient, requests: list[tuple[str, str, dict[str, Any]]]
) -> list[tuple[int, int]]:
    """(status of an experiment sent within each request's body, status of the request)."""
    within: list[int] = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=api.app), base_url="http://testserver", timeout=60
    ) as client:

        async def slowly(document: dict[str, Any]) -> AsyncIterator[bytes]:
            text = json.dumps(document).encode()
            yield text[:3]
            within.append((await client.post("/experiments", json={})).status_code)
            yield text[3:]

        after = [
            (await client.request(method, path, content=slowly(document))).status_code
            for method, path, document in requests
        ]
    return list(zip(within, after, strict=True))


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(make_api: Make) -> None:
    api = make_api(max_requests_per_minute=3)
    database: Database = api.app.state.database  # type: ignore[attr-defined]
    assert [api.get("/workers").status_code for _ in range(6)] == [
        200
    ] * 6  # without keys there is nothing to count by
    anna, ben = caller(api, database, "anna"), caller(api, database, "ben")
    assert [anna.get("/workers").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = anna.get("/workers")
    problem = require_problem(answer, 429, "too_many_requests")
    assert problem["detail"] == "more than 3 requests in a minute (LAB_MAX_REQUESTS_PER_MINUTE)"
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert ben.get("/workers").status_code == 200  # another key of the same address
    assert [api.get("/workers").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert api.get("/healthz").status_code == 200


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_lets_a_burst_through_and_then_fills_evenly() -> None:
    clock = Clock()
    buckets = Rates(60, clock)
    assert [buckets.wait_seconds("a") for _ in range(61)] == [0] * 60 + [1]
    assert buckets.wait_seconds("b") == 0
    clock.now = 2.0
    assert [buckets.wait_seconds("a") for _ in range(3)] == [0, 0, 1]
    clock.now = 1000.0
    assert [buckets.wait_seconds("a") for _ in range(61)] == [0] * 60 + [1]
    slow = Rates(1, clock)
    assert [slow.wait_seconds("a"), slow.wait_seconds("a")] == [0, 60]
    unlimited = Rates(0, clock)
    assert {unlimited.wait_seconds("a") for _ in range(1000)} == {0}


def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_BUCKETS", 3)
    buckets = Rates(1, Clock())
    assert [buckets.wait_seconds(name) for name in "abcd"] == [0, 0, 0, 0]
    assert buckets.wait_seconds("d") == 60
    assert buckets.wait_seconds("a") == 0  # silent longest, so forgotten


def test_a_full_queue_leaves_nothing_behind(make_api: Make) -> None:
    api = make_api(max_queued_per_owner=1)
    body = {"kind": "distill", "teacher": {"spec": {"epochs": 2}}, "baseline": True}
    require_problem(api.post("/experiments", json=body), 429, "too_many_runs")
    session: Session
    with api.app.state.database.reading() as session:  # type: ignore[attr-defined]
        assert session.exec(select(Experiment)).all() == []


def test_keys_do_not_change_who_waits_for_what(make_api: Make) -> None:
    """The limit is an owner's, whichever of their keys is used."""
    api = make_api(max_queued_per_owner=1)
    database: Database = api.app.state.database  # type: ignore[attr-defined]
    first, second = (caller(api, database, "anna") for _ in range(2))
    assert make_key(database, "anna")
    assert first.post("/experiments", json={}).status_code == 201
    require_problem(second.post("/experiments", json={}), 429, "too_many_runs")
