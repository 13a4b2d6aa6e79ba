"""MNIST through the service, from the real files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.service import Service

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.fixture
def mnist_folder() -> Path:
    for folder in [*map(Path, filter(None, os.environ.get("LAB_DATA_DIR", "").split(os.pathsep))), BESIDE]:
        if (folder / "MNIST" / "raw").is_dir():
            return folder.absolute()
    pytest.skip("MNIST files not found: set LAB_DATA_DIR to a folder that holds MNIST/raw")


@pytest.mark.mnist
def test_mnist_reaches_what_it_should_and_a_deep_mlp_runs(make_service: Callable[..., Service], mnist_folder: Path) -> None:
    service = make_service(data_dir=f"/nowhere{os.pathsep}{mnist_folder}", threads=2)
    service.serve()
    small = service.submit(
        {
            "model": {"arch": "mlp", "hidden": [128, 64], "dropout": 0.2},
            "dataset": {"name": "mnist", "val_fraction": 0.1},
            "batch_size": 128,
            "epochs": 5,
        }
    )
    deep = service.submit({"model": {"depth": 4, "width": 512, "residual": True}, "dataset": {"name": "mnist", "train_limit": 3000}, "epochs": 2})
    record = service.wait_for(small, "succeeded", 100)
    assert record["estimate"]["parameters"] == 109_386
    assert record["results"]["test"]["accuracy"]["mean"] >= 0.97
    assert len(record["environment"]["dataset_sha256"]) == 64
    record = service.wait_for(deep, "succeeded", 100)
    assert record["estimate"]["parameters"] == 1_195_018
    assert record["results"]["test"]["accuracy"]["mean"] > 0.8
