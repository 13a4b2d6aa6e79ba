"""Keys in a browser: logging in and out, what a cookie may do, and what pages of strangers cannot do with it."""

import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from app.pages.assets import asset
from app.pages.session import WRONG_KEYS_A_MINUTE
from app.roles import Role
from app.services.owners import keys, sessions
from app.services.owners.sessions import IDLE, LONGEST, MOST_OF_A_KEY, NOTED_EVERY
from app.storage.db import Database
from app.storage.tables import (
    ApiKey,
    BrowserSession,
    Experiment,
    LoginCode,
    utc_now,
)
from tests.app.people import browser, client_of, make_key
from tests.app.test_api import require_problem

OWN = "http://testserver"
HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
SESSION = BrowserSession.__tablename__


@pytest.fixture
def secret(api: TestClient, database: Database) -> str:
    return make_key(database, "anna")


@pytest.fixture
def anna(api: TestClient, secret: str) -> TestClient:
    return browser(api, secret)


def change_session(database: Database, **times: Any) -> None:
    """Of the only one."""
    with database.writing() as session:
        row = session.exec(select(BrowserSession)).one()
        for name, value in times.items():
            setattr(row, name, value)
        session.add(row)


def the_session(database: Database) -> BrowserSession:
    with database.reading() as session:
        return session.exec(select(BrowserSession)).one()


def num_experiments(database: Database) -> int:
    with database.reading() as session:
        return len(session.exec(select(Experiment.id)).all())


def test_a_browser_logs_in_is_known_and_logs_out(
    api: TestClient, database: Database, secret: str
) -> None:
    anna = browser(api)
    page = anna.get("/ui/login", params={"next": "/ui/compare?e=a"})
    assert page.status_code == 200
    assert 'name="key"' in page.text
    assert 'name="next" value="/ui/compare?e=a"' in page.text
    assert re.findall(r"<script[^>]*>", page.text) == [f'<script src="{asset("theme.js")}">']
    form = {"key": f" {secret}\n", "next": "/ui/compare?e=a"}
    answer = anna.post("/ui/session", data=form, headers={"Origin": OWN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/compare?e=a")
    assert secret not in answer.headers["set-cookie"]
    assert anna.get("/me").json()["owner"]["name"] == "anna"
    again = anna.post("/ui/session", data={"key": secret}, headers={"Origin": OWN})
    assert again.headers["location"] == "/ui/experiments"
    held = anna.cookies["lab_session"]
    assert the_session(database).sha256 == hashlib.sha256(held.encode()).hexdigest()
    out = anna.post("/ui/session/end", headers={"Origin": OWN})
    assert (out.status_code, out.headers["location"]) == (303, "/ui/login")
    assert "lab_session" not in anna.cookies
    anna.cookies["lab_session"] = held
    problem = require_problem(anna.get("/me"), 401, "unauthorized")
    assert "log in again" in problem["detail"]


@pytest.mark.parametrize(
    ("at", "name", "is_secure"),
    [
        ("http://testserver", "lab_session", False),
        ("https://testserver", "__Host-lab_session", True),
    ],
)
def test_what_a_browser_is_told_of_the_cookie(
    api: TestClient, secret: str, at: str, name: str, is_secure: bool
) -> None:
    opened = browser(api, at=at)
    for path in ("/ui/session", "/ui/session/end"):
        answer = opened.post(path, data={"key": secret}, headers={"Origin": at})
        value, *attributes = answer.headers["set-cookie"].split("; ")
        assert value.partition("=")[0] == name
        age = int(LONGEST.total_seconds()) if path == "/ui/session" else 0
        expected = {"HttpOnly", f"Max-Age={age}", "Path=/", "SameSite=lax"}
        assert set(attributes) == expected | ({"Secure"} if is_secure else set())
    if is_secure:  # what somebody on the way has set by HTTP is not looked at
        logged_in = browser(api, secret, at)
        kept = logged_in.cookies[name]
        logged_in.cookies.clear()
        answer = logged_in.get("/me", headers={"Cookie": f"lab_session={kept}"})
        require_problem(answer, 401, "unauthorized")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": OWN}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://testserver:9000", "Sec-Fetch-Site": "same-origin"}, 403),
    ],
)
def test_by_cookie_only_the_services_own_pages_change_something(
    anna: TestClient, database: Database, headers: dict[str, str], status: int
) -> None:
    answer = anna.post("/experiments", content=b"{}", headers=headers)
    assert answer.status_code == status
    if status == 403:
        require_problem(answer, 403, "other_origin")
    assert num_experiments(database) == (status == 201)
    assert anna.get("/experiments").status_code == 200


