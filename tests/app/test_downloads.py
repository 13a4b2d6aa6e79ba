"""What a download gives: the published file and nothing else, whatever lies in a run's folder and whatever the address
says.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.files.folder import Folder
from app.storage.tables import Artifact, utc_now
from tests.app.studies import finish, send

SECRET = b"secret of the machine"
SHA256 = "0" * 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        home=tmp_path_factory.mktemp("downloads"), log_level="ERROR", _env_file=None
    )
    (settings.home / "secret.txt").write_bytes(SECRET)
    (settings.home / "outside").mkdir()
    (settings.home / "outside" / "weights.safetensors").write_bytes(SECRET)
    return settings


@pytest.fixture(scope="module")
def stored(home: Settings) -> Iterator[Database]:
    database = open_database(home)
    yield database
    database.close()


@pytest.fixture(scope="module")
def client(home: Settings, stored: Database) -> Iterator[TestClient]:
    with TestClient(create_app(home), raise_server_exceptions=False) as api:
        yield api


@pytest.fixture
def run_id(client: TestClient, home: Settings, stored: Database) -> str:
    """A succeeded run with published weights."""
    study = send(client, specs=[{"model": {"width": 8}, "epochs": 1}], seeds=1, reuse=False)
    finish(stored, home, study["id"], {})
    identifier: str = client.get(f"/experiments/{study['cells'][0]['experiment_id']}").json()[
        "runs"
    ][0]["id"]
    return identifier


def publish(database: Database, run_id: str, path: str, name: str = "it") -> None:
    with database.writing() as session:
        session.add(
            Artifact(
                run_id=run_id,
                name=name,
                media_type="text/html",
                path=path,
                sha256=SHA256,
                size_bytes=1,
                created_at=utc_now(),
            )
        )


def require_nothing(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (
        404,
        "application/problem+json",
    ), (address, answer.text)
    assert SECRET not in answer.content


def test_a_download_is_a_file_to_be_saved_and_never_a_page(
    client: TestClient, home: Settings, stored: Database, run_id: str
) -> None:
    (home.runs_folder / run_id / "page.html").write_text("<script>alert(1)</script>")
    publish(stored, run_id, "page.html", "page.html")
    answer = client.get(f"/runs/{run_id}/artifacts/page.html")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


PATHS = [
    "../../secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "..",
    ".",
    "",
    "/",
    "attempt-1",
    "nowhere",
    "x" * 5000,
]
PATHS += [
    "attempt-1/../../../secret.txt",
    "attempt-1/./../../../secret.txt",
    "attempt-1/weights.safetensors/x",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_recorded_path_cannot_leave_the_runs_folder(
    client: TestClient, stored: Database, run_id: str, path: str
) -> None:
    publish(stored, run_id, path)
    require_nothing(client, f"/runs/{run_id}/artifacts/it")


def test_a_path_with_nul_is_no_file(tmp_path: Path) -> None:
    assert Folder(tmp_path).path_of("run_1", "a\0b", "") is None


@pytest.mark.parametrize(
    "kind",
    ["file outside", "file inside", "relative", "folder", "loop", "dangling", "device", "pipe"],
)
def test_a_link_planted_in_the_folder_is_not_followed(
    client: TestClient, home: Settings, stored: Database, run_id: str, kind: str
) -> None:
    folder = home.runs_folder / run_id
    place = folder / "planted"
    match kind:
        case "file outside":
            place.symlink_to(home.home / "secret.txt")
        case "file inside":
            place.symlink_to(folder / "attempt-1" / "weights.safetensors")
        case "relative":
            place.symlink_to("../../secret.txt")
        case "folder":
            place.symlink_to(home.home / "outside")
        case "loop":
            place.symlink_to(place)
        case "dangling":
            place.symlink_to(home.home / "nowhere")
        case "device":
            place.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(place)
    publish(stored, run_id, "planted/weights.safetensors" if kind == "folder" else "planted")
    require_nothing(client, f"/runs/{run_id}/artifacts/it")


@pytest.mark.parametrize("what", ["file", "attempt", "run"])
def test_weights_replaced_by_a_link_are_neither_downloaded_nor_made_a_network_of(
    client: TestClient, home: Settings, run_id: str, what: str
) -> None:
    folder = home.runs_folder / run_id
    planted = {
        "file": folder / "attempt-1" / "weights.safetensors",
        "attempt": folder / "attempt-1",
        "run": folder,
    }[what]
    moved = home.home / "outside" / f"{run_id}-{what}"
    planted.rename(moved)
    planted.symlink_to(moved)
    for address in ("artifacts/weights.safetensors", "model.onnx"):
        require_nothing(client, f"/runs/{run_id}/{address}")
    answer = client.post(f"/runs/{run_id}/predict", json={"split": "test", "row": 0})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


NAMES = [
    "..%2f..%2fsecret.txt",
    "..%2F..%2F..%2Fsecret.txt",
    "%2e%2e/%2e%2e/secret.txt",
    "....//secret.txt",
    "..%5c..%5csecret.txt",
    "%2fetc%2fpasswd",
]
NAMES += [
    "it%00",
    "%00",
    "..%252fsecret.txt",
    "%c0%ae%c0%ae/secret.txt",
    "secret.txt",
    "attempt-1%2fweights.safetensors",
    "WEIGHTS.SAFETENSORS",
]
NAMES += ["x" * 10_000, "%F0%9F%98%80", "%ff"]


@pytest.mark.parametrize("name", NAMES)
def test_an_address_names_published_files_alone(client: TestClient, run_id: str, name: str) -> None:
    require_refused_or_missing(client, f"/runs/{run_id}/artifacts/{name}")
    require_refused_or_missing(client, f"/runs/{name}/artifacts/weights.safetensors")
    require_refused_or_missing(client, f"/runs/{name}/model.onnx")


def require_refused_or_missing(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code in (404, 422), (address, answer.status_code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.content


def test_another_runs_file_is_not_this_runs_artifact(
    client: TestClient, home: Settings, stored: Database, run_id: str
) -> None:
    other = home.runs_folder / "run_other"
    other.mkdir(exist_ok=True)
    (other / "weights.safetensors").write_bytes(SECRET)
    publish(stored, run_id, "../run_other/weights.safetensors")
    require_nothing(client, f"/runs/{run_id}/artifacts/it")
