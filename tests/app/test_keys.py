"""Who may do what: every route without a key, with a key that only reads, with another student's key, and with the
owner's.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request, Response
from sqlmodel import select
from starlette.testclient import TestClient

from app.api.http import passes
from app.api.http.gate import OPEN_PATHS
from app.errors import InvalidRequest, Misconfigured
from app.main import create_app
from app.roles import Role
from app.services import lifecycle
from app.services.experiments.experiments import get_run
from app.services.lifecycle import workers
from app.services.owners import keys
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ApiKey, Owner, Run, Worker, utc_now
from tests.app.people import caller, client_of, make_key
from tests.app.studies import finish_all, grid, send
from tests.app.test_api import require_problem

FOREIGN_IDS = {"experiment_id", "run_id", "study_id", "webhook_id"}


@pytest.fixture
def anna(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "anna")


@pytest.fixture
def ben(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "ben")


@pytest.fixture
def reader(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "assistant", Role.READ)


@pytest.fixture
def admin(api: TestClient, database: Database) -> TestClient:
    return caller(api, database, "instructor", Role.ADMIN)


def operations(api: TestClient) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path template, operation) of every route, by the application's own description."""
    paths = api.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


NAMED = {"extension": "png", "split": "test", "row": "0"}
"""What parts of addresses are in these tests."""


def filled(path: str, **values: str) -> str:
    """The template with its parameters: those given, `png` for an extension, else a word."""
    return re.sub(
        r"\{(\w+)\}",
        lambda found: values.get(found[1], NAMED.get(found[1], "digits")),
        path,
    )


def test_without_any_key_nothing_is_asked_for(api: TestClient) -> None:
    record = api.post("/experiments", json={}).json()
    assert api.get(f"/experiments/{record['id']}").status_code == 200
    assert api.get("/workers").status_code == 200


def test_every_route_asks_for_a_key_as_soon_as_there_is_one(
    api: TestClient, database: Database
) -> None:
    make_key(database, "anna")
    asked = 0
    for method, path, operation in operations(api):
        answer = api.request(method, filled(path))
        if path in OPEN_PATHS:
            assert answer.status_code == 200, path
            assert operation["security"] == []
            continue
        problem = require_problem(answer, 401, "unauthorized")
        assert "Authorization: Bearer" in problem["detail"], path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert operation["security"] == [{"key": []}]
        assert "401" in operation["responses"]
        asked += 1
    assert asked > 40
    assert (
        api.get("/openapi.json").json()["components"]["securitySchemes"]["key"]["scheme"]
        == "bearer"
    )
    require_problem(api.get("/nowhere"), 401, "unauthorized")


def test_a_reading_key_changes_nothing_on_any_route(api: TestClient, reader: TestClient) -> None:
    changing = [(method, path) for method, path, _ in operations(api) if method != "GET"]
    assert len(changing) > 12
    for method, path in changing:
        require_problem(reader.request(method, filled(path)), 403, "forbidden")
    assert reader.get("/experiments").status_code == 200


def test_what_belongs_to_another_student_is_not_there_on_any_route(
    api: TestClient, anna: TestClient, ben: TestClient, database: Database
) -> None:
    study = send(anna, **grid())
    cell = study["cells"][0]["experiment_id"]
    run = anna.get(f"/experiments/{cell}").json()["runs"][0]["id"]
    webhook = anna.post("/webhooks", json={"url": "https://example.org"}).json()["id"]
    foreign = {
        "experiment_id": cell,
        "run_id": run,
        "study_id": study["id"],
        "webhook_id": webhook,
    }
    missing = {
        "experiment_id": "exp_none",
        "run_id": "run_none",
        "study_id": "stu_none",
        "webhook_id": "whk_none",
    }
    tried = 0
    for method, path, _ in operations(api):
        if not any(f"{{{name}}}" in path for name in FOREIGN_IDS):
            continue
        body = (
            b'{"seeds": 1}'
            if path.endswith("/extend")
            else b"{}"
            if method in ("POST", "PATCH")
            else None
        )
        theirs = ben.request(method, filled(path, **foreign), content=body)
        nothing = ben.request(method, filled(path, **missing), content=body)
        problem = require_problem(theirs, 404, "not_found")
        assert problem["detail"] == re.sub(
            r"\w+_none", lambda found: foreign[_kind_of(found[0])], nothing.json()["detail"]
        ), path
        tried += 1
    assert tried > 25
    with database.reading() as session:
        assert {row.status for row in session.exec(select(Run))} == {"queued"}


