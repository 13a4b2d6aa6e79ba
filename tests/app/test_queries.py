"""Every route refuses a query parameter that it does not know, answers HEAD wherever it answers GET, and is the same
with a slash at its end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.api.http.error_handlers import FIRST_WORDS
from app.main import create_app
from app.settings import Settings

PLACES = {
    "experiment_id": "exp_none",
    "study_id": "stu_none",
    "run_id": "run_none",
    "webhook_id": "whk_none",
    "delivery_id": "msg_none",
    "extension": "png",
    "split": "test",
    "row": "0",
    "name": "digits",
}


ENDLESS = "/events"
"""Is answered for as long as somebody reads."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return create_app(
        Settings(home=tmp_path_factory.mktemp("queries"), log_level="ERROR", _env_file=None)
    )


@pytest.fixture(scope="module")
def api(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def operations(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method, path.format(**PLACES))
        for path, found in app.openapi()["paths"].items()
        for method in found
    ]


def fields(answer: Any) -> dict[str, Any]:
    return {error["pointer"]: error for error in answer.json()["errors"]}


def test_every_route_refuses_a_parameter_that_it_does_not_know(
    app: FastAPI, api: TestClient
) -> None:
    asked = operations(app)
    assert len(asked) > 60
    for method, path in asked:
        answer = api.request(method, path, params={"zzz": "1"})
        assert answer.status_code == 422, f"{method} {path}"
        assert fields(answer)["/zzz"]["message"] == "unknown query parameter"


@pytest.mark.parametrize("wrong", ["dryrun", "dry-run", "dryRun", "dry_runs"])
@pytest.mark.parametrize("path", ["/experiments", "/studies"])
def test_a_misspelt_dry_run_stores_nothing_and_is_told_its_name(
    api: TestClient, path: str, wrong: str
) -> None:
    answer = api.post(path, params={wrong: "true"}, json={})
    assert answer.status_code == 422
    assert fields(answer)[f"/{wrong}"]["hint"] == "did you mean 'dry_run'?"
    assert api.get(path).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "wrong", "hint"),
    [
        ("/experiments/exp_none", "wiat=1", "did you mean 'wait'?"),
        ("/experiments/exp_none/curves.png", "metrics=accuracy", "did you mean 'metric'?"),
        ("/experiments/exp_none/confusion-matrix.png", "normalise=false", "'normalize'?"),
        ("/experiments/exp_none/metrics", "formt=csv", "did you mean 'format'?"),
        ("/studies/stu_none/table", "Format=md", "did you mean 'format'?"),
        ("/queue", "title=My%20title", "allowed: limit"),
        ("/healthz", "x=1", "there are none here"),
    ],
)
def test_a_misspelt_option_is_not_without_effect(
    api: TestClient, path: str, wrong: str, hint: str
) -> None:
    answer = api.get(f"{path}?{wrong}")
    assert answer.status_code == 422
    assert fields(answer)[f"/{wrong.partition('=')[0]}"]["hint"].endswith(hint)


def test_several_unknown_ones_are_all_named_and_a_known_one_among_them_is_not(
    api: TestClient,
) -> None:
    answer = api.get("/experiments/exp_none/metrics?formt=csv&format=csv&spilt=val&formt=md")
    assert list(fields(answer)) == ["/formt", "/spilt"]


def test_head_is_get_without_the_content(app: FastAPI, api: TestClient) -> None:
    own = ("x-request-id", "date", "content-length")
    reads = [path for method, path in operations(app) if method == "get" and path != ENDLESS]
    assert api.head(ENDLESS).headers["content-type"].startswith("text/event-stream")
    for path in [*reads, "/docs", "/openapi.json", "/nothing"]:
        got, asked = api.get(path), api.head(path)
        assert asked.status_code == got.status_code, path
        assert asked.content == b"", path
        assert {k: v for k, v in asked.headers.items() if k not in own} == {
            k: v for k, v in got.headers.items() if k not in own
        }, path


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_slash_at_the_end_changes_nothing(app: FastAPI, api: TestClient, slashes: str) -> None:
    for method, path in operations(app):
        if method == "get" and path not in ("/metrics", ENDLESS):
            plain, slashed = api.get(path), api.get(path + slashes, follow_redirects=False)
            assert (slashed.status_code, slashed.headers["content-type"]) == (
                plain.status_code,
                plain.headers["content-type"],
            ), path
    priced = api.post(f"/experiments{slashes}?dry_run=true", json={}, follow_redirects=False)
    assert priced.status_code == 200
    assert priced.json()["valid"]
    assert api.get("/docs/", follow_redirects=False).headers["location"].endswith("/docs")
    answer = api.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/experiments")
    assert answer.json()["routes"] == "/docs", "curl follows no redirect, and prints this"


def test_head_of_what_cannot_be_read_names_what_can_be_done(api: TestClient) -> None:
    refused = api.head("/experiments/exp_none/pause")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "POST"
    assert api.put("/experiments").headers["Allow"] == "GET, HEAD, POST"


def test_a_request_for_the_headers_is_counted_under_its_own_method_and_address(
    api: TestClient,
) -> None:
    api.head("/experiments/exp_none")
    counted = api.get("/metrics").text
    assert 'method="HEAD",route="/experiments/{experiment_id}",status="404"' in counted


def test_an_upload_with_an_unknown_option_leaves_nothing_behind(
    app: FastAPI, tmp_path: Path
) -> None:
    fresh = Settings(home=tmp_path / "home", log_level="ERROR", _env_file=None)
    with TestClient(create_app(fresh)) as api:
        assert api.put("/datasets/mine?sizes=3", content=b"no zip").status_code == 422
        assert not fresh.imported_folder.exists() or not list(fresh.imported_folder.iterdir())


@pytest.mark.parametrize("query", ["dry_run=true&dry_run=false", "dry_run=true&dry_run=true"])
@pytest.mark.parametrize("path", ["/experiments", "/studies"])
def test_what_is_said_twice_is_said_in_no_way(api: TestClient, path: str, query: str) -> None:
    answer = api.post(f"{path}?{query}", json={"epochs": 1})
    assert answer.status_code == 422
    assert fields(answer)["/dry_run"]["message"] == "is given more than once"
    assert api.get(path).json()["data"] == []


def test_a_list_may_be_given_in_parts_and_a_limit_once(api: TestClient) -> None:
    assert api.get("/experiments?status=queued&status=running").status_code == 200
    assert api.get("/experiments?label=a:1&label=b:2").status_code == 200
    assert "/limit" in fields(api.get("/experiments?limit=1&limit=2"))


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/openapi//json", ""),
        ("/experiments//exp_none//curves.png", "did you mean /experiments/exp_none/curves.png? "),
        ("/Experiments", "did you mean /experiments? "),
        ("/experiment/exp_none", "did you mean /experiments/exp_none? "),
        ("/data-sets", "did you mean /datasets? "),
        ("/wp-admin/index.php", ""),
        ("/experiments/" + "a/" * 500, ""),
    ],
)
def test_an_address_that_is_none_is_told_what_it_may_have_meant(
    api: TestClient, path: str, meant: str
) -> None:
    detail = api.get(path).json()["detail"]
    assert detail.endswith(f"; {meant}GET /docs shows what is")


def test_the_words_that_addresses_begin_with_are_known(app: FastAPI) -> None:
    served = {path.split("/")[1] for path in app.openapi()["paths"]}
    assert served - {""} | {"docs", "openapi.json", "ui"} == set(FIRST_WORDS)
