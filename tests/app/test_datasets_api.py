"""Data sets over HTTP and on the command line: people's own images go in whole or not at all, are listed, used and
removed.
"""

import asyncio
import contextlib
import errno
import io
import json
import os
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.testclient import TestClient

from app.api.catalog import datasets as datasets_api
from app.commands.__main__ import main
from app.errors import UploadInterrupted
from app.main import create_app
from app.roles import Role
from app.settings import Settings
from app.storage.db import Database, open_database
from lab_models.datasets import catalog, importing, taking_in
from lab_models.datasets.catalog import DIGITS, MNIST
from lab_models.datasets.importing import owners_turn
from lab_models.datasets.preparation import RawDataset, open_prepared
from tests.app.people import caller, make_key
from tests.e2e.service import Service, wait_until


def png(side: int = 6, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(
        np.random.RandomState(seed).randint(0, 256, (side, side, 3)).astype(np.uint8)
    ).save(file, "PNG")
    return file.getvalue()


def flowers(**others: bytes) -> dict[str, bytes]:
    names = [
        f"flowers/{split}/{kind}/{number}.png"
        for split in ("train", "test")
        for kind in ("rose", "tulip")
        for number in range(3)
    ]
    return {name: png(seed=number) for number, name in enumerate(names)} | others


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def put(api: TestClient, content: Any = None, name: str = "flowers", **query: Any) -> Any:
    return api.put(
        f"/datasets/{name}", content=zipped(flowers()) if content is None else content, params=query
    )


def require_problem(answer: Any, status: int, code: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    return answer.json()


def names(api: TestClient) -> list[str]:
    return [record["name"] for record in api.get("/datasets").json()["data"]]


def left_over(settings: Settings) -> list[str]:
    """Files of uploads and imports, locks too."""
    folders = (settings.imported_folder, settings.home / "uploads")
    return [str(path) for folder in folders for path in folder.rglob("*") if path.is_file()]


BUILT_IN = list(catalog.BUILT_IN)


def test_a_zip_becomes_a_data_set_that_is_shown_used_and_removed(
    api: TestClient, settings: Settings
) -> None:
    answer = put(api)
    assert (answer.status_code, answer.headers["location"]) == (201, "/datasets/flowers")
    record = answer.json()
    facts = {
        "shape": [3, 6, 6],
        "num_classes": 2,
        "class_names": ["rose", "tulip"],
        "num_train": 6,
        "num_test": 6,
        "imported": True,
        "notes": [],
    }
    assert {key: record[key] for key in facts} == facts
    assert len(record["mean"]) == len(record["std"]) == 3
    assert len(record["sha256"]) == 64
    assert api.get("/datasets/flowers").json() == api.get("/datasets").json()["data"][-1] == record
    assert names(api) == [*BUILT_IN, "flowers"]
    experiment = api.post(
        "/experiments", json={"dataset": "flowers", "model": {"depth": 1, "width": 8}}
    )
    assert experiment.status_code == 201, experiment.text
    assert experiment.json()["estimate"]["parameters"] == 108 * 8 + 8 + 8 * 2 + 2
    api.post(f"/experiments/{experiment.json()['id']}/cancel")
    answer = api.delete("/datasets/flowers")
    assert (answer.status_code, answer.json()) == (
        200,
        {"name": "flowers", "trained_experiments": 0, "cannot_predict": 0, "notes": []},
    ), "what was cancelled was not trained"
    require_problem(api.get("/datasets/flowers"), 404, "not_found")
    assert names(api) == BUILT_IN
    assert left_over(settings) == []


def test_a_published_validation_split_is_shown_asked_for_and_missed(api: TestClient) -> None:
    own = {f"flowers/valid/{kind}/1.png": png(seed=ord(kind[0])) for kind in ("rose", "tulip")}
    record = put(api, zipped(flowers(**own))).json()
    assert (record["num_train"], record["num_val"], record["num_test"]) == (8, 2, 6)
    assert "'dataset.val': 'published'" in record["source"]

    def dry(**dataset: Any) -> Any:
        body = {"dataset": {"name": "flowers", **dataset}, "batch_size": 2, "epochs": 3}
        return api.post("/experiments?dry_run=true", json=body)

    assert "flowers has a validation split of its own, of 2 images" in dry().text
    published = dry(val="published")
    assert "of its own" not in published.text
    assert published.json()["estimate"]["steps"] == 3 * 3
    (error,) = require_problem(dry(name="digits", val="published"), 422, "invalid_request")[
        "errors"
    ]
    assert (error["pointer"], error["message"]) == (
        "/dataset/val",
        "digits has no validation split of its own",
    )
    listed = {one["name"]: one["num_val"] for one in api.get("/datasets").json()["data"]}
    assert {name for name, number in listed.items() if number} == {"flowers"}
    assert listed["flowers"] == 2


def test_another_service_on_the_same_home_shows_it_too(api: TestClient, settings: Settings) -> None:
    record = put(api).json()
    with TestClient(create_app(settings)) as other:
        assert other.get("/datasets/flowers").json() == record


def test_size_and_channels_may_be_asked_for(api: TestClient) -> None:
    assert put(api, size=5, channels=1).json()["shape"] == [1, 5, 5]


def test_an_image_is_enlarged_only_when_that_is_asked_for(
    api: TestClient, settings: Settings
) -> None:
    problem = require_problem(put(api, size=16), 422, "import_refused")
    assert problem["errors"][0]["pointer"] == "/size"
    assert "12 of 12 images are smaller than 16x16 pixels" in problem["detail"]
    assert "`enlarge=true`" in problem["detail"]
    assert (
        require_problem(put(api, enlarge=True), 422, "import_refused")["errors"][0]["pointer"]
        == "/enlarge"
    )
    assert left_over(settings) == []
    record = put(api, size=16, enlarge=True).json()
    assert (record["shape"], record["source"]) == (
        [3, 16, 16],
        "imported from 12 image files; 12 of them were smaller and were enlarged",
    )


def test_bad_files_are_named_by_their_path_in_the_zip_and_nothing_is_kept(
    api: TestClient, settings: Settings
) -> None:
    bad = {"flowers/train/rose/no.png": b"no image", "flowers/test/tulip/cut.png": png()[:70]}
    problem = require_problem(put(api, zipped(flowers() | bad), size=6), 422, "import_refused")
    assert [error["pointer"] for error in problem["errors"]] == [
        "flowers/train/rose/no.png",
        "flowers/test/tulip/cut.png",
    ]
    assert (
        problem["errors"][0]["message"]
        == "not an image of the formats PNG, JPEG, BMP, GIF, WEBP, PPM, TIFF"
    )
    assert problem["detail"] == "2 files cannot be taken"
    assert names(api) == BUILT_IN
    assert left_over(settings) == []
    assert put(api).status_code == 201


@pytest.mark.parametrize(
    "content", [b"", b"hello", b'{"name": "flowers"}', b"PK\x03\x04" + b"\0" * 1000]
)
def test_a_body_that_is_no_zip_is_refused(
    api: TestClient, content: bytes, settings: Settings
) -> None:
    problem = require_problem(put(api, content), 422, "import_refused")
    said = "this is no zip file that can be read" if content else "this is an empty file; send"
    assert said in problem["detail"]
    assert left_over(settings) == []


def test_a_form_is_refused_with_the_command_that_works(api: TestClient) -> None:
    answer = api.put("/datasets/flowers", files={"file": zipped(flowers())})
    assert "curl -T" in require_problem(answer, 422, "invalid_request")["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"size": 0}, "/size"),
        ({"size": 513}, "/size"),
        ({"size": "big"}, "/size"),
        ({"channels": 2}, "/channels"),
        ({"sice": 8}, "/sice"),
    ],
)
def test_a_bad_query_is_refused_before_anything_is_read(
    api: TestClient, query: dict[str, Any], pointer: str
) -> None:
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
        assert (
            "LAB_MAX_UPLOAD_BYTES"
            in require_problem(put(api, b"\0" * 5001), 413, "upload_too_large")["detail"]
        )
        require_problem(put(api, (b"\0" * 1000 for _ in range(50))), 413, "upload_too_large")
        assert left_over(settings) == []
        require_problem(put(api, b"\0" * 5000), 422, "import_refused")


def test_more_images_than_the_settings_allow_are_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, max_images=11, log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        assert (
            "12 images are more than 11"
            in require_problem(put(api), 422, "import_refused")["detail"]
        )


def test_a_data_set_in_use_stays_until_the_experiment_has_ended(api: TestClient) -> None:
    put(api)
    ids = [
        api.post("/experiments", json={"dataset": {"name": "flowers"}, "seeds": 2}).json()["id"]
        for _ in range(5)
    ]
    other = api.post(
        "/experiments",
        json={"dataset": "digits", "name": "flowers", "labels": {"dataset": "flowers"}},
    ).json()["id"]
    problem = require_problem(api.delete("/datasets/flowers"), 409, "conflict")
    assert f"used by {ids[0]}, {ids[1]}, {ids[2]} and 2 more" in problem["detail"]
    for number, experiment in enumerate(ids):
        assert api.get("/datasets/flowers").status_code == 200, number
        api.post(f"/experiments/{experiment}/cancel")
    assert api.get(f"/experiments/{other}").json()["status"] == "queued"
    assert api.delete("/datasets/flowers").status_code == 200
    problem = require_problem(
        api.post("/experiments", json={"dataset": "flowers"}), 422, "invalid_request"
    )
    assert problem["errors"][0]["pointer"] == "/dataset"


def test_what_is_built_in_or_not_there_cannot_be_removed(api: TestClient) -> None:
    require_problem(api.delete("/datasets/digits"), 409, "conflict")
    require_problem(api.delete("/datasets/flowers"), 404, "not_found")
    require_problem(api.delete("/datasets/%2e%2e"), 404, "not_found")


def test_a_damaged_data_set_is_not_shown_and_can_be_removed_and_imported_again(
    api: TestClient, settings: Settings
) -> None:
    put(api)
    (settings.imported_folder / "flowers" / "manifest.json").write_text("{")
    assert names(api) == BUILT_IN
    require_problem(put(api), 409, "conflict")
    assert api.delete("/datasets/flowers").status_code == 200
    assert put(api).status_code == 201


def test_a_prepared_data_set_shows_its_sum_and_what_its_copy_lacks(
    api: TestClient, settings: Settings
) -> None:
    assert api.get("/datasets/mnist").json()["sha256"] is None
    some = RawDataset(
        np.zeros((5, 1, 28, 28), np.uint8),
        np.arange(5),
        np.zeros((3, 1, 28, 28), np.uint8),
        np.arange(3),
    )
    prepared = open_prepared(MNIST, settings.prepared_folder, lambda: some, partial=True)
    record = api.get("/datasets/mnist").json()
    assert (record["num_train"], record["num_test"], record["sha256"]) == (5, 3, prepared.sha256)
    assert record["notes"] == [prepared.notes[0]]
    assert "5 of 60,000 training images" in record["notes"][0]
    assert api.get("/datasets/digits").json()["num_train"] == DIGITS.num_train


def test_a_full_disk_is_said_and_nothing_is_left(
    api: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(importing, "seal", full)
        assert "No space left" in require_problem(put(api), 507, "storage_full")["detail"]
    assert left_over(settings) == []
    assert put(api).status_code == 201


def test_a_client_that_sends_nothing_any_more_is_given_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [{"type": "http.request", "body": b"a part", "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.sleep(60)

    monkeypatch.setattr(datasets_api, "UPLOAD_IDLE_SECONDS", 0.01)
    with (
        (tmp_path / "upload").open("wb") as file,
        pytest.raises(UploadInterrupted, match="ended after 6 bytes"),
    ):
        asyncio.run(datasets_api._receive(Request({"type": "http"}, receive), file, settings))


def test_an_upload_has_a_deadline_however_steadily_it_comes(
    settings: Settings, tmp_path: Path
) -> None:
    async def receive() -> Any:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b"a", "more_body": True}

    hasty = settings.model_copy(update={"max_upload_seconds": 0.05})
    with (
        (tmp_path / "upload").open("wb") as file,
        pytest.raises(
            UploadInterrupted, match=r"took longer than 0.05 s \(LAB_MAX_UPLOAD_SECONDS\)"
        ),
    ):
        asyncio.run(datasets_api._receive(Request({"type": "http"}, receive), file, hasty))


def test_where_too_many_uploads_wait_for_their_turn_another_is_refused_and_leaves_nothing(
    settings: Settings,
) -> None:
    """Whoever comes to the lane while it is taken and full is told at once, with when to come again."""
    few = settings.model_copy(update={"max_waiting_requests": 1})
    with TestClient(create_app(few), raise_server_exceptions=False) as api:
        reading, may_end = threading.Event(), threading.Event()
        lane = api.app.state.passes.importing  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patched:
            original = datasets_api._import

            def slow(*arguments: Any) -> Any:
                reading.set()
                assert may_end.wait(20)
                return original(*arguments)

            patched.setattr(datasets_api, "_import", slow)
            answers: list[int] = []
            threads = [
                threading.Thread(
                    target=lambda name=name: answers.append(put(api, name=name).status_code)
                )
                for name in ("one", "two")
            ]
            threads[0].start()
            assert reading.wait(20)
            threads[1].start()
            wait_until(lambda: lane.num_waiting == 1, 20, "the second waits")
            answer = put(api, name="three")
            require_problem(answer, 503, "busy")
            assert int(answer.headers["retry-after"]) > 0
            assert lane.num_passing == 1
            may_end.set()
            for thread in threads:
                thread.join()
        assert answers == [201, 201]
        assert names(api) == [*BUILT_IN, "one", "two"]
        assert not [path for path in left_over(few) if path.endswith(".lock") or ".tmp" in path]


# Owners and room


def owned(home: Path, **others: Any) -> Settings:
    return Settings(home=home, log_level="ERROR", _env_file=None, **others)


@contextmanager
def people(settings: Settings) -> Iterator[tuple[TestClient, ...]]:
    """Two students, one who only reads, and an admin, of one service."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        database: Database = api.app.state.database  # type: ignore[attr-defined]
        roles = {
            "anna": Role.SUBMIT,
            "ben": Role.SUBMIT,
            "reader": Role.READ,
            "instructor": Role.ADMIN,
        }
        yield tuple(caller(api, database, owner, role) for owner, role in roles.items())


def test_a_data_set_is_its_owner_s_to_remove_and_an_admin_s(settings: Settings) -> None:
    with people(settings) as (anna, ben, reader, admin):
        assert put(anna).json()["owner"] == "anna"
        assert [record["owner"] for record in ben.get("/datasets").json()["data"]] == [None] * len(
            BUILT_IN
        ) + ["anna"]
        problem = require_problem(ben.delete("/datasets/flowers"), 403, "forbidden")
        assert "belongs to anna" in problem["detail"]
        require_problem(reader.delete("/datasets/flowers"), 403, "forbidden")
        require_problem(reader.put("/datasets/other", content=BODY), 403, "forbidden")
        assert anna.delete("/datasets/flowers").status_code == 200
        require_problem(ben.delete("/datasets/flowers"), 404, "not_found")
        require_problem(ben.delete("/datasets/digits"), 409, "conflict")
        put(ben)
        assert admin.delete("/datasets/flowers").status_code == 200


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_imported_before_there_were_owners_or_is_damaged_belongs_to_local(
    settings: Settings, damaged: bool
) -> None:
    with people(settings) as (anna, _ben, _reader, admin):
        put(anna)
        manifest = settings.imported_folder / "flowers" / "manifest.json"
        document = json.loads(manifest.read_bytes())
        del document["info"]["owner"]
        manifest.write_text("{" if damaged else json.dumps(document))
        if not damaged:
            assert anna.get("/datasets/flowers").json()["owner"] == "local"
        require_problem(anna.delete("/datasets/flowers"), 403, "forbidden")
        assert admin.delete("/datasets/flowers").status_code == 200


def test_others_experiments_keep_a_data_set_and_are_counted_not_named(settings: Settings) -> None:
    with people(settings) as (anna, ben, _reader, admin):
        put(anna)
        hers, his = (
            who.post("/experiments", json={"dataset": "flowers"}).json()["id"]
            for who in (anna, ben)
        )
        assert (
            f"used by {hers} and 1 of others, not finished"
            in require_problem(anna.delete("/datasets/flowers"), 409, "conflict")["detail"]
        )
        assert (
            f"used by {hers}, {his}, not finished"
            in require_problem(admin.delete("/datasets/flowers"), 409, "conflict")["detail"]
        )
        anna.post(f"/experiments/{hers}/cancel")
        assert (
            "used by 1 of others, not finished"
            in require_problem(anna.delete("/datasets/flowers"), 409, "conflict")["detail"]
        )


def test_one_owner_s_data_sets_take_no_more_than_the_quota(tmp_path: Path) -> None:
    """What they take on the disk counts: the headers of the files and their manifests too."""
    settings = owned(tmp_path, max_dataset_bytes_per_owner=6_000)
    with people(settings) as (anna, ben, _reader, admin):
        taken = [put(anna, name=name).json()["disk_bytes"] for name in ("one", "two")]
        problem = require_problem(
            put(anna, name="three", size=6, channels=3), 413, "too_many_datasets"
        )
        assert (
            f"would write up to {12 * (108 + 8):,} bytes, and the data sets of anna take {sum(taken):,} of 6,000 bytes"
            in problem["detail"]
        )
        assert all(
            f"{name} {size:,}" in problem["detail"]
            for name, size in zip(("one", "two"), taken, strict=True)
        )
        assert "lab data remove" in problem["detail"]
        assert names(anna) == [*BUILT_IN, "one", "two"]
        assert put(ben, name="three").status_code == 201
        assert (
            put(admin, name="four").status_code
            == put(admin, name="five").status_code
            == put(admin, name="six").status_code
            == 201
        )
        assert anna.delete("/datasets/two").status_code == 200
        assert put(anna, name="seven").status_code == 201
    assert not [path for path in left_over(settings) if path.endswith(".lock") or ".tmp" in path]


def test_one_owner_has_no_more_data_sets_than_allowed_which_is_said_before_the_upload(
    tmp_path: Path,
) -> None:
    with people(owned(tmp_path, max_datasets_per_owner=1)) as (anna, ben, _reader, _admin):
        assert put(anna, name="one").status_code == put(ben, name="two").status_code == 201
        problem = require_problem(
            put(anna, b"not even read", name="three"), 413, "too_many_datasets"
        )
        assert "anna has 1 data sets, of 1 (LAB_MAX_DATASETS_PER_OWNER)" in problem["detail"]


def test_a_small_zip_cannot_become_a_large_data_set_past_the_quota(tmp_path: Path) -> None:
    """18 kB of one-pixel images that would be 94 MB."""
    dot = png(1)
    body = zipped({f"{name}/{number}.png": dot for name in "ab" for number in range(60)})
    settings = owned(tmp_path, max_dataset_bytes_per_owner=90_000_000)
    with people(settings) as (anna, _ben, _reader, _admin):
        assert (
            "120 of 120 images are smaller than 512x512"
            in require_problem(put(anna, body, size=512, channels=3), 422, "import_refused")[
                "detail"
            ]
        )
        problem = require_problem(
            put(anna, body, size=512, channels=3, enlarge=True), 413, "too_many_datasets"
        )
        assert f"{120 * (3 * 512 * 512 + 8):,} bytes" in problem["detail"]
        assert left_over(settings) == []
        assert put(anna, body).json()["shape"] == [3, 1, 1]


def test_an_owner_imports_one_data_set_at_a_time_and_others_and_admins_are_not_held_up(
    settings: Settings,
) -> None:
    with (
        people(settings) as (anna, ben, _reader, admin),
        owners_turn("anna", settings.imported_folder),
        owners_turn("instructor", settings.imported_folder),
    ):
        problem = require_problem(put(anna), 429, "too_many_imports")
        assert (
            problem["detail"] == "anna imports another data set right now; wait until that is done"
        )
        assert put(ben).status_code == put(admin, name="other").status_code == 201
        require_problem(put(anna), 409, "conflict")


def disk_with(monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
    """A disk that has so much room each time it is asked, the last for good."""
    left = list(free)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda _: SimpleNamespace(free=left.pop(0) if len(left) > 1 else left[0]),
    )


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "free",
    [(1000,), (10**6, 1000), (10**6, 10**6, 1000)],
    ids=["at first", "while it is received", "for the arrays"],
)
def test_a_disk_that_is_low_takes_no_upload_and_no_arrays(
    free: tuple[int, ...], chunked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = owned(tmp_path, min_free_bytes=1001)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        with monkeypatch.context() as patched:
            disk_with(patched, *free)
            patched.setattr(
                taking_in, "write_splits", lambda *_: pytest.fail("something was written")
            )
            problem = require_problem(
                put(api, iter([BODY]) if chunked else BODY), 507, "storage_full"
            )
        assert "less than the 1,001 that are kept (LAB_MIN_FREE_BYTES)" in problem["detail"]
        assert "lab gc --dry-run" in problem["detail"]
        assert left_over(settings) == []
        assert put(api).status_code == 201


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


BODY = zipped(flowers())


def upload(service: Service, name: str, num_bytes: int, key: str = "") -> socket.socket:
    """A client that has sent so much of its zip and then waits."""
    lines = [
        f"PUT /datasets/{name} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(BODY)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + BODY[:num_bytes])
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """Head and body of a problem."""
    answer = b""
    while not answer.endswith(b"}") and (part := connection.recv(4096)):
        answer += part
    return answer


def uploads_under_way(home: Path) -> int:
    """Files of uploads, which have no name, that some process has open."""
    folder, found = str(home / "uploads"), 0
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            found += str(link.readlink()).startswith(folder)
    return found


def test_while_one_upload_goes_on_its_name_and_everything_else_is_open_to_others(
    service: Service,
) -> None:
    """Whose zip is whole first has the name; the other is told when its own is."""
    with upload(service, "slow", 100) as slow:
        wait_until(lambda: uploads_under_way(service.home) == 1, 10, "the first upload has begun")
        assert service.http.delete("/datasets/slow").status_code == 404
        assert service.http.put("/datasets/slow", content=BODY).status_code == 201
        assert service.http.put("/datasets/other", content=BODY).status_code == 201
        assert service.submit({"dataset": "other"})["status"] == "queued"
        slow.sendall(BODY[100:])
        answer = answer_of(slow)
        assert b" 409 " in answer
        assert b"there is a data set 'slow' already" in answer
    assert "Traceback" not in service.read_log()
    assert list((service.home / "uploads").iterdir()) == []


def test_a_client_that_leaves_while_its_upload_waits_for_its_turn_leaves_no_data_set(
    service: Service,
) -> None:
    body = zipped(
        {
            f"{name}/{number}.png": content
            for name, content in (("a", png(600)), ("b", png(600, 1)))
            for number in range(40)
        }
    )
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.append(
            service.http.put("/datasets/first", content=body, params={"size": 64}).status_code
        )
    )
    thread.start()
    wait_until(
        (service.home / "imported" / ".first.tmp" / "train-images.npy").exists,
        20,
        "its images are being read",
    )
    with upload(service, "left", len(BODY)):
        wait_until(lambda: uploads_under_way(service.home) == 2, 10, "the second is received")
        assert not done, "the first is still being read"
    thread.join()
    assert done == [201]
    wait_until(lambda: uploads_under_way(service.home) == 0, 20, "both are done")
    assert service.http.get("/datasets/left").status_code == 404
    assert "Traceback" not in service.read_log()


@pytest.fixture(scope="module")
def class_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str, str]]:
    """A service that knows two owners' keys and gives an upload two seconds."""
    home = tmp_path_factory.mktemp("class")
    # what the service makes
    database = open_database(
        Settings(home=home, database_url=f"sqlite:///{home / 'lab.sqlite3'}", _env_file=None)
    )
    secrets = [make_key(database, owner) for owner in ("anna", "ben")]
    database.close()
    running = Service(home, max_upload_seconds=2)
    running.api()
    yield running, secrets[0], secrets[1]
    running.stop()


def status_of(service: Service, name: str, key: str) -> int:
    return service.http.put(
        f"/datasets/{name}", content=BODY, headers={"Authorization": f"Bearer {key}"}
    ).status_code


def test_a_silent_upload_holds_up_its_owner_alone_and_not_for_long(
    class_room: tuple[Service, str, str],
) -> None:
    """However steadily a byte comes: after its deadline it is given up, and its owner's turn is free again."""
    service, annas, bens = class_room
    with upload(service, "slow", 100, annas) as slow:
        wait_until(lambda: uploads_under_way(service.home) == 1, 10, "the upload has begun")
        assert status_of(service, "other", annas) == 429
        assert status_of(service, "slow", bens) == 201
        slow.settimeout(0.2)
        answer = b""
        for place in range(100, len(BODY)):
            slow.sendall(BODY[place : place + 1])
            try:
                answer = answer_of(slow)
                break
            except TimeoutError:
                continue
        assert b" 400 " in answer
        assert b"took longer than 2 s (LAB_MAX_UPLOAD_SECONDS)" in answer
    assert status_of(service, "other", annas) == 201
    assert "Traceback" not in service.read_log()


def test_an_upload_whose_client_leaves_frees_its_owner_s_turn_at_once(
    class_room: tuple[Service, str, str],
) -> None:
    service, annas, _bens = class_room
    with upload(service, "left", 100, annas):
        wait_until(lambda: uploads_under_way(service.home) == 1, 10, "the upload has begun")
        assert status_of(service, "left", annas) == 429
    wait_until(
        lambda: status_of(service, "left", annas) == 201,
        1.5,
        "the turn is free before the deadline",
    )
    assert (
        sorted(
            path.name for path in (service.home / "imported").iterdir() if path.name.startswith(".")
        )
        == []
    )


def test_the_service_answers_others_while_it_reads_images(service: Service) -> None:
    body = zipped(
        {
            f"{name}/{number}.png": content
            for name, content in (("a", png(700)), ("b", png(700, 1)))
            for number in range(40)
        }
    )
    done: list[int] = []

    def upload() -> None:
        done.append(
            service.http.put("/datasets/large", content=body, params={"size": 64}).status_code
        )

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


def test_the_command_line_imports_a_folder_or_a_zip_lists_and_removes(
    service: Service, lab_data: LabData, tmp_path: Path
) -> None:
    for name, content in flowers().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "flowers" / ".hidden").write_text("not sent")
    status, printed, _ = lab_data("import", "mine", tmp_path / "flowers")
    assert status == 0
    assert json.loads(printed) == service.get("/datasets/mine")
    (tmp_path / "in.zip").write_bytes(zipped(flowers()))
    status, printed, progress = lab_data(
        "import", "yours", tmp_path / "in.zip", "--size", 8, "--enlarge", "--channels", 1
    )
    assert status == 0
    assert json.loads(printed)["shape"] == [1, 8, 8]
    assert "sent" in progress
    table = lab_data("list")[1].splitlines()
    assert table[0].split() == [
        "name",
        "here",
        "train",
        "test",
        "image",
        "classes",
        "takes",
        "from",
        "owner",
    ]
    mnist = table[2].split()
    assert (mnist[0], mnist[1] in ("yes", "downloads")) == ("mnist", True)
    assert " ".join(mnist[-10:]).endswith("60,000 10,000 28x28 grey 10 0 bytes built in")
    mine = next(line.split() for line in table if line.startswith("mine"))
    assert mine[:7] == ["mine", "yes", "6", "6", "6x6", "RGB", "2"]
    assert (mine[8], mine[9], mine[-1]) == ("kB", "imported", "local")
    assert lab_data("remove", "yours") == (0, "", "yours is removed\n")
    assert lab_data("remove", "yours") == (
        1,
        "",
        "Not found (404): there is no imported data set 'yours'; GET /datasets lists all\n",
    )


def test_the_command_line_prints_every_bad_file_on_a_line_of_its_own(
    lab_data: LabData, tmp_path: Path
) -> None:
    bad = {f"flowers/train/rose/bad{number}.png": b"no image" for number in range(3)}
    (tmp_path / "in.zip").write_bytes(zipped(flowers() | bad))
    status, _, complaint = lab_data("import", "bad", tmp_path / "in.zip")
    assert status == 1
    lines = complaint.splitlines()[-4:]
    assert lines[0] == "These images cannot become a data set (422): 3 files cannot be taken"
    assert (
        lines[1]
        == "  flowers/train/rose/bad0.png: not an image of the formats PNG, JPEG, BMP, GIF, WEBP, PPM, TIFF"
    )
    assert len(lines) == 4


def test_the_command_line_sends_a_folder_with_its_empty_ones_and_waits_for_no_pipe(
    lab_data: LabData, tmp_path: Path
) -> None:
    for name, content in flowers().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "flowers" / "train" / "lily").mkdir()
    status, printed, _ = lab_data("import", "empty", tmp_path / "flowers")
    assert status == 0
    assert "lily holds no image, and is left out" in json.loads(printed)["notes"]
    os.mkfifo(tmp_path / "flowers" / "train" / "pipe.png")
    status, _, complaint = lab_data("import", "pipe", tmp_path / "flowers")
    assert status == 2
    assert complaint.endswith("train/pipe.png is a pipe or a device, not a file\n")


def test_the_command_line_names_the_file_of_a_folder_that_cannot_be_read(
    lab_data: LabData, tmp_path: Path
) -> None:
    source = tmp_path / "flowers"
    for name, content in flowers().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    image = source / "train" / "rose" / "x.png"
    for target, why in (
        ("nowhere", "No such file or directory"),
        ("x.png", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
    ):
        image.symlink_to(target)
        status, _, complaint = lab_data("import", "bad", source)
        assert (status, complaint.splitlines()[-1]) == (2, f"{image}: {why}")
        image.unlink()
    image.mkdir()
    status, printed, _ = lab_data("import", "folder", source)
    assert status == 0
    assert "x.png holds no image, and is left out" in json.loads(printed)["notes"]
    image.rmdir()
    os.mkfifo(tmp_path / "pipe.zip")
    status, _, complaint = lab_data("import", "bad", tmp_path / "pipe.zip")
    said = f"{tmp_path / 'pipe.zip'}: is a pipe or a device, not a file"
    assert (status, complaint.splitlines()[-1]) == (2, said)
    (source / "train" / "rose" / os.fsdecode(b"\xc3.png")).write_bytes(b"")
    status, _, complaint = lab_data("import", "bad", source)
    said = f"{source}: the name train/rose/?.png is not written in UTF-8; rename it"
    assert (status, complaint.splitlines()[-1]) == (2, said)


def test_the_command_line_leaves_out_a_file_that_cannot_be_opened_where_that_is_asked_for(
    lab_data: LabData, tmp_path: Path
) -> None:
    for name, content in flowers().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    image = tmp_path / "flowers" / "train" / "rose" / "x.png"
    image.symlink_to("nowhere")
    status, printed, complaint = lab_data(
        "import", "skip", tmp_path / "flowers", "--on-bad", "skip"
    )
    assert status == 0
    (said,) = json.loads(printed)["notes"]
    assert said.startswith("1 file could not be read and was left out: train/rose/x.png")
    assert f"{image}: No such file or directory\n" in complaint


def test_the_command_line_says_that_a_file_is_not_there(lab_data: LabData, tmp_path: Path) -> None:
    assert lab_data("import", "none", tmp_path / "none.zip") == (
        2,
        "",
        f"{tmp_path / 'none.zip'}: there is no such file or folder\n",
    )
