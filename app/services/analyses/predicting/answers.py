"""What a run has answered on test, image by image: read from what it has published."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from sqlmodel import Session

from app.errors import Conflict, InvalidRequest
from app.services.experiments.artifacts import artifact_path
from app.storage.files.store import FileStore
from lab_models.common.validation import FieldError
from lab_models.training.assessment import PREDICTIONS_NAME


@dataclass(frozen=True)
class TestAnswer:
    """The network's answer to an image of test: `confidence` is the probability that it gives its own answer,
    `probability` the one that it gives the true class.
    """

    __test__ = False

    row: int
    label: int
    predicted: int
    confidence: float
    probability: float


@dataclass(frozen=True)
class AnswersWanted:
    """Which answers: of a true class, with a prediction, right or wrong ones; None means any."""

    label: int | None = None
    predicted: int | None = None
    wrong: bool | None = None


def answers_of(
    session: Session,
    files: FileStore,
    run_id: str,
    wanted: AnswersWanted,
    *,
    surest_first: bool,
    offset: int,
    limit: int,
) -> tuple[list[TestAnswer], int, int]:
    """A page of the answers by confidence, how many there are of that kind, and how many images test has.

    Raises NotFound where the run has published no predictions, Conflict where they cannot be read, InvalidRequest for a
    class that there is none of.
    """
    logits, labels, predicted = _read(session, files, run_id)
    _check(wanted, logits.shape[1])
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    confidence = probabilities[rows, predicted]
    chosen = np.ones(len(labels), bool)
    if wanted.label is not None:
        chosen &= labels == wanted.label
    if wanted.predicted is not None:
        chosen &= predicted == wanted.predicted
    if wanted.wrong is not None:
        chosen &= (labels != predicted) == wanted.wrong
    found = rows[chosen]
    order = np.argsort(-confidence[found] if surest_first else confidence[found], kind="stable")
    page = found[order][offset : offset + limit]
    return (
        [
            TestAnswer(
                int(row),
                int(labels[row]),
                int(predicted[row]),
                float(confidence[row]),
                float(probabilities[row, labels[row]]),
            )
            for row in page
        ],
        len(found),
        len(labels),
    )


def _read(
    session: Session, files: FileStore, run_id: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Logits (N, C), labels (N,) and predictions (N,)."""
    _, path = artifact_path(session, files, run_id, PREDICTIONS_NAME)
    try:
        with safe_open(path, framework="numpy") as file:
            logits, labels, predicted = (
                file.get_tensor(name) for name in ("logits", "labels", "predictions")
            )
    except (SafetensorError, OSError, TypeError) as error:
        raise Conflict(f"{PREDICTIONS_NAME} of run {run_id} cannot be read: {error}") from error
    return logits.astype(np.float64), labels, predicted


def _check(wanted: AnswersWanted, num_classes: int) -> None:
    errors = [
        FieldError(f"/{name}", f"there are classes 0 to {num_classes - 1}")
        for name, number in (("label", wanted.label), ("predicted", wanted.predicted))
        if number is not None and number >= num_classes
    ]
    if errors:
        raise InvalidRequest("; ".join(f"{e.pointer}: {e.message}" for e in errors), errors)
