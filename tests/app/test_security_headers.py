"""What a browser is told with every answer, and what pages of strangers cannot do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.http.documentation import POLICY as DOCS_POLICY
from app.api.http.security_headers import ALWAYS, OF_PAGES, PAGE_POLICY, UI_POLICY
from app.main import create_app
from app.settings import Settings
from tests.app.studies import grid, send
from tests.app.test_api import require_problem


def make_api(tmp_path: Path, host: str | None, **values: Any) -> TestClient:
    settings = Settings(home=tmp_path, log_level="ERROR", _env_file=None, **values)
    return TestClient(
        create_app(settings, host), base_url="http://localhost:8000", raise_server_exceptions=False
    )


@pytest.fixture
def local(tmp_path: Path) -> Iterator[TestClient]:
    """A service that knows to listen on loopback."""
    with make_api(tmp_path, "127.0.0.1") as api:
        yield api


def require_headers(answer: Any, policy: str = PAGE_POLICY) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers.get_list("content-security-policy") == [policy]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_every_answer_carries_the_headers_once(api: TestClient) -> None:
    experiment = api.post("/experiments", json={}).json()["id"]
    study = send(api, **grid(seeds=1))["id"]
    addresses = (
        "/healthz",
        f"/experiments/{experiment}",
        "/nowhere",
        f"/experiments/{experiment}/curves.svg",
        f"/studies/{study}/report.html",
    )
    for address in addresses:
        require_headers(api.get(address))
    require_headers(api.post("/experiments", content=b"nonsense"))
    require_headers(api.get("/docs"), DOCS_POLICY)
    assert len(ALWAYS) == 3


def test_a_page_loads_from_asks_and_sends_to_the_service_alone(tmp_path: Path) -> None:
    """A form of a page that lets no referrer out would say `Origin: null`, as those of strangers do."""
    with make_api(tmp_path, None, api_keys="on") as api:
        for path, status in (("/ui/login", 200), ("/ui/experiments", 401), ("/ui", 401)):
            answer = api.get(path)
            assert answer.status_code == status
            found = {name: answer.headers.get_list(name) for name in {**ALWAYS, **OF_PAGES}}
            assert found == {name: [value] for name, value in {**ALWAYS, **OF_PAGES}.items()}
        assert "unsafe" not in UI_POLICY
        require_headers(api.get("/uis"))


def test_an_unexpected_error_carries_them_too(api: TestClient) -> None:
    del api.app.state.settings  # type: ignore[attr-defined]
    answer = api.get("/datasets")
    require_problem(answer, 500, "internal")
    require_headers(answer)


def test_a_refusal_at_the_gate_carries_them_too(tmp_path: Path) -> None:
    with make_api(tmp_path, None, api_keys="on") as api:
        answer = api.get("/experiments")
        require_problem(answer, 401, "unauthorized")
        require_headers(answer)


def test_the_report_brings_everything_with_it(api: TestClient) -> None:
    study = send(api, **grid(seeds=1))["id"]
    page = api.get(f"/studies/{study}/report.html").text
    assert not re.search(r"<script(?![^>]*application/json)", page)
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


def test_a_report_that_was_saved_keeps_its_policy(api: TestClient) -> None:
    """The header stays behind; of the policy only who may frame the page cannot be said within it."""
    study = send(api, **grid(seeds=1))["id"]
    page = api.get(f"/studies/{study}/report.html").text
    within = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    assert within == [PAGE_POLICY.replace("frame-ancestors 'none'; ", "")]
    assert page.index("Content-Security-Policy") < min(page.index("<title>"), page.index("<style>"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:8001",
        "https://localhost:8000.evil.example",
        "http://localhost",
    ],
)
def test_a_page_of_somebody_else_starts_nothing(local: TestClient, origin: str) -> None:
    # what a browser sends without asking first
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = local.post(
            "/experiments", content=b"{}", headers={"Origin": origin, "Content-Type": content_type}
        )
        require_problem(answer, 403, "other_origin")
    preflight = local.options(
        "/experiments", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    require_problem(preflight, 403, "other_origin")
    require_headers(preflight)
    assert local.get("/experiments").json()["data"] == []


def test_a_page_of_the_service_itself_may_ask(local: TestClient) -> None:
    assert (
        local.post(
            "/experiments", content=b"{}", headers={"Origin": "http://localhost:8000"}
        ).status_code
        == 201
    )


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "127.0.0.1:8000",
        "127.0.0.1",
        "[::1]:8000",
        "[::1]",
        "LocalHost:80",
    ],
)
def test_on_loopback_a_service_goes_by_these_names(local: TestClient, host: str) -> None:
    assert local.get("/experiments", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "",
        "192.168.1.2",
        "127.0.0.1.evil.example:8000",
        "[::2]",
        "::1",
    ],
)
def test_on_loopback_a_name_that_was_made_to_point_here_is_refused(
    local: TestClient, host: str
) -> None:
    for path in ("/experiments", "/healthz", "/docs"):
        answer = local.get(path, headers={"Host": host})
        problem = require_problem(answer, 400, "unknown_host")
        assert "LAB_ALLOWED_HOSTS" in problem["detail"]
        require_headers(answer, DOCS_POLICY if path == "/docs" else PAGE_POLICY)


def test_further_names_are_a_setting(tmp_path: Path) -> None:
    with make_api(tmp_path, "127.0.0.1", allowed_hosts="lab.example.org, other:8443") as api:
        names = ("lab.example.org", "Lab.Example.Org:443", "other", "third")
        assert [api.get("/healthz", headers={"Host": name}).status_code for name in names] == [
            200, 200, 200, 400,
        ]  # fmt: skip
        proxied = {"Host": "127.0.0.1:8000", "Origin": "https://lab.example.org"}
        assert api.post("/experiments", content=b"{}", headers=proxied).status_code == 201


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", None])
def test_a_service_for_a_network_goes_by_any_name(tmp_path: Path, host: str | None) -> None:
    with make_api(tmp_path, host) as api:
        assert api.get("/healthz", headers={"Host": "lab.example.org"}).status_code == 200


def test_a_service_on_a_network_that_is_given_names_answers_to_them_and_to_loopback_alone(
    tmp_path: Path,
) -> None:
    with make_api(tmp_path, "0.0.0.0", allowed_hosts="gpubox") as api:
        for host, status in (
            ("gpubox:8000", 200),
            ("localhost:8000", 200),
            ("127.0.0.1", 200),
            ("evil.example.org", 400),
        ):
            assert api.get("/healthz", headers={"Host": host}).status_code == status, host