def _kind_of(missing: str) -> str:
    return {
        "exp": "experiment_id",
        "run": "run_id",
        "stu": "study_id",
        "whk": "webhook_id",
    }[missing[:3]]


def test_the_owner_an_assistant_and_an_admin_see_it_and_only_owner_and_admin_change_it(
    anna: TestClient, ben: TestClient, reader: TestClient, admin: TestClient
) -> None:
    record = anna.post("/experiments", json={}).json()
    address = f"/experiments/{record['id']}"
    assert [client.get(address).status_code for client in (anna, reader, admin, ben)] == [
        200,
        200,
        200,
        404,
    ]
    assert [
        client.post(f"{address}/cancel").status_code for client in (reader, ben, admin, anna)
    ] == [403, 404, 200, 200]


def test_lists_show_a_student_their_own_and_others_everything(
    anna: TestClient, ben: TestClient, reader: TestClient, admin: TestClient
) -> None:
    hers, his = (client.post("/experiments", json={}).json()["id"] for client in (anna, ben))
    study = send(anna, **grid(seeds=1))["id"]

    def ids(client: TestClient, address: str) -> list[str]:
        return [row["id"] for row in client.get(address).json()["data"]]

    assert ids(ben, "/experiments") == [his]
    # never his own in the place of hers
    assert ids(ben, "/experiments?owner=anna") == ids(ben, "/studies?owner=anna") == []
    assert ids(ben, "/experiments?owner=ben") == [his]
    assert hers in ids(anna, "/experiments")
    assert his not in ids(anna, "/experiments")
    assert {hers, his} <= set(ids(reader, "/experiments"))
    assert ids(admin, "/experiments?owner=ben") == [his]
    assert (
        ids(ben, "/studies"),
        ids(anna, "/studies"),
        ids(admin, "/studies?owner=anna"),
        ids(reader, "/studies?owner=ben"),
    ) == ([], [study], [study], [])


def test_a_comparison_of_what_one_may_not_see_is_404(anna: TestClient, ben: TestClient) -> None:
    hers, his = (client.post("/experiments", json={}).json()["id"] for client in (anna, ben))
    for address in ("/comparisons", "/comparisons/curves.png"):
        problem = require_problem(
            ben.get(address, params={"experiments": f"{his},{hers}"}), 404, "not_found"
        )
        assert problem["detail"] == f"there is no experiment '{hers}'; GET /experiments lists them"


def test_a_request_like_one_that_one_may_not_see_is_404(
    anna: TestClient, ben: TestClient, admin: TestClient
) -> None:
    hers = anna.post("/experiments", json={"labels": {"week": "2"}}).json()["id"]
    body = {"like": hers, "go_on": {"epochs": 2}}
    problem = require_problem(ben.post("/experiments", json=body), 404, "not_found")
    assert problem["detail"] == f"there is no experiment '{hers}'; GET /experiments lists them"
    record = admin.post("/experiments", json={"like": hers, "set": {"epochs": 2}}).json()
    assert (record["labels"], record["changed"]) == ({"week": "2"}, {"epochs": [10, 2]})
    assert record["owner"] != "anna"


