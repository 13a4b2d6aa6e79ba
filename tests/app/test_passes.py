"""One request, one pass: every route is asked, and no connection is ever held between two calls on threads, nor while
an answer is made or sent. What is only read stays as it is.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Response
from sqlalchemy import event, select, text
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment, Writing
from app.api.http.parameters import Afterwards, Kept
from app.api.http.passes import Compute, Write
from app.api.http.traffic import HAS_LEFT
from app.main import ROUTERS, create_app
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.tables import metadata
from tests.app.studies import finish, grid, send
from tests.app.test_keys import filled as with_values
from tests.app.test_predict import SMALL
from tests.app.test_predict import Service as InThisProcess

PICTURE = b"\x89PNG no picture"


class Witness:
    """Sees which thread takes and gives back each connection, and within which call."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out: dict[int, tuple[int, int | None]] = {}
        self.faults: list[str] = []
        self.num_taken = 0
        self._call = threading.local()
        self._calls = 0
        event.listen(database.engine.pool, "checkout", self._taken)
        event.listen(database.engine.pool, "checkin", self._given_back)
        run = passes.run_sync

        async def watched(function: Any, *arguments: Any, **options: Any) -> Any:
            return await run(self._within_a_call, function, *arguments, **options)

        monkeypatch.setattr(passes, "run_sync", watched)

    def _within_a_call(self, function: Any, *arguments: Any) -> Any:
        self._calls += 1
        self._call.number = self._calls
        try:
            return function(*arguments)
        finally:
            mine = [key for key, (thread, _) in self.out.items() if thread == threading.get_ident()]
            self.faults += ["a connection is out at the end of its call"] * len(mine)
            self._call.number = None

    def _taken(self, connection: Any, _record: Any, _proxy: Any) -> None:
        call = getattr(self._call, "number", None)
        if call is None:
            self.faults.append("a connection was taken outside of a pass")
        self.num_taken += 1
        self.out[id(connection)] = threading.get_ident(), call

    def _given_back(self, connection: Any, _record: Any) -> None:
        thread, call = self.out.pop(id(connection))
        if (thread, call) != (threading.get_ident(), getattr(self._call, "number", None)):
            self.faults.append(
                "a connection was given back by another call than the one that took it"
            )


class Answers:
    """Around the application: when the first byte leaves, no connection may be out."""

    def __init__(self, app: FastAPI, witness: Witness) -> None:
        self._app, self._witness = app, witness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if self._witness.out:
                self._witness.faults.append(
                    f"{scope.get('path')}: a connection is held while the answer is sent"
                )
            await send(message)

        await self._app(scope, receive, watched)


@contextmanager
def watched_api(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TestClient, FastAPI, Witness]]:
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False):
        witness = Witness(app.state.database, monkeypatch)
        yield TestClient(Answers(app, witness), raise_server_exceptions=False), app, witness  # type: ignore[arg-type]


def filled(settings: Settings) -> dict[str, str]:
    """Something to ask for under every address."""
    database, app = open_database(settings), create_app(settings)
    with TestClient(app) as api:
        trained = InThisProcess(api, app.state.database, settings).trained(
            {**SMALL, "probes": ["gradient_flow"]}
        )
        study = send(api, **grid())
        finish(database, settings, study["id"], {})
        student = api.post(
            "/experiments",
            json={"kind": "distill", "teacher": {"spec": {"epochs": 1}}, "baseline": True},
        ).json()
        experiment = api.get(f"/runs/{trained}").json()["experiment_id"]
    database.close()
    return {
        "run_id": trained,
        "experiment_id": experiment,
        "study_id": study["id"],
        "name": "digits",
        "extension": "png",
        "split": "test",
        "row": "0",
        **a_webhook(settings),
        "student": student["id"],
    }


def a_webhook(settings: Settings) -> dict[str, str]:
    with TestClient(create_app(settings)) as api:
        webhook = api.post("/webhooks", json={"url": "https://example.org"}).json()["id"]
        delivery = api.post(f"/webhooks/{webhook}/test").json()["id"]
    return {"webhook_id": webhook, "delivery_id": delivery}


def fingerprints(database: Database) -> dict[str, str]:
    """Of the rows of each table."""
    with database.reading() as session:
        return {
            table.name: hashlib.sha256(
                repr(session.execute(select(table).order_by(*table.primary_key)).all()).encode()
            ).hexdigest()
            for table in metadata().sorted_tables
        }


