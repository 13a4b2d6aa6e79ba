"""What test logits say about a model: scores, confusion matrix, per-class report and calibration. Nothing here loads
torch or scikit-learn.

Everything is computed in float64. A ratio whose denominator is 0 (precision of a class never predicted, recall of one
that never occurs) is 0, as with scikit-learn's `zero_division=0`. Of equal logits the first class comes first, as with
`torch.argmax`.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as safetensors_bytes

from lab_models.common.errors import Diverged

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CALIBRATION_BINS = 15
"""Guo, Pleiss, Sun, Weinberger 2017, On Calibration of Modern Neural Networks: M = 15 bins of equal width."""

TOP = 5

PREDICTIONS_NAME, EVALUATION_NAME = "predictions.safetensors", "evaluation.json"
SAFETENSORS_ALIGNMENT = 8
"""https://github.com/huggingface/safetensors#format: the header is padded with spaces so that the data begins at a
multiple of 8.
"""


@dataclass(frozen=True)
class Assessment:
    """`scores` are the run's numbers on test; `report` is a JSON document with what lies behind them; `predictions`
    (N,) are class indices.
    """

    scores: dict[str, float]
    report: dict[str, Any]
    predictions: Integers


def assess(
    logits: npt.NDArray[np.float32], labels: Integers, class_names: tuple[str, ...]
) -> Assessment:
    """Scores and report of logits (N, C) against labels (N,) of classes 0..C-1; raises Diverged when a logit is not
    finite.

    Scores: `loss`, mean cross-entropy in nats; `accuracy`, and `top5_accuracy` where there are more than five classes;
    `precision`, `recall` and `f1`, each `_weighted` (by support, so that `recall_weighted` is the accuracy) and
    `_macro` (every class counts the same, also one that never occurs); `nll`, the loss under its name in calibration;
    `ece`, the expected calibration error (Guo et al. 2017); `brier`, the mean squared distance of the probabilities
    from the truth, in [0, 2] (Brier 1950). All but loss, nll and brier are fractions in [0, 1].
    """
    bad = int(np.count_nonzero(~np.isfinite(logits).all(axis=1)))
    if bad:
        raise Diverged(
            f"the test logits of {bad} of {len(labels)} images are not finite",
            hint="lower the learning rate",
        )
    rows = np.arange(len(labels))
    log_probabilities = _log_softmax(logits.astype(np.float64))
    probabilities = np.exp(log_probabilities)
    predictions = logits.argmax(axis=1).astype(np.int64)
    counts = confusion_counts(labels, predictions, len(class_names))
    by_class = _class_scores(counts)
    bins = _calibration(probabilities[rows, predictions], predictions == labels)
    loss = abs(float(log_probabilities[rows, labels].mean()))  # abs, so that it is never -0.0
    errors = probabilities - (np.arange(len(class_names)) == labels[:, None])
    scores = {
        "loss": loss,
        "accuracy": int(np.trace(counts)) / len(labels),
        **(
            {f"top{TOP}_accuracy": float(np.mean(_ranks(logits, labels) < TOP))}
            if len(class_names) > TOP
            else {}
        ),
        **_averages(by_class, counts.sum(axis=1)),
        "nll": loss,
        "ece": sum(
            part["count"] / len(labels) * abs(part["accuracy"] - part["confidence"])
            for part in bins
            if part["count"]
        ),
        "brier": float(np.square(errors).sum(axis=1).mean()),
    }
    return Assessment(scores, _report(scores, class_names, counts, by_class, bins), predictions)


def confusion_counts(labels: Integers, predictions: Integers, num_classes: int) -> Integers:
    """How many images of each class were taken for which: (C, C), rows the true classes, columns the predicted ones."""
    return np.bincount(labels * num_classes + predictions, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def row_fractions(counts: Integers) -> Floats:
    """Each row divided by its sum: of a class's images, which share was taken for which class; a row without images
    stays 0.
    """
    return _ratio(counts.astype(np.float64), counts.sum(axis=1, keepdims=True))


def predictions_file(
    logits: npt.NDArray[np.float32],
    labels: Integers,
    predictions: Integers,
    *,
    dataset: str,
    dataset_sha256: str,
) -> bytes:
    """Safetensors with `logits` (N, C) float32, `labels` (N,) and `predictions` (N,) int64, row i for test image i of
    the prepared data set.
    """
    tensors: dict[str, npt.NDArray[Any]] = {
        "logits": np.ascontiguousarray(logits, np.float32),
        "labels": labels,
        "predictions": predictions,
    }
    return _in_fixed_order(
        safetensors_bytes(
            tensors, {"split": "test", "dataset": dataset, "dataset_sha256": dataset_sha256}
        )
    )


def evaluation_file(assessment: Assessment, *, dataset: str, dataset_sha256: str) -> bytes:
    """The report as JSON, one row of each table a line; equal assessments give equal bytes."""
    document = {
        "split": "test",
        "dataset": dataset,
        "dataset_sha256": dataset_sha256,
        **assessment.report,
    }
    return (
        "{\n"
        + ",\n".join(f"  {json.dumps(key)}: {_laid_out(value)}" for key, value in document.items())
        + "\n}\n"
    ).encode()


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalized: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def _ranks(logits: npt.NDArray[np.float32], labels: Integers) -> Integers:
    """How many classes come before the true one, by logit, then by index: (N,)."""
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks: Integers = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return ranks


def _ratio(part: Floats, whole: npt.NDArray[Any]) -> Floats:
    shares = np.zeros_like(part)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _class_scores(counts: Integers) -> dict[str, Floats]:
    """Precision, recall and F1 of each class, (C,) each."""
    hits = np.diag(counts).astype(np.float64)
    supports, predicted = counts.sum(axis=1), counts.sum(axis=0)
    return {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, supports),
        "f1": _ratio(2 * hits, supports + predicted),
    }


def _averages(by_class: dict[str, Floats], supports: Integers) -> dict[str, float]:
    weighted = {
        f"{name}_weighted": float(values @ supports / supports.sum())
        for name, values in by_class.items()
    }
    return weighted | {f"{name}_macro": float(values.mean()) for name, values in by_class.items()}


def _calibration(confidences: Floats, correct: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Bins (lower, upper] of the predicted class's probability with their mean confidence and accuracy, null in an
    empty one.
    """
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    where = np.digitize(confidences, edges[1:-1], right=True)
    counts = np.bincount(where, minlength=CALIBRATION_BINS)
    confidence, accuracy = (
        np.bincount(where, values, CALIBRATION_BINS) for values in (confidences, correct)
    )
    return [
        {
            "lower": float(edges[i]),
            "upper": float(edges[i + 1]),
            "count": int(count),
            "confidence": float(confidence[i] / count) if count else None,
            "accuracy": float(accuracy[i] / count) if count else None,
        }
        for i, count in enumerate(counts)
    ]


