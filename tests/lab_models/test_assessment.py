"""What is said about a model on test is what scikit-learn says, is defined where it leaves a choice, and can be
recomputed from the files.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from lab_models.common.errors import Diverged
from lab_models.datasets.preparation import PreparedDataset
from lab_models.training.assessment import (
    CALIBRATION_BINS,
    assess,
    confusion_counts,
    evaluation_file,
    predictions_file,
    row_fractions,
)
from tests.lab_models.conftest import EXAMPLES, PROJECT, TINY, OrderMaker, train

SOURCE = {"dataset": "some", "dataset_sha256": "0" * 64}


def names(num_classes: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(num_classes))


@st.composite
def predicted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels; where there are few images, classes that never occur or are never predicted."""
    num_classes, num_images = draw(st.integers(2, 9)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = generator.integers(0, draw(st.integers(1, num_classes)), num_images)
    logits = generator.normal(size=(num_images, num_classes)) * draw(st.floats(0.1, 8))
    logits[np.arange(num_images), labels] += draw(st.floats(0, 5))
    return logits.astype(np.float32), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).double().softmax(1).numpy()


@EXAMPLES
@given(predicted())
def test_every_score_is_that_of_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    classes = range(logits.shape[1])
    found, probabilities = assess(logits, labels, names(len(classes))), softmax(logits)
    predictions, scores = logits.argmax(1), found.scores
    assert found.predictions.tolist() == predictions.tolist()
    assert (
        found.report["confusion_matrix"]
        == confusion_matrix(labels, predictions, labels=classes).tolist()
    )
    by_class = precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), by_class, strict=True):
        assert [part[name] for part in found.report["classes"]] == pytest.approx(values.tolist())
    for average in ("weighted", "macro"):
        expected = precision_recall_fscore_support(
            labels, predictions, labels=classes, average=average, zero_division=0
        )
        assert [
            scores[f"{name}_{average}"] for name in ("precision", "recall", "f1")
        ] == pytest.approx(expected[:3])
    assert (
        scores["loss"]
        == scores["nll"]
        == pytest.approx(log_loss(labels, probabilities, labels=classes), rel=1e-9, abs=1e-12)
    )
    assert scores["brier"] == pytest.approx(
        sum(brier_score_loss(labels == k, probabilities[:, k], pos_label=True) for k in classes)
    )
    if len(classes) > 5:
        assert scores["top5_accuracy"] == pytest.approx(
            top_k_accuracy_score(labels, logits, k=5, labels=classes)
        )
    else:
        assert "top5_accuracy" not in scores
    assert found.report["n"] == len(labels)
    assert found.report["scores"] == scores


