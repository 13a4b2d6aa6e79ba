"""MNIST through the service, from the real files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.service import Service

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.fixture
def mnist_folder() -> Path:
    for folder in [
        *map(Path, filter(None, os.environ.get("LAB_DATA_DIR", "").split(os.pathsep))),
        BESIDE,
    ]:
        if (folder / "MNIST" / "raw").is_dir():
            return folder.absolute()
    pytest.skip("MNIST files not found: set LAB_DATA_DIR to a folder that holds MNIST/raw")


SEED003 = {
    "name": "784-128-64-10, stopped early",
    "model": "mlp-small",
    "dataset": {"name": "mnist", "val_fraction": 0.1},
    "batch_size": 128,
    "epochs": 50,
    "early_stopping": {
        "patience": 5,
        "min_delta": 1e-4,
        "overfit_delta": 0.02,
        "overfit_patience": 3,
    },
}
"""The recipe of the lab's second document: expected test accuracy 0.973 to 0.981, its source's is 0.9739."""


@pytest.mark.slow
@pytest.mark.mnist
def test_the_small_mlp_of_the_lab_gives_the_labs_result_and_stops_early(
    make_service: Callable[..., Service], mnist_folder: Path
) -> None:
    service = make_service(data_dir=f"/nowhere{os.pathsep}{mnist_folder}", threads=2)
    service.serve()
    record = service.wait_for(service.submit(SEED003), "succeeded", 110)
    assert record["estimate"]["parameters"] == 109_386
    test = {name: summary["mean"] for name, summary in record["results"]["test"].items()}
    assert 0.973 <= test["accuracy"] <= 0.984
    assert abs(test["precision_weighted"] - test["accuracy"]) < 0.002
    assert test["top5_accuracy"] > 0.998
    assert 0 < test["ece"] < 0.03
    assert len(record["environment"]["dataset_sha256"]) == 64
    run = record["runs"][0]
    assert run["stop_reason"] in ("stagnation", "overfitting")
    assert run["best"]["epoch"] < run["progress"]["epoch"] < 50


@pytest.mark.mnist
@pytest.mark.slow
def test_a_deep_residual_mlp_trains_and_shows_its_gradients(
    make_service: Callable[..., Service], mnist_folder: Path
) -> None:
    service = make_service(data_dir=str(mnist_folder), threads=2)
    service.serve()
    deep = {
        "model": {"depth": 4, "width": 512, "residual": True},
        "dataset": {"name": "mnist", "train_limit": 3000},
        "epochs": 2,
        "probes": ["gradient_flow"],
    }
    record = service.wait_for(service.submit(deep), "succeeded", 100)
    assert record["estimate"]["parameters"] == 1_195_018
    assert record["results"]["test"]["accuracy"]["mean"] > 0.8
    picture = service.http.get(record["links"]["gradient_flow"])
    assert picture.content.startswith(b"\x89PNG")
