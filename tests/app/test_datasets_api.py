"""Data sets over HTTP and on the command line: people's own images go in whole or not at all, are listed, used and removed."""

import asyncio
import errno
import io
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient

from app.api import datasets as datasets_api
from app.cli import main
from app.errors import UploadInterrupted
from app.main import create_app
from app.settings import Settings
from lab_models.datasets import importing
from lab_models.datasets.catalog import DIGITS, MNIST
from lab_models.datasets.preparation import RawDataset, open_prepared
from tests.e2e.service import Service, wait_until


def png(side: int = 6, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (side, side, 3)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def flowers(**others: bytes) -> dict[str, bytes]:
    names = [f"flowers/{split}/{kind}/{number}.png" for split in ("train", "test") for kind in ("rose", "tulip") for number in range(3)]
    return {name: png(seed=number) for number, name in enumerate(names)} | others


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def put(api: TestClient, content: Any = None, name: str = "flowers", **query: Any) -> Any:
    return api.put(f"/datasets/{name}", content=zipped(flowers()) if content is None else content, params=query)


def require_problem(answer: Any, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    return answer.json()


def names(api: TestClient) -> list[str]:
    return [record["name"] for record in api.get("/datasets").json()["data"]]


def left_over(settings: Settings) -> list[str]:
    """Files of uploads and imports, the empty lock files left out."""
    folders = (settings.imported_folder, settings.home / "uploads")
    return [str(path) for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


BUILT_IN = ["digits", "mnist", "cifar10", "cifar100"]


def test_a_zip_becomes_a_data_set_that_is_shown_used_and_removed(api: TestClient, settings: Settings) -> None:
    answer = put(api)
    assert (answer.status_code, answer.headers["location"]) == (201, "/datasets/flowers")
    record = answer.json()
    facts = {"shape": [3, 6, 6], "num_classes": 2, "class_names": ["rose", "tulip"], "num_train": 6, "num_test": 6, "imported": True, "notes": []}
    assert {key: record[key] for key in facts} == facts
    assert len(record["mean"]) == len(record["std"]) == 3
    assert len(record["sha256"]) == 64
    assert api.get("/datasets/flowers").json() == api.get("/datasets").json()["data"][-1] == record
    assert names(api) == [*BUILT_IN, "flowers"]
    experiment = api.post("/experiments", json={"dataset": "flowers", "model": {"depth": 1, "width": 8}})
    assert experiment.status_code == 201, experiment.text
    assert experiment.json()["estimate"]["parameters"] == 108 * 8 + 8 + 8 * 2 + 2
    api.post(f"/experiments/{experiment.json()['id']}/cancel")
    answer = api.delete("/datasets/flowers")
    assert (answer.status_code, answer.content) == (204, b"")
    require_problem(api.get("/datasets/flowers"), 404, "not_found")
    assert names(api) == BUILT_IN
    assert left_over(settings) == []


def test_another_service_on_the_same_home_shows_it_too(api: TestClient, settings: Settings) -> None:
    record = put(api).json()
    with TestClient(create_app(settings)) as other:
        assert other.get("/datasets/flowers").json() == record


def test_size_and_channels_may_be_asked_for(api: TestClient) -> None:
    assert put(api, size=16, channels=1).json()["shape"] == [1, 16, 16]


def test_bad_files_are_named_by_their_path_in_the_zip_and_nothing_is_kept(api: TestClient, settings: Settings) -> None:
    bad = {"flowers/train/rose/no.png": b"no image", "flowers/test/tulip/cut.png": png()[:70]}
    problem = require_problem(put(api, zipped(flowers() | bad), size=8), 422, "import_refused")
    assert [error["pointer"] for error in problem["errors"]] == ["flowers/train/rose/no.png", "flowers/test/tulip/cut.png"]
    assert problem["errors"][0]["message"] == "not an image of the formats PNG, JPEG, BMP, GIF, WEBP"
    assert problem["detail"] == "2 files cannot be taken"
    assert names(api) == BUILT_IN
    assert left_over(settings) == []
    assert put(api).status_code == 201


@pytest.mark.parametrize("content", [b"", b"hello", b'{"name": "flowers"}', b"PK\x03\x04" + b"\0" * 1000])
def test_a_body_that_is_no_zip_is_refused(api: TestClient, content: bytes, settings: Settings) -> None:
    problem = require_problem(put(api, content), 422, "import_refused")
    assert "this is no zip file that can be read" in problem["detail"]
    assert left_over(settings) == []


def test_a_form_is_refused_with_the_command_that_works(api: TestClient) -> None:
    answer = api.put("/datasets/flowers", files={"file": zipped(flowers())})
    assert "curl -T" in require_problem(answer, 422, "invalid_request")["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"), [({"size": 0}, "/size"), ({"size": 513}, "/size"), ({"size": "big"}, "/size"), ({"channels": 2}, "/channels"), ({"sice": 8}, "/sice")]
)
def test_a_bad_query_is_refused_before_anything_is_read(api: TestClient, query: dict[str, Any], pointer: str) -> None:
    problem = require_problem(put(api, **query), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("name", ["Flowers", "-a", "a.b", "a%20b", "%2e%2e", "a" * 61, "ü"])
def test_a_name_that_is_none_is_refused(api: TestClient, name: str, settings: Settings) -> None:
    problem = require_problem(put(api, name=name), 422, "import_refused")
    assert problem["errors"][0]["pointer"] == "/name"
    assert not settings.imported_folder.exists()
    require_problem(api.get(f"/datasets/{name}"), 404, "not_found")


def test_a_name_that_is_taken_is_a_conflict(api: TestClient) -> None:
    before = put(api).json()
    assert "remove it first" in require_problem(put(api), 409, "conflict")["detail"]
    assert "built-in" in require_problem(put(api, name="mnist"), 409, "conflict")["detail"]
    assert api.get("/datasets/flowers").json() == before


def test_an_upload_over_the_limit_is_413_however_it_comes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, max_upload_bytes=5000, log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        assert "LAB_MAX_UPLOAD_BYTES" in require_problem(put(api, b"\0" * 5001), 413, "upload_too_large")["detail"]
        require_problem(put(api, (b"\0" * 1000 for _ in range(50))), 413, "upload_too_large")
        assert left_over(settings) == []
        require_problem(put(api, b"\0" * 5000), 422, "import_refused")


def test_more_images_than_the_settings_allow_are_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, max_images=11, log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        assert "12 images are more than 11" in require_problem(put(api), 422, "import_refused")["detail"]


def test_a_data_set_in_use_stays_until_the_experiment_has_ended(api: TestClient) -> None:
    put(api)
    ids = [api.post("/experiments", json={"dataset": {"name": "flowers"}, "seeds": 2}).json()["id"] for _ in range(5)]
    other = api.post("/experiments", json={"dataset": "digits", "name": "flowers", "labels": {"dataset": "flowers"}}).json()["id"]
    problem = require_problem(api.delete("/datasets/flowers"), 409, "conflict")
    assert f"used by {ids[0]}, {ids[1]}, {ids[2]} and 2 more" in problem["detail"]
    for number, experiment in enumerate(ids):
        assert api.get("/datasets/flowers").status_code == 200, number
        api.post(f"/experiments/{experiment}/cancel")
    assert api.get(f"/experiments/{other}").json()["status"] == "queued"
    assert api.delete("/datasets/flowers").status_code == 204
    problem = require_problem(api.post("/experiments", json={"dataset": "flowers"}), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/dataset"


def test_what_is_built_in_or_not_there_cannot_be_removed(api: TestClient) -> None:
    require_problem(api.delete("/datasets/digits"), 409, "conflict")
    require_problem(api.delete("/datasets/flowers"), 404, "not_found")
    require_problem(api.delete("/datasets/%2e%2e"), 404, "not_found")


def test_a_damaged_data_set_is_not_shown_and_can_be_removed_and_imported_again(api: TestClient, settings: Settings) -> None:
    put(api)
    (settings.imported_folder / "flowers" / "manifest.json").write_text("{")
    assert names(api) == BUILT_IN
    require_problem(put(api), 409, "conflict")
    assert api.delete("/datasets/flowers").status_code == 204
    assert put(api).status_code == 201


def test_a_prepared_data_set_shows_its_sum_and_what_its_copy_lacks(api: TestClient, settings: Settings) -> None:
    assert api.get("/datasets/mnist").json()["sha256"] is None
    some = RawDataset(np.zeros((5, 1, 28, 28), np.uint8), np.arange(5), np.zeros((3, 1, 28, 28), np.uint8), np.arange(3))
    prepared = open_prepared(MNIST, settings.prepared_folder, lambda: some, partial=True)
    record = api.get("/datasets/mnist").json()
    assert (record["num_train"], record["num_test"], record["sha256"]) == (5, 3, prepared.sha256)
    assert record["notes"] == [prepared.notes[0]]
    assert "5 of 60,000 training images" in record["notes"][0]
    assert api.get("/datasets/digits").json()["num_train"] == DIGITS.num_train


def test_a_full_disk_is_said_and_nothing_is_left(api: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(importing, "seal", full)
        assert "No space left" in require_problem(put(api), 507, "storage_full")["detail"]
    assert left_over(settings) == []
    assert put(api).status_code == 201


def test_a_client_that_sends_nothing_any_more_is_given_up(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [{"type": "http.request", "body": b"a part", "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.sleep(60)

    monkeypatch.setattr(datasets_api, "UPLOAD_IDLE_SECONDS", 0.01)
    with (tmp_path / "upload").open("wb") as file, pytest.raises(UploadInterrupted, match="ended after 6 bytes"):
        asyncio.run(datasets_api._receive(Request({"type": "http"}, receive), file, settings))


# A service in a process of its own


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"))
    running.api()
    yield running
    running.stop()


LabData = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab_data(service: Service, capsys: pytest.CaptureFixture[str]) -> LabData:
    """`lab data …` in this process: exit status, standard output and error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["data", *map(str, arguments), "--url", f"http://127.0.0.1:{service.port}"])
        return status, *capsys.readouterr()

    return run


def half_an_upload(service: Service, name: str) -> socket.socket:
    """A client that has sent a part of its zip and then waits."""
    body = zipped(flowers())
    head = f"PUT /datasets/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    connection = socket.create_connection(("127.0.0.1", service.port))
    connection.sendall(head + body[: len(body) // 2])
    return connection


def test_while_one_upload_of_a_name_goes_on_another_is_refused_and_everything_else_is_served(service: Service) -> None:
    with half_an_upload(service, "slow"):
        wait_until((service.home / "imported" / ".slow.lock").exists, 10, "the first upload has begun")
        service.get("/healthz")  # whoever opened that file has locked it before anything else is served
        answer = service.http.put("/datasets/slow", content=zipped(flowers()))
        assert answer.status_code == 409
        assert "being imported or removed right now" in answer.json()["detail"]
        assert service.http.delete("/datasets/slow").status_code == 404
        assert service.http.put("/datasets/other", content=zipped(flowers())).status_code == 201
        assert service.submit({"dataset": "other"})["status"] == "queued"
    wait_until(lambda: service.http.put("/datasets/slow", content=zipped(flowers())).status_code == 201, 10, "an abandoned upload frees the name")
    assert "Traceback" not in service.read_log()
    assert list((service.home / "uploads").iterdir()) == []


def test_the_service_answers_others_while_it_reads_images(service: Service) -> None:
    body = zipped({f"{name}/{number}.png": content for name, content in (("a", png(700)), ("b", png(700, 1))) for number in range(40)})
    done: list[int] = []

    def upload() -> None:
        done.append(service.http.put("/datasets/large", content=body, params={"size": 64}).status_code)

    thread = threading.Thread(target=upload)
    thread.start()
    waits, started = [], time.monotonic()
    while thread.is_alive():
        began = time.monotonic()
        service.get("/healthz")
        waits.append(time.monotonic() - began)
    thread.join()
    assert done == [201]
    assert len(waits) > 5
    assert max(waits) < 0.4 * (time.monotonic() - started)


def test_the_command_line_imports_a_folder_or_a_zip_lists_and_removes(service: Service, lab_data: LabData, tmp_path: Path) -> None:
    for name, content in flowers().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "flowers" / ".hidden").write_text("not sent")
    status, printed, _ = lab_data("import", "mine", tmp_path / "flowers")
    assert status == 0
    assert json.loads(printed) == service.get("/datasets/mine")
    (tmp_path / "in.zip").write_bytes(zipped(flowers()))
    status, printed, progress = lab_data("import", "yours", tmp_path / "in.zip", "--size", 8, "--channels", 1)
    assert status == 0
    assert json.loads(printed)["shape"] == [1, 8, 8]
    assert "sent" in progress
    table = lab_data("list")[1].splitlines()
    assert table[0].split() == ["name", "train", "test", "image", "classes", "from"]
    assert table[2].split() == ["mnist", "60,000", "10,000", "28x28", "grey", "10", "built", "in"]
    assert next(line.split()[:6] for line in table if line.startswith("mine")) == ["mine", "6", "6", "6x6", "RGB", "2"]
    assert lab_data("remove", "yours") == (0, "", "yours is removed\n")
    assert lab_data("remove", "yours") == (1, "", "Not found (404): there is no imported data set 'yours'; GET /datasets lists all\n")


def test_the_command_line_prints_every_bad_file_on_a_line_of_its_own(lab_data: LabData, tmp_path: Path) -> None:
    bad = {f"flowers/train/rose/bad{number}.png": b"no image" for number in range(3)}
    (tmp_path / "in.zip").write_bytes(zipped(flowers() | bad))
    status, _, complaint = lab_data("import", "bad", tmp_path / "in.zip")
    assert status == 1
    lines = complaint.splitlines()[-4:]
    assert lines[0] == "These images cannot become a data set (422)"
    assert lines[1] == "  flowers/train/rose/bad0.png: not an image of the formats PNG, JPEG, BMP, GIF, WEBP"
    assert len(lines) == 4


def test_the_command_line_says_that_a_file_is_not_there(lab_data: LabData, tmp_path: Path) -> None:
    assert lab_data("import", "none", tmp_path / "none.zip") == (2, "", f"{tmp_path / 'none.zip'}: there is no such file or folder\n")