@pytest.mark.parametrize("kind", ["distill", "transfer"])
def test_another_students_network_cannot_be_built_on(
    anna: TestClient, ben: TestClient, admin: TestClient, kind: str
) -> None:
    role = {"distill": "teacher", "transfer": "source"}[kind]
    model = {} if kind == "distill" else {"model": "student", "dataset": "cifar10"}
    record = anna.post("/experiments", json=model).json()
    more = {} if kind == "distill" else {"dataset": "cifar100"}
    for reference in (record["id"], {"run": record["runs"][0]["id"]}):
        body = {"kind": kind, role: reference, **more}
        missing = {
            "kind": kind,
            role: "exp_none" if reference == record["id"] else {"run": "run_none"},
            **more,
        }
        refused, unknown = (
            ben.post("/experiments", json=body),
            ben.post("/experiments", json=missing),
        )
        assert refused.status_code == unknown.status_code == 422, refused.text
        assert re.sub(r"(exp|run)_\w+", "it", refused.text) == re.sub(
            r"(exp|run)_\w+", "it", unknown.text
        )
        assert admin.post("/experiments", json=body).status_code == 201
        assert anna.post("/experiments", json=body).status_code == 201


def test_an_equal_teacher_of_another_student_is_trained_again(
    anna: TestClient, ben: TestClient
) -> None:
    body = {"kind": "distill", "teacher": {"spec": {"epochs": 3}}}
    hers, again, his = (
        client.post("/experiments", json=body).json()["related"]["teacher_run"]
        for client in (anna, anna, ben)
    )
    assert hers == again
    assert his != hers


def test_a_study_takes_over_the_owners_finished_runs_and_nobody_elses(
    anna: TestClient, ben: TestClient, database: Database, settings: Settings
) -> None:
    body = {"spec": {"model": {"width": 16}, "epochs": 2}, "vary": {"model.depth": [1]}, "seeds": 1}
    send(anna, **body)
    finish_all(database, settings, {0: 0.9})
    assert send(ben, **body)["progress"]["num_reused"] == 0
    assert send(anna, **body)["progress"]["num_reused"] == 1


def test_idempotency_keys_are_each_owners_own(anna: TestClient, ben: TestClient) -> None:
    headers = {"Idempotency-Key": "exercise-1"}
    hers, again, his = (
        client.post("/experiments", json={}, headers=headers) for client in (anna, anna, ben)
    )
    assert (hers.status_code, again.status_code, his.status_code) == (201, 200, 201)
    assert hers.json()["id"] == again.json()["id"] != his.json()["id"]


def test_a_verification_belongs_to_who_asked_for_it(
    anna: TestClient, ben: TestClient, admin: TestClient, database: Database, settings: Settings
) -> None:
    record = anna.post("/experiments", json={"epochs": 2}).json()
    finish_all(database, settings, {0: 0.9})
    verified = anna.post(f"/experiments/{record['id']}/verify").json()
    checked = admin.post(f"/experiments/{record['id']}/verify").json()
    with database.reading() as session:
        assert [get_run(session, one["runs"][0]["id"]).owner for one in (verified, checked)] == [
            "anna",
            "instructor",
        ]
    assert anna.get(f"/experiments/{verified['id']}/verification").status_code == 200
    require_problem(anna.get(f"/experiments/{checked['id']}/verification"), 404, "not_found")
    require_problem(ben.post(f"/experiments/{record['id']}/verify"), 404, "not_found")


def test_a_queue_shows_others_runs_without_their_names(anna: TestClient, ben: TestClient) -> None:
    anna.post("/experiments", json={})
    [row] = ben.get("/queue").json()["data"]
    assert (row["owner"], row["run_id"], row["experiment_id"]) == (None, None, None)
    assert anna.get("/queue").json()["data"][0]["owner"] == "anna"


def test_a_bulk_cancel_reaches_only_the_callers_own(anna: TestClient, ben: TestClient) -> None:
    hers, his = (client.post("/experiments", json={}).json()["id"] for client in (anna, ben))
    # a filter that finds nothing is not widened to his own
    assert ben.post("/experiments/cancel?owner=anna&status=queued").json()["data"] == []
    assert ben.post("/experiments/cancel?owner=anna").json()["num_cancelled"] == 0
    assert ben.get(f"/experiments/{his}").json()["status"] == "queued"
    assert ben.post("/experiments/cancel?status=queued").json()["data"] == [his]
    assert anna.get(f"/experiments/{hers}").json()["status"] == "queued"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YW5uYTpwYXNz",
        "Bearer lab_wrong",
        "lab_wrong",
        "Bearer a b",
        "Bearer \xff",
        "bearer lab_" + "x" * 5000,
    ],
)
def test_a_wrong_key_is_401_whatever_it_looks_like(
    api: TestClient, database: Database, header: str
) -> None:
    make_key(database, "anna")
    answer = api.get("/experiments", headers={"Authorization": header.encode("latin-1")})
    require_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_keys_in_one_request_are_none(api: TestClient, database: Database) -> None:
    secret = make_key(database, "anna")
    answer = api.get(
        "/experiments",
        headers=[("Authorization", f"Bearer {secret}"), ("Authorization", "Bearer lab_other")],
    )
    require_problem(answer, 401, "unauthorized")


