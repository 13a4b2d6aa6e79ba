"""Confusion matrices on test, read from what succeeded runs have published, and the figure that is drawn of them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlmodel import Session, col, select

from app.errors import Conflict, NotFound
from app.plots.figures.experiments import ConfusionFigure
from app.services.analyses.exhibits import Exhibit
from app.services.experiments import experiments, revisions
from app.services.experiments.artifacts import artifact_path
from app.services.experiments.results import summarise
from app.storage.files.store import FileStore
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Artifact, Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec
from lab_models.statistics.summary import as_fraction
from lab_models.training.assessment import EVALUATION_NAME, row_fractions

MOST_CONFUSED = 12
"""Confusions that are listed by name."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices (C, C) of an experiment's assessed runs, rows true classes, columns predicted ones;
    `num_images` is the size of test.
    """

    class_names: tuple[str, ...]
    num_images: int
    runs: list[Run]
    counts: list[Counts]

    @property
    def pooled(self) -> Counts:
        """The runs' counts added up, so that every test image counts once a run."""
        pooled: Counts = np.array(self.counts).sum(axis=0)
        return pooled


def confusion_of(session: Session, files: FileStore, runs: Sequence[Run]) -> Confusion:
    """Confusion matrices of an experiment's succeeded runs.

    Raises NotFound, with a sentence that says when there will be one, and Conflict when the runs were tested on
    different images.
    """
    named = (
        col(Artifact.run_id).in_([run.id for run in runs]),
        col(Artifact.name) == EVALUATION_NAME,
    )
    published = {artifact.run_id for artifact in session.exec(select(Artifact).where(*named))}
    assessed = [run for run in runs if run.id in published]
    if not assessed:
        raise NotFound(_why_not(runs))
    reports = [_report(session, files, run.id) for run in assessed]
    if len({report["dataset_sha256"] for report in reports}) > 1:
        raise Conflict(
            f"the runs were tested on different versions of data set {reports[0]['dataset']!r}, so their counts cannot"
            f" be added up; GET /runs/{{run_id}}/artifacts/{EVALUATION_NAME} has each run's own"
        )
    counts = [np.array(report["confusion_matrix"], dtype=np.int64) for report in reports]
    return Confusion(
        tuple(part["name"] for part in reports[0]["classes"]), reports[0]["n"], assessed, counts
    )


def confusion_matrix(
    session: Session, files: FileStore, experiment: Experiment, *, by_share: bool
) -> Exhibit[ConfusionFigure]:
    """An experiment's matrix, added up over its succeeded runs; `by_share` colors shares of the true class, else
    numbers of images. Reading it raises as `confusion_of` does.
    """

    def read() -> ConfusionFigure:
        runs = experiments.its_runs(session, experiment.id)
        return _figure(experiment, runs, confusion_of(session, files, runs), by_share)

    revision = revisions.of_experiments(session, [experiment.id])
    return Exhibit("confusion-matrix", (by_share,), revision, read)


def most_confused(counts: Counts, limit: int) -> list[tuple[int, int]]:
    """The pairs (true, predicted) of different classes with the most images, the most frequent first; none without
    images.
    """
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    return [
        (int(place) // len(counts), int(place) % len(counts))
        for place in order
        if wrong.flat[place]
    ]


def _figure(
    experiment: Experiment, runs: Sequence[Run], confusion: Confusion, by_share: bool
) -> ConfusionFigure:
    counts = confusion.pooled
    return ConfusionFigure(
        title=experiment.name or experiment.id,
        subtitle=_subtitle(experiment, runs, confusion),
        class_names=confusion.class_names,
        counts=counts,
        fractions=row_fractions(counts),
        by_share=by_share,
        most_confused=most_confused(counts, MOST_CONFUSED),
    )


def _subtitle(
    experiment: Experiment, all_runs: Sequence[Run], confusion: Confusion
) -> tuple[str, str]:
    spec = read_spec(experiment.spec)
    runs = len(confusion.runs)
    seeds = (
        f"{runs} of {len(all_runs)} seeds"
        if runs < len(all_runs)
        else f"{runs} seeds"
        if runs > 1
        else f"seed {confusion.runs[0].seed}"
    )
    accuracy = summarise([float(counts.trace() / counts.sum()) for counts in confusion.counts])
    interval = (
        ""
        if accuracy.ci95 is None
        else " (95 % interval {:.2f} to {:.2f} %)".format(
            *(100 * end for end in as_fraction(accuracy.ci95))
        )
    )
    images = (
        f"{runs} x {confusion.num_images:,} test images"
        if runs > 1
        else f"{confusion.num_images:,} test images"
    )
    return (
        f"{spec.dataset.name}, {describe(spec.network)}, {experiment.parameters:,} parameters, {seeds}",
        f"test accuracy {100 * accuracy.mean:.2f} %{interval}, {images}",
    )


def _report(session: Session, files: FileStore, run_id: str) -> dict[str, Any]:
    artifact, path = artifact_path(session, files, run_id, EVALUATION_NAME)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise NotFound(
            f"{EVALUATION_NAME} of run {run_id} is damaged: its SHA-256 is not the recorded one"
        )
    report: dict[str, Any] = json.loads(content)
    return report


def _why_not(runs: Sequence[Run]) -> str:
    status = experiment_status(run.status for run in runs)
    if any(run.status == RunStatus.SUCCEEDED for run in runs):
        return (
            f"the runs of this experiment were made by a version that kept no {EVALUATION_NAME}; send it again for a"
            " confusion matrix"
        )
    if status.is_terminal:
        return f"there is no confusion matrix: the experiment {status} before any run had read the test split"
    return (
        "there is no confusion matrix yet: test is read at the end of a run, and none has succeeded so far; the"
        f" experiment's status is {status}"
    )
