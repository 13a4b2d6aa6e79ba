"""A list of layers is a network as the lab's own are: what builds on one, and what one builds on, trains, is killed and
ends with the same bits; and what has been trained is explained and predicted with.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lab_models.architectures.stages import stage_of
from lab_models.common.files import sha256_of
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.preparation import PreparedDataset
from lab_models.explanations.maps import class_maps
from lab_models.explanations.network import OpenNetwork
from lab_models.explanations.question import Method
from lab_models.inference.export import onnx_file
from lab_models.inference.predictor import Predictor
from lab_models.inference.trained import TrainedNetwork
from lab_models.specs import TrainSpec
from lab_models.training.protocol import Completed, FoundationFiles, Order, Started
from tests.lab_models.conftest import (
    OrderMaker,
    of_kind,
    order_in,
    train,
    train_until,
    weight_hashes,
)

OWN: dict[str, Any] = {
    "arch": "layers",
    "layers": [
        {"conv": 8},
        "batch_norm",
        "relu",
        {"residual": [{"conv": 8}, "batch_norm", "relu", {"dropout": 0.1, "of": "channels"}]},
        {"residual": [{"conv": 12, "stride": 2}, "batch_norm", "gelu", {"conv": 12}]},
        {"repeat": 2, "layers": [{"conv": 12, "groups": 12}, {"group_norm": 3}, "silu"]},
        "average_pool",
        "flatten",
        {"linear": 16},
        "layer_norm",
        "tanh",
    ],
}
PLAIN: dict[str, Any] = {
    "arch": "cnn",
    "stages": 2,
    "width": 8,
    "stem": "3x3",
    "blocks_per_stage": 1,
}
RUN: dict[str, Any] = {"dataset": {"train_limit": 160}, "batch_size": 48, "epochs": 2}
HINTS = [["layers.3", "stages.0"], ["layers.5", "stages.1"]]

BUILT: dict[str, tuple[str, dict[str, Any]]] = {
    "student of an own network by hints": (
        "own",
        {
            "kind": "distill",
            "student": PLAIN,
            "teacher": {"spec": RUN | {"model": OWN}},
            "teacher_outputs": "live",
            "features": {"name": "hint", "stages": HINTS},
        },
    ),
    "own student by attention, in bfloat16": (
        "plain",
        {
            "kind": "distill",
            "student": OWN,
            "teacher": {"spec": RUN | {"model": PLAIN}},
            "teacher_outputs": "live",
            "features": {"name": "attention", "stages": [pair[::-1] for pair in HINTS]},
            "precision": "bfloat16",
        },
    ),
    "fine-tuned stage by stage": (
        "own",
        {
            "kind": "transfer",
            "source": {"spec": RUN | {"model": OWN}},
            "strategy": "staged",
            "probes": ["gradient_flow"],
        },
    ),
    "gone on with": (
        "own",
        {
            "kind": "continue",
            "origin": {"spec": {"kind": "train", **RUN, "model": OWN}},
            "layer_gradients": {"layers": ["layers.4.shortcut.conv.weight"]},
        },
    ),
}


@pytest.fixture(scope="module")
def trained(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FoundationFiles]:
    """An own network, and one of the lab's."""
    return {
        name: _foundation(lab_home, RUN | {"model": model}, tmp_path_factory.mktemp(name))
        for name, model in (("own", OWN), ("plain", PLAIN))
    }


def _foundation(home: Path, spec: dict[str, Any], folder: Path) -> FoundationFiles:
    completed = train(order_in(home, spec, run_folder=str(folder)))[-1]
    weights = folder / "attempt-1" / "weights.safetensors"
    return FoundationFiles(
        run_id="run_foundation",
        spec=TrainSpec.model_validate(spec),
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=completed.test["accuracy"],
    )


@pytest.mark.parametrize("name", BUILT)
def test_what_builds_on_or_is_an_own_network_ends_with_the_same_bits_after_a_kill(
    name: str, trained: dict[str, FoundationFiles], make_order: OrderMaker, tmp_path: Path
) -> None:
    below, document = BUILT[name]

    def order(folder: str, **differing: Any) -> Order:
        usual = {"foundation": trained[below], "run_folder": str(tmp_path / folder)}
        return make_order(RUN | document, **(usual | differing))

    whole = order("whole")
    assert isinstance(train(whole)[-1], Completed)
    _, checkpoint = train_until(order("killed"), 1, 2)
    again = order("killed", attempt=2, resume=(checkpoint,))
    assert of_kind(Started, train(again))[0].resumed_from == (1, 2)
    assert weight_hashes(again) == weight_hashes(whole)
    if document.get("strategy") == "staged":
        own, after = (
            load_file(file)
            for file in (
                trained["own"].weights,
                tmp_path / "whole" / "attempt-1" / "weights-last.safetensors",
            )
        )
        moved = {stage_of(key) for key in own if not torch.equal(own[key], after[key])}
        assert moved == {"head", "layers.9"}, "in the second epoch the stage below has thawed"


def test_a_trained_own_network_predicts_and_is_explained_from_its_weights_alone(
    trained: dict[str, FoundationFiles], digits: PreparedDataset
) -> None:
    files = trained["own"]
    content = onnx_file(TrainedNetwork(files.spec.network, DIGITS, files.weights, files.sha256))
    images, labels = np.asarray(digits.test_images), np.asarray(digits.test_labels)
    predicted = Predictor(content).predict(images).probabilities.argmax(axis=1)
    assert (predicted == labels).mean() == pytest.approx(files.test_accuracy, abs=0.005)
    network = OpenNetwork(content)
    assert (network.stage, network.stages[-1]) == ("layers.5", "head")
    seen = network.look(images[:5])
    for method in (Method.GRAD_CAM, Method.GRAD_CAM_PLUS_PLUS):
        maps = class_maps(method, seen, network.tail, predicted[:5])
        assert maps.shape == (5, 4, 4)
        assert np.isfinite(maps).all()