def test_a_page_of_a_stranger_logs_nobody_in_or_out(
    api: TestClient, database: Database, secret: str
) -> None:
    anna = browser(api, secret)
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        for path in ("/ui/session", "/ui/session/end"):
            answer = anna.post(path, data={"key": secret}, headers=headers)
            require_problem(answer, 403, "other_origin")
            assert "set-cookie" not in answer.headers
    assert anna.get("/me").status_code == 200


def test_a_session_ends_with_its_key_at_once(anna: TestClient, database: Database) -> None:
    assert anna.get("/me").status_code == 200
    with database.writing() as session:
        keys.revoke_key(session, session.exec(select(ApiKey.id)).one())
    require_problem(anna.get("/me"), 401, "unauthorized")
    assert anna.get("/ui/experiments", headers=HTML).status_code == 303


def test_a_session_slides_while_it_is_used_and_no_further_than_a_week(
    anna: TestClient, database: Database
) -> None:
    began = the_session(database)
    assert began.expires_at - began.created_at == IDLE
    now = utc_now()
    change_session(database, seen_at=now - NOTED_EVERY / 2)
    anna.get("/me")
    assert the_session(database).seen_at == now - NOTED_EVERY / 2  # reads stay reads
    change_session(database, seen_at=now - NOTED_EVERY, expires_at=now + timedelta(hours=1))
    anna.get("/me")
    used = the_session(database)
    assert used.seen_at >= now
    assert used.expires_at == used.seen_at + IDLE
    old = now - LONGEST + timedelta(hours=1)
    change_session(database, seen_at=now - NOTED_EVERY, created_at=old)
    anna.get("/me")
    assert the_session(database).expires_at == old + LONGEST


def test_a_session_that_nobody_used_has_ended_and_the_next_login_forgets_it(
    anna: TestClient, api: TestClient, database: Database, secret: str
) -> None:
    change_session(database, expires_at=utc_now(), seen_at=utc_now() - IDLE)
    require_problem(anna.get("/me"), 401, "unauthorized")
    browser(api, secret)
    assert the_session(database).expires_at > utc_now()  # the only one


def test_a_key_has_a_bounded_number_of_sessions(database: Database, secret: str) -> None:
    with database.writing() as session:
        key_id = session.exec(select(ApiKey.id)).one()
        held = [sessions.begin(session, key_id) for _ in range(MOST_OF_A_KEY + 2)]
        found = [sessions.visit(session, one) is not None for one in held]
    assert found == [False] * 2 + [True] * MOST_OF_A_KEY


@pytest.mark.parametrize(
    "path", ["/ui/queue", "/ui/experiments", "/ui/compare?e=exp_1,exp_%C3%A9&x=1%262"]
)
def test_who_has_not_logged_in_is_led_to_the_form_and_back(
    api: TestClient, secret: str, path: str
) -> None:
    opened = browser(api)
    answer = opened.get(path, headers=HTML)
    assert answer.status_code == 303
    page = opened.get(answer.headers["location"])
    hidden = re.findall(r'name="next" value="([^"]*)"', page.text)[0].replace("&amp;", "&")
    assert hidden == path
    form = {"key": secret, "next": hidden}
    assert (
        opened.post("/ui/session", data=form, headers={"Origin": OWN}).headers["location"] == path
    )
    assert opened.get(path, headers=HTML).status_code != 303


def test_only_a_page_that_is_looked_at_leads_to_the_form(api: TestClient, secret: str) -> None:
    opened = browser(api)
    asked = [
        ("GET", "/ui/experiments", {}),
        ("GET", "/ui/experiments", {**HTML, "Authorization": "Bearer lab_wrong"}),
        ("POST", "/ui/experiments", HTML),
        ("GET", "/experiments", HTML),
        ("GET", "/uix", HTML),
    ]
    for method, path, headers in asked:
        require_problem(opened.request(method, path, headers=headers), 401, "unauthorized")
    assert opened.head("/ui/experiments", headers=HTML).status_code == 303
    require_problem(opened.get("/static/none.js"), 404, "not_found")


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil", "javascript:a", "ui"],
)
def test_nobody_is_led_elsewhere(api: TestClient, secret: str, wanted: str) -> None:
    opened = browser(api)
    problem = require_problem(
        opened.get("/ui/login", params={"next": wanted}), 422, "invalid_request"
    )
    assert problem["errors"][0]["pointer"] == "/next"
    form = {"key": secret, "next": wanted}
    answer = opened.post("/ui/session", data=form, headers={"Origin": OWN})
    require_problem(answer, 422, "invalid_request")
    assert "set-cookie" not in answer.headers


