"""The lab over the API: every architecture and every training option in one short run each."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service

FEW = {"dataset": {"name": "digits", "train_limit": 128}, "batch_size": 32, "epochs": 1}
NETWORKS: dict[str, Any] = {
    "plain mlp": {"arch": "mlp", "depth": 2, "width": 32},
    "residual mlp, shortcuts around two layers": {
        "arch": "mlp",
        "depth": 5,
        "width": 32,
        "residual": True,
        "shortcut_layers": 2,
    },
    "residual mlp of blocks": {"preset": "mlp-ascoded", "width": 32, "residual": True},
    "plain cnn": {"arch": "cnn", "stages": 2, "width": 8, "dropout": 0.2},
    "residual cnn, capped": {
        "arch": "cnn",
        "stages": 4,
        "width": 8,
        "residual": True,
        "max_halvings": 2,
        "stem": "3x3",
    },
    "plain henet": {"arch": "henet", "depth": 8, "residual": False},
    "residual henet": {"preset": "resnet20"},
    "resnet18, cifar stem": {"arch": "resnet18"},
    "vgg": {"preset": "three-models-cnn", "hidden": 32},
}
TRAININGS: dict[str, Any] = {
    "augmented, warmed up, averaged": {
        "dataset": {"name": "digits", "augmentation": {"shift": 1, "rotation": 10.0}},
        "optimizer": "adamw",
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "ema_decay": 0.95,
        "label_smoothing": 0.1,
    },
    "one cycle, clipped, bfloat16": {
        "optimizer": {
            "name": "sgd",
            "learning_rate": 0.2,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 5e-4,
        },
        "schedule": "one_cycle",
        "gradient_clip": 1.0,
        "precision": "bfloat16",
    },
    "plateau, best by accuracy": {
        "schedule": {"name": "plateau", "patience": 1},
        "best_by": "accuracy",
    },
    "multi-step": {"schedule": {"name": "multi_step", "milestones": [2]}},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_trains_and_has_the_parameters_that_were_announced(
    service: Service, name: str
) -> None:
    body = {**FEW, "name": name, "model": NETWORKS[name]}
    announced = service.post("/experiments?dry_run=true", body)["estimate"]
    record = service.wait_for(service.submit(body), "succeeded")
    assert record["estimate"]["parameters"] == announced["parameters"]
    weights = service.http.get(f"/runs/{record['runs'][0]['id']}/artifacts/weights.safetensors")
    assert len(weights.content) > 4 * announced["parameters"]
    assert 0 <= record["results"]["test"]["accuracy"]["mean"] <= 1


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_option_learns_digits(service: Service, name: str) -> None:
    record = service.wait_for(
        service.submit(
            {"model": {"width": 64}, "batch_size": 32, "epochs": 4, "name": name, **TRAININGS[name]}
        ),
        "succeeded",
    )
    assert record["results"]["test"]["accuracy"]["mean"] > 0.6
    assert record["runs"][0]["stop_reason"] == "all_epochs"


def test_an_early_stop_is_told_with_its_reason_and_epoch(service: Service) -> None:
    body = {
        "model": {"width": 64},
        "optimizer": {"learning_rate": 0.01},
        "epochs": 500,
        "early_stopping": {"patience": 3, "min_delta": 0.01},
        "seeds": 2,
    }
    record = service.wait_for(service.submit(body), "succeeded")
    assert record["status_reason"] == "early_stopped"
    for number, run in enumerate(record["runs"]):
        epochs = service.metrics(record, number)
        assert run["stop_reason"] == "stagnation"
        assert run["status_reason"] == "early_stopped"
        assert len(epochs) == run["progress"]["epoch"] < 100
        assert run["progress"]["fraction"] == 1.0
        losses = [epoch["val"]["loss"] for epoch in epochs]
        assert min(losses[-3:]) > min(losses[:-3]) - 0.03
        assert run["best"]["val"]["loss"] == min(losses)


def test_divergence_fails_with_step_rate_and_gradient_norm(service: Service) -> None:
    record = service.wait_for(
        service.submit(
            {**FEW, "model": {"width": 64}, "optimizer": {"name": "sgd", "learning_rate": 1e6}}
        ),
        "failed",
    )
    assert record["error"]["code"] == "diverged"
    for said in ("step ", "epoch 1", "learning rate 1e+06", "norm"):
        assert said in record["error"]["message"]
    assert "gradient_clip" in record["error"]["hint"]


def test_a_network_that_fits_no_worker_is_refused_before_it_waits(service: Service) -> None:
    body = {
        "model": {"arch": "cnn", "stages": 1, "width": 4096, "blocks_per_stage": 50, "stem": "3x3"},
        "dataset": "digits",
        "batch_size": 65536,
    }
    problem = service.http.post("/experiments", json=body).json()
    assert problem["status"] == 422
    assert any(
        "memory" in error["message"] or "LAB_MAX_PARAMETERS" in error["message"]
        for error in problem["errors"]
    )


def cifar_folder() -> Path:
    beside = Path(__file__).parents[3] / "shared" / "data"
    for folder in [
        *map(Path, filter(None, os.environ.get("LAB_DATA_DIR", "").split(os.pathsep))),
        beside,
    ]:
        if (folder / "cifar10").is_dir():
            return folder.absolute()
    pytest.skip(
        "CIFAR-10 files not found: set LAB_DATA_DIR to a folder that holds cifar10/*.parquet"
    )


@pytest.mark.slow
def test_a_residual_cnn_trains_on_the_real_cifar10(make_service: Callable[..., Service]) -> None:
    service = make_service(data_dir=str(cifar_folder()), threads=2)
    service.serve()
    body = {
        "dataset": {
            "name": "cifar10",
            "train_limit": 2000,
            "val_fraction": 0.02,
            "augmentation": "crop_flip",
        },
        "model": {"arch": "cnn", "stages": 3, "width": 8, "stem": "3x3", "residual": True},
        "optimizer": {"name": "adam", "learning_rate": 0.003},
        "batch_size": 64,
        "epochs": 3,
    }
    record = service.wait_for(service.submit(body), "succeeded", 110)
    assert record["results"]["test"]["accuracy"]["mean"] > 0.2
    assert record["results"]["test"]["top5_accuracy"]["mean"] > 0.6