@EXAMPLES
@given(predicted())
def test_the_calibration_error_is_the_sum_over_bins_of_guo_et_al(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = case
    found = assess(logits, labels, names(logits.shape[1]))
    confidences, correct = softmax(logits).max(1), logits.argmax(1) == labels
    expected, bins = 0.0, found.report["calibration"]
    for number in range(CALIBRATION_BINS):
        inside = (confidences > number / CALIBRATION_BINS) & (
            confidences <= (number + 1) / CALIBRATION_BINS
        )
        assert bins[number]["count"] == inside.sum()
        if inside.any():
            assert bins[number]["confidence"] == pytest.approx(confidences[inside].mean())
            assert bins[number]["accuracy"] == pytest.approx(correct[inside].mean())
            expected += inside.mean() * abs(correct[inside].mean() - confidences[inside].mean())
        else:
            assert (bins[number]["confidence"], bins[number]["accuracy"]) == (None, None)
    assert found.scores["ece"] == pytest.approx(expected)
    assert sum(part["count"] for part in bins) == len(labels)


@EXAMPLES
@given(st.integers(2, 8), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_of_equal_logits_the_first_class_comes_first_as_in_torch(
    num_classes: int, num_images: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.integers(0, 2, (num_images, num_classes)).astype(np.float32)
    labels = generator.integers(0, num_classes, num_images)
    found = assess(logits, labels, names(num_classes))
    assert found.predictions.tolist() == torch.from_numpy(logits).argmax(1).tolist()
    if num_classes > 5:
        first_five = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        assert found.scores["top5_accuracy"] == pytest.approx(
            np.mean((first_five == labels[:, None]).any(1))
        )


def test_a_sure_and_right_model_has_a_loss_of_zero_and_a_sure_and_wrong_one_the_largest_brier_score() -> (
    None
):
    logits = np.array([[2e38, 0, -2e38], [0, 3e38, 1]], np.float32)
    right, wrong = (
        assess(logits, np.array(labels), names(3)).scores for labels in ([0, 1], [1, 0])
    )
    assert (
        json.dumps([right["loss"], right["brier"], right["ece"], right["accuracy"]])
        == "[0.0, 0.0, 0.0, 1.0]"
    )
    assert (wrong["brier"], wrong["ece"], wrong["accuracy"]) == (2.0, 1.0, 0.0)
    assert np.isfinite(wrong["loss"])
    assert wrong["loss"] > 1e38


def test_a_class_without_images_counts_in_macro_and_not_in_weighted_averages() -> None:
    scores = assess(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]), names(3)).scores
    assert (
        scores["recall_macro"],
        scores["recall_weighted"],
        scores["f1_macro"],
        scores["f1_weighted"],
    ) == pytest.approx((2 / 3, 1, 2 / 3, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_a_divergence(bad: float) -> None:
    logits = np.zeros((4, 3), np.float32)
    logits[2, 1] = bad
    with pytest.raises(Diverged, match="of 1 of 4 images are not finite") as caught:
        assess(logits, np.zeros(4, np.int64), names(3))
    assert caught.value.code == "diverged"


def test_rows_are_true_classes_and_a_row_without_images_has_fractions_of_zero() -> None:
    counts = confusion_counts(np.array([0, 0, 0, 2]), np.array([0, 1, 1, 2]), 3)
    assert counts.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]
    assert row_fractions(counts) == pytest.approx(
        np.array([[1 / 3, 2 / 3, 0], [0, 0, 0], [0, 0, 1]])
    )


def test_the_predictions_file_holds_what_was_measured_in_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    logits, labels = (
        np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
        np.arange(7) % 3,
    )
    found = assess(logits, labels, names(3))
    contents = {predictions_file(logits, labels, found.predictions, **SOURCE) for _ in range(20)}
    assert len(contents) == 1, "the library alone writes metadata in random order"
    (content,) = contents
    tensors = load(content)
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == {
        "logits": "float32",
        "labels": "int64",
        "predictions": "int64",
    }
    assert np.array_equal(tensors["logits"], logits)
    assert np.array_equal(tensors["labels"], labels)
    assert np.array_equal(tensors["predictions"], logits.argmax(1))
    (tmp_path / "predictions").write_bytes(content)
    with safe_open(tmp_path / "predictions", "np") as file:
        assert file.metadata() == {"split": "test", **SOURCE}


def test_the_evaluation_file_is_strict_json_with_one_row_of_the_matrix_a_line() -> None:
    labels = np.array([0, 1, 1, 2])
    found = assess(np.eye(3, dtype=np.float32)[[0, 1, 2, 2]], labels, ('a "b"', "\u00fc", "$c$"))
    content = evaluation_file(found, **SOURCE)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(content, parse_constant=refuse) == {"split": "test", **SOURCE, **found.report}
    assert b"\n    [0, 1, 1],\n" in content
    assert content == evaluation_file(found, **SOURCE)


def test_neither_torch_nor_scikit_learn_is_loaded() -> None:
    program = "import lab_models.training.assessment, sys; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)


def files_of(order: Any) -> dict[str, bytes]:
    return {
        name: (Path(order.run_folder) / "attempt-1" / name).read_bytes()
        for name in ("predictions.safetensors", "evaluation.json")
    }


def test_a_runs_test_scores_can_be_recomputed_from_its_predictions(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order(TINY)
    completed = train(order)[-1]
    files = files_of(order)
    tensors = load(files["predictions.safetensors"])
    assert np.array_equal(tensors["labels"], digits.test_labels)
    again = assess(tensors["logits"], tensors["labels"], digits.info.class_names)
    assert completed.test == again.scores
    assert np.array_equal(tensors["predictions"], again.predictions)
    report = json.loads(files["evaluation.json"])
    assert (report["dataset"], report["dataset_sha256"], report["split"]) == (
        "digits",
        digits.sha256,
        "test",
    )
    assert report["scores"] == completed.test
    assert {artifact.name for artifact in completed.artifacts} >= set(files)


def test_equal_runs_give_equal_bytes(make_order: OrderMaker, tmp_path: Path) -> None:
    orders = [make_order(TINY, run_folder=str(tmp_path / place)) for place in "ab"]
    for order in orders:
        train(order)
    assert files_of(orders[0]) == files_of(orders[1])
