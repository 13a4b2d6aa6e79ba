"""Classical classifiers on frozen features: the features are the network's, val chooses, test is read once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lab_models.architectures.build import build_model
from lab_models.building_on.classifiers import NEIGHBORS, STRENGTHS, fit_classifiers
from lab_models.building_on.features import Features, features_of
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.specs import EVERY_CLASSIFIER, DatasetSpec, TrainSpec
from lab_models.training.protocol import Completed, FoundationFiles
from tests.lab_models.conftest import TINY, order_in, train

CNN = {"arch": "cnn", "stages": 2, "width": 6, "stem": "3x3"}


def clouds(count: int, seed: int, spread: float = 1.0) -> Features:
    """Three Gaussian clouds in ten dimensions."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centers = np.random.default_rng(0).normal(0, 2, (3, 10))
    return Features(
        (centers[labels] + random.normal(0, spread, (count, 10))).astype(np.float32),
        labels.astype(np.int64),
    )


@pytest.mark.parametrize("name", EVERY_CLASSIFIER)
def test_every_classifier_tells_three_clouds_apart(name: str) -> None:
    (fitted,) = fit_classifiers([name], clouds(150, 1), clouds(60, 2), clouds(60, 3))
    assert fitted.name == name
    assert fitted.val_accuracy > 0.9
    assert fitted.test_accuracy > 0.9
    assert fitted.converged


@pytest.mark.parametrize(
    ("name", "key", "tried"), [("knn", "k", NEIGHBORS), ("linear_svm", "C", STRENGTHS)]
)
def test_val_chooses_the_setting_and_test_is_scored_with_it(
    name: str, key: str, tried: tuple[float, ...]
) -> None:
    train_part, val, test = clouds(90, 1, 4.0), clouds(90, 2, 4.0), clouds(90, 3, 4.0)
    (chosen,) = fit_classifiers([name], train_part, val, test)
    assert chosen.setting[key] in tried
    (on_test,) = fit_classifiers([name], train_part, test, val)
    assert chosen.test_accuracy <= on_test.val_accuracy, (
        "no setting does better on test than the one that test itself would choose"
    )


def test_more_neighbors_than_images_are_not_tried() -> None:
    (fitted,) = fit_classifiers(["knn"], clouds(6, 1), clouds(9, 2), clouds(9, 3))
    assert fitted.setting["k"] in (1, 5)


def test_features_are_what_goes_into_the_head_or_a_stages_mean(digits: PreparedDataset) -> None:
    model = build_model(TrainSpec.model_validate({"model": CNN}).model, (1, 8, 8), 10, 0)
    split = device_splits(digits, DatasetSpec(), torch.device("cpu")).val
    into_head, of_stage = (
        features_of(model, split, stage, "head", "float32") for stage in (None, "stages.0")
    )
    assert into_head.values.shape == (len(split), 12)
    assert of_stage.values.shape == (len(split), 6)
    assert np.array_equal(into_head.labels, split.labels.numpy())
    with torch.inference_mode():
        images = torch.cat([batch.images for batch in split.in_order(100)])
        given: list[torch.Tensor] = []
        model.get_submodule("stages.1.0.conv1").register_forward_pre_hook(
            lambda _module, inputs: given.append(inputs[0])
        )
        model(images)
        expected = given[0].mean((2, 3))
    np.testing.assert_allclose(of_stage.values, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert not model._modules["head"]._forward_pre_hooks  # type: ignore[union-attr]


def test_a_run_of_classifiers_reports_each_and_takes_the_one_that_val_prefers(
    lab_home: Path, tmp_path: Path
) -> None:
    source = TINY | {"model": CNN}
    order = order_in(lab_home, source, run_folder=str(tmp_path / "source"))
    accuracy = train(order)[-1].test["accuracy"]
    weights = tmp_path / "source" / "attempt-1" / "weights.safetensors"
    files = FoundationFiles(
        run_id="run_1",
        spec=TrainSpec.model_validate(source),
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=accuracy,
    )
    spec = {
        "kind": "transfer",
        "source": {"spec": source},
        "strategy": "features",
        "dataset": {"train_limit": 400},
    }
    *_, completed = train(
        order_in(lab_home, spec, run_folder=str(tmp_path / "run"), foundation=files)
    )
    assert isinstance(completed, Completed)
    table = json.loads((tmp_path / "run" / "attempt-1" / "classifiers.json").read_text())
    assert [row["name"] for row in table["classifiers"]] == list(EVERY_CLASSIFIER)
    by_name = {row["name"]: row for row in table["classifiers"]}
    assert by_name[table["best"]]["val_accuracy"] == max(
        row["val_accuracy"] for row in table["classifiers"]
    )
    assert completed.test["accuracy"] == by_name[table["best"]]["test_accuracy"] > 0.3
    assert completed.test["knn_accuracy"] == by_name["knn"]["test_accuracy"]
    assert table["dimensions"] == 12
