"""The page for trying the API out: it comes from the service whole, and loads nothing from anywhere else."""

import hashlib
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from app.api.http.documentation import FILES, FOLDER, PATHS, POLICY
from app.main import create_app
from app.settings import Settings
from tests.app.test_api import require_problem

VENDORED = {  # swagger-ui-dist 5.35.0 as its registry serves it, Apache-2.0; a newer one changes these lines
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


def loaded_by(page: str) -> list[str]:
    """Addresses of what a browser fetches for this page, beyond what the page brings itself."""
    return [
        address
        for address in re.findall(r'(?:src|href)="([^"]+)"', page)
        if not address.startswith("data:") and address != "openapi.json"
    ]


def test_swagger_ui_is_the_published_one_byte_for_byte() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (FOLDER / "swagger-ui").iterdir()
    }
    assert found == VENDORED


def test_the_package_brings_every_file() -> None:
    root = FOLDER.parent.parent
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]["app"]
    for path in FOLDER.rglob("*"):
        name = str(path.relative_to(FOLDER.parent))
        assert path.is_dir() or any(
            fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns
        ), name


def test_the_page_loads_its_files_from_this_service_and_nothing_else(api: TestClient) -> None:
    page = api.get("/docs")
    assert page.headers["content-security-policy"] == POLICY
    addresses = loaded_by(page.text)
    assert {address.partition("?")[0] for address in addresses} == {
        f"docs/{name}" for name in FILES
    }
    for address in addresses:
        answer = api.get(urljoin("/docs", address))
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest().startswith(address.partition("?")[2])
        assert answer.headers["content-type"].startswith(
            "text/css" if ".css" in address else "text/javascript"
        )
        assert "immutable" in answer.headers["cache-control"]
        again = api.get(
            urljoin("/docs", address), headers={"If-None-Match": answer.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
    assert api.get("/openapi.json").status_code == 200


def test_its_policy_names_no_other_host_and_allows_no_script_within_the_page(
    api: TestClient,
) -> None:
    assert not re.search(r"https?:|\*", POLICY)
    assert "script-src 'self';" in POLICY
    page = api.get("/docs").text
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\son\w+=", page)
    assert "validatorUrl: null" in (FOLDER / "docs.js").read_text(), (
        "Swagger UI would send the description to a stranger to be checked"
    )


def test_other_names_under_it_are_nothing(api: TestClient) -> None:
    for path in (
        "/docs/x",
        "/docs/LICENSE",
        "/docs/..%2fdocs.js",
        "/docs/%2e%2e%2fapp.js",
        "/redoc",
    ):
        require_problem(api.get(path), 404, "not_found")


@pytest.mark.parametrize("path", sorted(PATHS))
def test_no_key_is_needed_for_it(tmp_path: Path, path: str) -> None:
    settings = Settings(home=tmp_path, log_level="ERROR", api_keys="on", _env_file=None)
    with TestClient(create_app(settings)) as api:
        assert api.get(path).status_code == 200
        assert api.get("/docs/x").status_code == 401