def test_a_key_in_the_address_is_no_key(api: TestClient, database: Database) -> None:
    secret = make_key(database, "anna")
    require_problem(api.get(f"/experiments?key={secret}"), 401, "unauthorized")


def test_the_scheme_is_read_in_any_case(api: TestClient, database: Database) -> None:
    secret = make_key(database, "anna")
    assert api.get("/experiments", headers={"Authorization": f"bearer {secret}"}).status_code == 200


def test_a_revoked_key_ends_with_the_next_request_and_does_not_open_the_service(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    assert anna.get("/experiments").status_code == 200
    with database.writing() as session:
        keys.revoke_key(session, session.exec(select(ApiKey.id)).one())
    require_problem(anna.get("/experiments"), 401, "unauthorized")
    require_problem(api.get("/experiments"), 401, "unauthorized")


def test_two_keys_of_one_owner_see_the_same(api: TestClient, database: Database) -> None:
    first, second = caller(api, database, "anna"), caller(api, database, "anna")
    record = first.post("/experiments", json={}).json()
    assert second.get(f"/experiments/{record['id']}").status_code == 200


def test_what_was_made_without_keys_is_seen_by_a_key_of_local(
    api: TestClient, database: Database
) -> None:
    record = api.post("/experiments", json={}).json()
    local, ben = caller(api, database, "local"), caller(api, database, "ben")
    assert [client.get(f"/experiments/{record['id']}").status_code for client in (local, ben)] == [
        200,
        404,
    ]


def test_of_a_key_only_its_hash_and_beginning_are_stored(
    database: Database, settings: Settings
) -> None:
    secret = make_key(database, "anna")
    assert re.fullmatch(r"lab_[A-Za-z0-9_-]{43}", secret)  # 256 bits in base 64
    with database.reading() as session:
        key = session.exec(select(ApiKey)).one()
        assert (key.owner, key.role, key.hint) == ("anna", "submit", secret[:10])
        assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest()
        assert session.get_one(Owner, "anna").turn == 0
    database.close()
    stored = b"".join(path.read_bytes() for path in settings.home.glob("lab.sqlite3*"))
    assert secret.encode() not in stored


def test_keys_are_all_different(database: Database) -> None:
    assert len({make_key(database, "anna") for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", "Anna", "anna b", "a" * 65, "änna", "a/b", "anna\n"])
def test_an_owner_is_named_in_few_letters(database: Database, name: str) -> None:
    with database.writing() as session, pytest.raises(InvalidRequest, match="no owner's name"):
        keys.create_key(session, name, Role.SUBMIT)


@pytest.mark.parametrize(
    ("api_keys", "before", "after"), [("auto", 200, 401), ("on", 401, 401), ("off", 200, 200)]
)
def test_when_a_key_is_asked_for(tmp_path: Path, api_keys: Any, before: int, after: int) -> None:
    settings = Settings(home=tmp_path, api_keys=api_keys, log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings)) as api:
        assert api.get("/experiments").status_code == before
        secret = make_key(api.app.state.database, "anna")  # type: ignore[attr-defined]
        assert api.get("/experiments").status_code == after
        assert client_of(api, secret).get("/experiments").status_code == 200


@pytest.mark.parametrize(
    ("more", "makes_key", "refused"),
    [
        ({}, False, "there is no key to ask for: make one with `lab keys create"),
        ({"api_keys": "on"}, False, "there is no key"),
        ({"api_keys": "off"}, True, "LAB_API_KEYS=off asks nobody for a key"),
        ({}, True, None),
        ({"allow_no_keys": True}, False, None),
        ({"allow_no_keys": True, "api_keys": "off"}, True, None),
    ],
)
def test_beyond_loopback_a_service_starts_only_behind_a_key(
    database: Database, more: Any, makes_key: bool, refused: str | None
) -> None:
    settings = Settings(_env_file=None, **more)
    if makes_key:
        make_key(database, "anna")
    with database.reading() as session:
        if refused is None:
            keys.refuse_open_door(session, settings, "0.0.0.0")
            return
        with pytest.raises(Misconfigured, match=refused) as raised:
            keys.refuse_open_door(session, settings, "0.0.0.0")
    assert "LAB_ALLOW_NO_KEYS=true" in str(raised.value)


def test_revoked_keys_do_not_count_at_the_door(database: Database) -> None:
    make_key(database, "anna")
    with database.writing() as session:
        keys.revoke_key(session, session.exec(select(ApiKey.id)).one())
        with pytest.raises(Misconfigured, match="there is no key"):
            keys.refuse_open_door(session, Settings(_env_file=None), "192.168.1.2")


def test_a_database_that_does_not_answer_lets_nobody_in(api: TestClient, tmp_path: Path) -> None:
    working = api.app.state.database  # type: ignore[attr-defined]
    api.app.state.database = Database(f"sqlite:///{tmp_path}/nowhere/lab.sqlite3")  # type: ignore[attr-defined]
    require_problem(api.get("/workers"), 503, "busy")
    api.app.state.database = working  # type: ignore[attr-defined]


def test_the_numbers_of_the_whole_service_are_not_for_a_submit_key(
    anna: TestClient, reader: TestClient, admin: TestClient
) -> None:
    anna.post("/experiments", json={})
    refused = require_problem(anna.get("/metrics"), 403, "forbidden")
    assert "need 'read' or 'admin'" in refused["detail"]
    for allowed in (reader, admin):
        assert "lab_queue_depth 1.0" in allowed.get("/metrics").text


def test_a_submit_key_sees_what_trains_and_not_where(
    anna: TestClient, ben: TestClient, reader: TestClient, database: Database
) -> None:
    now = utc_now()
    worker = Worker(
        id="gpubox-17-abcd",
        host="gpubox",
        pid=17,
        device="cuda:0",
        threads=4,
        started_at=now,
        seen_at=now,
    )
    mine = anna.post("/experiments", json={"name": "hers"}).json()
    shown = {"run_id": mine["runs"][0]["id"], "experiment_id": mine["id"], "name": "hers"}
    with database.writing() as session:
        workers.register(session, worker)
        assert lifecycle.claim(session, worker.id) is not None
    (hers,), (theirs,) = anna.get("/workers").json()["data"], reader.get("/workers").json()["data"]
    assert (hers["id"], hers["host"], hers["device"], hers["threads"]) == (
        "17-abcd",
        None,
        "cuda:0",
        4,
    )
    assert (theirs["id"], theirs["host"]) == ("gpubox-17-abcd", "gpubox")
    assert "gpubox" not in anna.get("/workers").text
    told = {**shown, "owner": "anna", "seed": 0, "epochs_done": 0, "epochs": 10}
    assert hers["trains"] == theirs["trains"] == [told]
    (others,) = ben.get("/workers").json()["data"]
    hidden = dict.fromkeys(("run_id", "experiment_id", "name", "owner", "seed"))
    assert others["trains"] == [{**hidden, "epochs_done": 0, "epochs": 10}]


def test_an_owner_with_several_keys_has_one_place_in_the_lines(settings: Settings) -> None:
    app = create_app(settings)
    router = passes.router()

    @router.get("/asker")
    def asker(request: Request) -> Response:
        return Response(passes.client_of(request))

    app.include_router(router)
    with TestClient(app) as api:
        assert api.get("/asker").text == "address testclient"
        askers = {
            caller(api, app.state.database, owner).get("/asker").text
            for owner in ("anna", "anna", "ben")
        }
    assert askers == {"owner anna", "owner ben"}
