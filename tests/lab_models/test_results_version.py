"""The same spec, seed and images give the numbers they always gave, or `RESULTS_VERSION` grows."""

import json
from typing import Any

import pytest

from lab_models.common.revision import RESULTS_VERSION
from lab_models.running.execution import Execution
from lab_models.specs import read_request
from lab_models.training.protocol import Completed, EpochCompleted
from tests.lab_models.conftest import OrderMaker

GOLDEN_VERSION = 2
LIMIT = {"name": "digits", "train_limit": 300}
GOLDEN: dict[str, tuple[dict[str, Any], list[float], float]] = {
    "an mlp with adam": (
        {"dataset": LIMIT, "model": {"width": 32, "depth": 2}, "epochs": 2},
        [2.281953, 2.242899],
        0.2306,
    ),
    "residual, dropout, batch norm, cosine": (
        {
            "dataset": LIMIT,
            "model": {"width": 32, "depth": 3, "residual": True, "norm": "batch", "dropout": 0.2},
            "optimizer": {
                "name": "sgd",
                "learning_rate": 0.05,
                "momentum": 0.9,
                "nesterov": True,
                "weight_decay": 0.0005,
            },
            "schedule": {"name": "cosine", "warmup_epochs": 0.5},
            "label_smoothing": 0.1,
            "epochs": 2,
        },
        [1.935162, 1.564148],
        0.7361,
    ),
    "a cnn on varied images, averaged": (
        {
            "dataset": {**LIMIT, "augmentation": {"shift": 1, "rotation": 5.0}},
            "model": {"arch": "cnn", "stages": 2, "width": 8, "stem": "3x3", "residual": True},
            "optimizer": {"name": "adamw", "learning_rate": 0.005},
            "ema_decay": 0.9,
            "gradient_clip": 1.0,
            "epochs": 2,
        },
        [2.296223, 2.231089],
        0.1778,
    ),
    "a last image that joins the batch before it, where batch norm sees all of it": (
        {
            "dataset": {"name": "digits", "train_limit": 11, "val_fraction": 0.1},
            "model": {"width": 32, "depth": 2, "norm": "batch"},
            "batch_size": 10,
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "epochs": 4,
        },
        [2.297312, 2.280322, 2.261570, 2.246975],
        0.3389,
    ),
}
TOLERANCE = 2e-3
"""Relative: another CPU or version of torch rounds differently and two epochs enlarge that a little; another algorithm
is far outside.
"""


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_what_they_were(name: str, make_order: OrderMaker) -> None:
    document, losses, accuracy = GOLDEN[name]
    assert RESULTS_VERSION == GOLDEN_VERSION, (
        "new numbers: write them below, and set GOLDEN_VERSION"
    )
    events = list(
        Execution(
            make_order(read_request(document).spec.model_dump(mode="python"), seed=3)
        ).events()
    )
    found = [event.metrics["val"]["loss"] for event in events if isinstance(event, EpochCompleted)]
    done = next(event for event in events if isinstance(event, Completed))
    said = (
        f"{name}: {json.dumps(found)}, {done.test['accuracy']}: if the change of numbers is meant, RESULTS_VERSION must"
        " grow, so that no old run is taken over"
    )
    assert found == pytest.approx(losses, rel=TOLERANCE), said
    assert done.test["accuracy"] == pytest.approx(accuracy, abs=0.02), said