def test_no_route_holds_a_connection_between_two_calls_or_while_it_answers_and_no_get_changes_a_row(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = filled(settings)
    with watched_api(settings, monkeypatch) as (api, app, witness):
        statuses: dict[str, int] = {}
        operations = [
            (method, path) for path, found in app.openapi()["paths"].items() for method in found
        ]
        before = fingerprints(database)
        for path in pages_without_description():
            api.get(with_values(path, **ids), params=PARAMETERS.get(("get", path)))
            assert witness.faults == [], path
            assert fingerprints(database) == before, path
        for method, path in sorted(
            operations, key=lambda one: (one[0] == "delete", one[0] != "get", one[1])
        ):
            place = (
                {**ids, "experiment_id": ids["student"]}
                if "distillation" in path or one_of(path, "cancel", "pause", "resume", "retry")
                else ids
            )
            address = path.format(**{**place, "name": artifact_or(path, "digits")})
            taken = witness.num_taken
            compared = (
                {"experiments": f"{ids['experiment_id']},{ids['student']}"}
                if "comparisons" in path
                else {"experiments": ids["experiment_id"]}  # which has ended, and so the stream
                if path == "/events"
                else {}
            )
            answer = api.request(
                method,
                address,
                params=PARAMETERS.get((method, path), {}) | compared,
                content=BODIES.get((method, path), b""),
            )
            statuses[f"{method} {path}"] = answer.status_code
            assert witness.faults == [], f"{method} {path}"
            assert answer.status_code < 500, answer.text
            if method == "get":
                assert fingerprints(database) == before, path
            if path not in WITHOUT_DATABASE:
                assert witness.num_taken > taken, (
                    f"{method} {path} was answered without the database: the test asks for nothing"
                )
        succeeded = [name for name, status in statuses.items() if status < 300]
        assert len(succeeded) > 0.75 * len(operations), statuses
        assert not witness.out
        assert fingerprints(database) != before, "what was sent to be done is seen"


def pages_without_description() -> list[str]:
    """What is served to browsers and is no part of the API: GETs that OpenAPI does not name."""
    routes: list[Any] = [route for router in ROUTERS for route in router.routes]
    found = [
        r.path for r in routes if "GET" in getattr(r, "methods", ()) and not r.include_in_schema
    ]
    assert "/ui/login" in found
    return found


WITHOUT_DATABASE = {
    "/healthz",
    "/version",
    "/architectures",
    "/architectures/{name}/layers",
    "/recipes",
    "/recipes/{name}",
    "/datasets",
    "/datasets/{name}",
}
PARAMETERS: dict[tuple[str, str], dict[str, str]] = {
    ("get", "/experiments/{experiment_id}"): {"wait": "0.3"},
    ("get", "/ui/session"): {"code": "no code"},
    ("post", "/experiments/cancel"): {"status": "queued"},
}
BODIES = {
    ("post", "/experiments"): b"{}",
    ("post", "/studies"): b'{"specs": [{}, {"epochs": 2}]}',
    ("patch", "/experiments/{experiment_id}"): b'{"name": "another"}',
    ("patch", "/owners/{name}"): b'{"quotas": {"running": 2}}',
    ("post", "/studies/{study_id}/extend"): b"{}",
    ("post", "/runs/{run_id}/predict"): b'{"split": "test", "row": 1}',
    ("put", "/datasets/{name}"): b"no zip",
    ("post", "/webhooks"): b'{"url": "https://example.org/hook"}',
    ("patch", "/webhooks/{webhook_id}"): b'{"format": "slack"}',
}


def one_of(path: str, *verbs: str) -> bool:
    return path.startswith("/experiments/{") and path.rpartition("/")[2] in verbs


def artifact_or(path: str, name: str) -> str:
    return (
        "weights.safetensors"
        if "/artifacts/" in path
        else "mlp-depth"
        if path.startswith("/recipes")
        else name
    )


def small_app(database: Database, settings: Settings) -> tuple[FastAPI, Any]:
    app = FastAPI()
    app.state.database, app.state.settings = database, settings
    app.state.passes = passes.Passes(settings.max_waiting_requests, on_sqlite=database.is_sqlite)
    return app, passes.router()


def test_a_session_that_outlives_its_pass_is_an_error(
    database: Database, settings: Settings
) -> None:
    app, router = small_app(database, settings)

    @router.get("/leaks")
    def leak() -> Response:
        context = database.reading()
        context.__enter__().execute(text("SELECT 1"))
        kept.append(context)
        return Response()

    kept: list[Any] = []
    app.include_router(router)
    with pytest.raises(RuntimeError, match="outlived its pass"):
        TestClient(app).get("/leaks")
    for context in kept:
        context.__exit__(None, None, None)


def test_a_route_may_name_the_pass_that_comes_next_and_its_session_is_new(
    database: Database, settings: Settings
) -> None:
    app, router = small_app(database, settings)
    seen: list[Any] = []

    @router.post("/steps", status_code=201)
    def steps(session: Reading) -> Any:
        seen.append(session)
        return Write(lambda second: seen.append(second) or Compute(lambda: Response(PICTURE)))  # type: ignore[func-returns-value]

    app.include_router(router)
    assert TestClient(app).post("/steps").content == PICTURE
    assert seen[0] is not seen[1]
    assert not seen[0].in_transaction()


def test_what_would_hold_a_session_in_the_event_loop_or_two_at_a_time_is_refused_when_the_route_is_made() -> (
    None
):
    router = passes.router()

    async def waits(session: Reading) -> None: ...

    def both(session: Reading, more: Writing) -> None: ...

    def mixed(session: Writing, experiment: TheExperiment) -> None: ...

    for wrong in (waits, both, mixed):
        with pytest.raises(TypeError):
            router.get("/wrong")(wrong)


def test_what_is_to_be_done_after_the_commit_is_not_done_when_it_fails(
    database: Database, settings: Settings
) -> None:
    app, router = small_app(database, settings)
    rung: list[int] = []

    @router.post("/fails")
    def fail(session: Writing, afterwards: Annotated[Afterwards, Kept()]) -> Any:
        afterwards.soon(rung.append, 1)
        session.execute(text("INSERT INTO run (id) VALUES ('x')"))  # not null: refused
        return Response()

    app.include_router(router)
    assert TestClient(app, raise_server_exceptions=False).post("/fails").status_code == 500
    assert rung == []


def test_what_only_reads_is_not_begun_for_a_client_that_has_left_while_what_was_sent_to_be_done_is_done(
    database: Database, settings: Settings
) -> None:
    app, router = small_app(database, settings)
    has_left, begun = threading.Event(), []

    @router.get("/picture")
    def picture(session: Reading, leaves: bool) -> Any:
        begun.append("looked")
        if leaves:
            has_left.set()
        return Compute(lambda: begun.append("drawn") or Response(PICTURE))  # type: ignore[func-returns-value]

    @router.post("/act")
    def act(session: Writing) -> Response:
        begun.append("acted")
        return Response()

    async def tells(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[HAS_LEFT] = has_left.is_set
        await app(scope, receive, send)

    app.include_router(router)
    client = TestClient(tells)
    assert client.get("/picture?leaves=false").content == PICTURE
    assert begun == ["looked", "drawn"]
    for _ in range(2):  # in between its two passes, and before the first
        with pytest.raises(ClientDisconnect):
            client.get("/picture?leaves=true")
        assert begun == ["looked", "drawn", "looked"]
    assert client.post("/act").status_code == 200
    assert begun[-1] == "acted"


@contextmanager
def a_full_line(app: FastAPI, api: TestClient) -> Iterator[None]:
    """One request writes, and another waits for its turn to."""
    blocked, free = threading.Event(), threading.Event()
    router = passes.router()

    @router.post("/slow")
    def slow(session: Writing) -> Response:
        blocked.set()
        assert free.wait(20)
        return Response()

    app.include_router(router)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(api.post("/slow").status_code))
        for _ in range(2)
    ]
    threads[0].start()
    assert blocked.wait(20)
    threads[1].start()
    wait_until(lambda: app.state.passes.writing.num_waiting == 1)
    try:
        yield
    finally:
        free.set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.sqlite  # which has one writer at a time
def test_beyond_the_bound_a_request_is_503_at_once_and_says_when_to_come_back(
    tmp_path: Path,
) -> None:
    app = create_app(
        Settings(home=tmp_path, log_level="ERROR", max_waiting_requests=1, _env_file=None)
    )
    with TestClient(app, raise_server_exceptions=False) as api, a_full_line(app, api):
        refused = api.post("/experiments", json={})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["code"] == "busy"
        metrics = api.get("/metrics").text
        assert 'lab_http_refused_total{lane="writing"} 1.0' in metrics
        assert 'lab_http_waiting{lane="writing"} 1.0' in metrics


@pytest.mark.sqlite
def test_a_study_that_is_refused_after_it_took_files_leaves_none_behind(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, log_level="ERROR", max_waiting_requests=1, _env_file=None)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as api:
        study = send(api, **grid())["id"]
        finish(app.state.database, settings, study, {})
        before = {path.name for path in settings.runs_folder.iterdir()}
        longer = {**grid(), "seeds": 3}
        with a_full_line(app, api):
            assert api.post("/studies", json=longer).status_code == 503
            wait_until(lambda: {path.name for path in settings.runs_folder.iterdir()} == before)
        assert send(api, **longer)["progress"]["num_reused"] == 8