def test_wrong_keys_are_said_and_slowed_down(api: TestClient, secret: str) -> None:
    opened = browser(api)

    def log_in(key: str) -> Any:
        return opened.post("/ui/session", data={"key": key}, headers={"Origin": OWN})

    for number in range(WRONG_KEYS_A_MINUTE):
        answer = log_in(f"lab_wrong{number}")
        assert answer.status_code == 401
        assert 'role="alert">This key is not known' in answer.text
        assert "lab_wrong" not in answer.text
        assert "set-cookie" not in answer.headers
    answer = log_in(secret)
    assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert 1 <= int(answer.headers["retry-after"]) <= 12
    elsewhere = TestClient(
        api.app, client=("192.0.2.7", 1), follow_redirects=False, headers={"Origin": OWN}
    )
    assert elsewhere.post("/ui/session", data={"key": secret}).status_code == 303
    bad = browser(api).post("/ui/session", content=b"\xff", headers={"Origin": OWN})
    require_problem(bad, 422, "invalid_request")


def test_a_reading_key_changes_nothing_by_cookie_either(
    api: TestClient, database: Database
) -> None:
    reader = browser(api, make_key(database, "assistant", Role.READ))
    for method, path in (("POST", "/experiments"), ("PUT", "/datasets/x"), ("DELETE", "/runs/x")):
        require_problem(reader.request(method, path, headers={"Origin": OWN}), 403, "forbidden")
    assert reader.get("/experiments").status_code == 200
    assert reader.post("/ui/session/end", headers={"Origin": OWN}).status_code == 303


def test_a_key_in_the_header_goes_before_the_cookie(anna: TestClient, database: Database) -> None:
    ben = {"Authorization": f"Bearer {make_key(database, 'ben')}"}
    assert anna.get("/me", headers=ben).json()["owner"]["name"] == "ben"
    assert anna.post("/experiments", content=b"{}", headers=ben).json()["owner"] == "ben"
    wrong = anna.get("/me", headers={"Authorization": "Bearer lab_wrong"})
    require_problem(wrong, 401, "unauthorized")


@pytest.mark.sqlite
def test_who_asks_is_found_by_one_look(
    api: TestClient, anna: TestClient, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    glance = Database.glance

    def counted(self: Database, query: str, *parameters: str) -> Any:
        looked.append(query)
        return glance(self, query, *parameters)

    monkeypatch.setattr(Database, "glance", counted)
    for client, table in ((client_of(api, secret), "api_key"), (anna, SESSION)):
        looked.clear()
        assert client.get("/recipes").status_code == 200
        assert [re.findall(r"FROM (\w+)", query) for query in looked] == [[table]]


def test_a_service_without_keys_asks_nobody_to_log_in(api: TestClient) -> None:
    opened = browser(api)
    assert opened.get("/ui/experiments", headers=HTML).status_code != 303
    answer = opened.post("/ui/session", data={"key": ""}, headers={"Origin": OWN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/experiments")
    assert "set-cookie" not in answer.headers
    assert opened.post("/ui/session/code", headers={"Origin": OWN}).json() == {"code": None}
    opened.cookies["lab_session"] = "left from elsewhere"
    assert opened.post("/experiments", content=b"{}").status_code == 201


@pytest.mark.parametrize("role", [Role.READ, Role.SUBMIT])
def test_a_code_lets_a_browser_in_once(api: TestClient, database: Database, role: Role) -> None:
    key = client_of(api, make_key(database, "anna", role))
    address = {"code": key.post("/ui/session/code").json()["code"], "next": "/ui/experiments/exp_1"}
    opened = browser(api)
    stranger = opened.get("/ui/session", params=address, headers={"Sec-Fetch-Site": "cross-site"})
    require_problem(stranger, 403, "other_origin")
    answer = opened.get("/ui/session", params=address, headers={"Sec-Fetch-Site": "none"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/experiments/exp_1")
    assert opened.get("/me").json()["role"] == role
    second = browser(api).get("/ui/session", params=address)
    assert second.status_code == 401
    assert "was used already" in second.text


def test_a_code_that_is_old_or_whose_key_is_revoked_lets_nobody_in(
    api: TestClient, database: Database, secret: str
) -> None:
    codes = [client_of(api, secret).post("/ui/session/code").json()["code"] for _ in range(2)]
    with database.writing() as session:
        row = session.get_one(LoginCode, hashlib.sha256(codes[0].encode()).hexdigest())
        row.expires_at = utc_now()
    assert browser(api).get("/ui/session", params={"code": codes[0]}).status_code == 401
    with database.writing() as session:
        keys.revoke_keys_of(session, "anna")
    assert browser(api).get("/ui/session", params={"code": codes[1]}).status_code == 401
    with database.reading() as session:
        assert session.exec(select(LoginCode.sha256)).all() == []