def _report(
    scores: dict[str, float],
    class_names: tuple[str, ...],
    counts: Integers,
    by_class: dict[str, Floats],
    bins: list[dict[str, Any]],
) -> dict[str, Any]:
    supports = counts.sum(axis=1)
    return {
        "n": int(supports.sum()),
        "scores": scores,
        "classes": [
            {
                "name": name,
                "support": int(supports[i]),
                **{score: float(values[i]) for score, values in by_class.items()},
            }
            for i, name in enumerate(class_names)
        ],
        "confusion_matrix": counts.tolist(),
        "calibration": bins,
    }


def _laid_out(value: Any) -> str:
    """A list of rows as one row a line, anything else on one line."""
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
    return json.dumps(value)


def _in_fixed_order(content: bytes) -> bytes:
    """The same safetensors with its header sorted: the library writes the metadata in the order of a hash that changes
    from process to process.
    """
    begin = SAFETENSORS_ALIGNMENT + int.from_bytes(content[:8], "little")
    header = json.dumps(
        json.loads(content[8:begin]), sort_keys=True, separators=(",", ":")
    ).encode()
    header = header.ljust(-(-len(header) // SAFETENSORS_ALIGNMENT) * SAFETENSORS_ALIGNMENT)
    return len(header).to_bytes(8, "little") + header + content[begin:]
