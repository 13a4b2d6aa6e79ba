"""Data that is not here and a disk that is nearly full are said when something is submitted, not when it has failed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.services.datasets.obstacles import obstacles, presence_of
from app.settings import Settings
from lab_models.datasets.catalog import BUILT_IN, CIFAR10, MNIST
from lab_models.datasets.idx import MNIST_FILES
from lab_models.datasets.presence import refusal_note
from lab_models.datasets.source_files import SOURCE_FILES

pytestmark = pytest.mark.sqlite  # names of files

STUDY = {
    "specs": [
        {"model": {"depth": 1}, "dataset": "mnist"},
        {"model": {"depth": 1}, "dataset": "cifar10"},
    ]
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        data_dir=str(tmp_path / "data"),
        min_free_bytes=1,
        log_level="ERROR",
        _env_file=None,
    )


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


def here(api: TestClient) -> dict[str, tuple[str, int]]:
    return {
        row["name"]: (row["here"], row["download_bytes"])
        for row in api.get("/datasets").json()["data"]
    }


def test_data_sets_say_whether_they_are_here(
    api: TestClient, settings: Settings, tmp_path: Path
) -> None:
    assert here(api) == {
        "digits": ("yes", 0),
        "mnist": ("download", 70_000_000),
        "cifar10": ("download", 360_000_000),
        "cifar100": ("download", 360_000_000),
        "fashion_mnist": ("download", 90_000_000),
        "kmnist": ("download", 80_000_000),
        "emnist_balanced": ("download", 650_000_000),
        "emnist_letters": ("download", 650_000_000),
        "emnist_digits": ("download", 650_000_000),
        "svhn": ("download", 250_000_000),
        "stl10": ("download", 3_100_000_000),
    }
    raw = tmp_path / "data" / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        (raw / name).touch()
    shards = tmp_path / "data" / "cifar10" / "plain_text"
    shards.mkdir(parents=True)
    (shards / "train-00000-of-00001.parquet").touch()
    prepared = settings.prepared_folder / "cifar100"
    prepared.mkdir(parents=True)
    (prepared / "manifest.json").write_text("{}")
    for files in SOURCE_FILES.values():
        folder = tmp_path / "data" / files.folders[0]
        folder.mkdir(parents=True, exist_ok=True)
        for file in files.names:
            (folder / file).touch()
    assert {of for of, _ in here(api).values()} == {"yes"}
    (raw / MNIST_FILES[2]).unlink()
    assert here(api)["mnist"][0] == "download", "one file of four is missing"


def test_a_download_that_has_failed_is_remembered(api: TestClient, settings: Settings) -> None:
    settings.download_folder.mkdir(parents=True)
    refusal_note("mnist", settings.download_folder).write_text("2026-11-29 13:05 UTC: no route\n")
    assert here(api)["mnist"] == ("missing", 70_000_000)
    assert api.get("/datasets/mnist").json()["here"] == "missing"
    (warning,) = api.post("/experiments", json={"dataset": "mnist"}).json()["warnings"]
    assert warning.startswith(
        "mnist is not here, and could not be downloaded the last time (2026-11-29 13:05 UTC: no route)"
    )
    assert "LAB_DATA_DIR" in warning


@pytest.mark.parametrize("path", ["/experiments", "/studies"])
def test_missing_data_is_said_in_the_dry_run_and_in_the_answer_and_hinders_nothing(
    api: TestClient, path: str
) -> None:
    body: dict[str, Any] = STUDY if path == "/studies" else {"dataset": "mnist"}
    dry = api.post(f"{path}?dry_run=true", json=body).json()["warnings"]
    answer = api.post(path, json=body)
    assert answer.status_code == 201
    assert answer.json()["warnings"] == dry
    names = ["mnist", "cifar10"] if path == "/studies" else ["mnist"]
    assert [warning.partition(" is not here yet")[0] for warning in dry] == names
    assert api.get(answer.headers["Location"]).json()["warnings"] == []
    harmless: dict[str, Any] = {} if path == "/experiments" else {"specs": [{}]}
    assert api.post(path, json=harmless).json()["warnings"] == []


def test_a_disk_with_too_little_room_is_said_with_what_is_to_be_downloaded(
    settings: Settings, tmp_path: Path
) -> None:
    full = Settings(
        home=tmp_path,
        data_dir=str(tmp_path / "empty"),
        min_free_bytes=10**18,
        log_level="ERROR",
        _env_file=None,
    )
    with TestClient(create_app(full)) as api:
        (low,) = api.post("/experiments", json={}).json()["warnings"]
    assert low.startswith("low on disk: ")
    assert "LAB_MIN_FREE_BYTES" in low
    assert "to be downloaded" not in low
    *absent, low = obstacles(full, [MNIST, CIFAR10])
    assert len(absent) == 2
    assert ", and 430 MB are to be downloaded, and" in low
    assert obstacles(settings.model_copy(update={"min_free_bytes": 0, "home": tmp_path}), []) == []


def test_a_look_costs_next_to_nothing(settings: Settings) -> None:
    settings.home.mkdir()
    costs = []
    for _ in range(50):
        began = time.thread_time()
        for info in BUILT_IN.values():
            presence_of(settings, info)
        costs.append(time.thread_time() - began)
    assert min(costs) < 0.01
