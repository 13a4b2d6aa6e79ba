"""Explanations of succeeded runs, computed when they are asked for, without torch; the latest ones are kept. And the
figure that is drawn of one.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from sqlmodel import Session

from app.errors import Busy, Conflict, NotFound
from app.plots.figures.experiments import ExplainedImage, ExplanationFigure
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.predicting.predictions import (
    Predictors,
    TrainedRun,
    data_folder,
    trained_run,
    why_not,
)
from app.services.experiments import experiments
from app.settings import Settings
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.architectures.sizes import model_size
from lab_models.common.errors import DatasetUnavailable, LabError
from lab_models.datasets.decoding import Pixels
from lab_models.datasets.splits import split_as_asked
from lab_models.explanations.question import Method, Question, unexplainable
from lab_models.explanations.wording import sentences
from lab_models.inference.rows import stored_split
from lab_models.specs import DatasetSpec, read_spec

if TYPE_CHECKING:
    from lab_models.explanations.explaining import Explanation
    from lab_models.explanations.single import OneExplained

Split = Literal["test", "val"]
TITLES = {Method.CAM: "CAM", Method.GRAD_CAM: "Grad-CAM", Method.GRAD_CAM_PLUS_PLUS: "Grad-CAM++"}
MOST_KEPT = 32
"""Of answers, of at most 64 examples each: some megabytes in all."""
PATIENCE_SECONDS = 20.0
"""How long a request waits for its turn: one explanation is computed at a time, so that training keeps its cores and
others their answers.
"""


@dataclass(frozen=True)
class Explained:
    """A run of an experiment that is to be explained, by images of the split."""

    experiment_id: str
    title: str
    run: TrainedRun
    seed: int
    cut: DatasetSpec
    split: Split

    @property
    def key(self) -> tuple[str | None, ...]:
        """Everything of it that the answer depends on."""
        return (
            self.run.network.digest,
            self.run.dataset_sha256,
            self.cut.model_dump_json(),
            self.split,
        )


class Explanations:
    """Answers that were given lately, at most `most`, the oldest goes first."""

    def __init__(self, most: int = MOST_KEPT, patience: float = PATIENCE_SECONDS) -> None:
        self._most, self._patience = most, patience
        self._kept: OrderedDict[tuple[object, ...], Explanation] = OrderedDict()
        self._computing = threading.Lock()

    def get(
        self, settings: Settings, predictors: Predictors, explained: Explained, question: Question
    ) -> "Explanation":
        """The answer, computed if it is not kept; raises Conflict where there can be none, NotFound without the
        weights, and Busy.
        """
        key = (*explained.key, question)
        found = self._kept.get(key)
        if found is not None:
            return found
        with self.turn():
            found = self._kept.get(key) or _explanation(settings, predictors, explained, question)
            self._kept[key] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within the block no other explanation is computed; raises Busy."""
        if not self._computing.acquire(timeout=self._patience):
            raise Busy(
                "other explanations are being computed, one at a time; ask again in some seconds"
            )
        try:
            yield
        finally:
            self._computing.release()


@dataclass(frozen=True)
class Explaining:
    """What computes explanations: without a session, for it takes seconds."""

    settings: Settings
    predictors: Predictors
    kept: Explanations

    def explain(self, explained: Explained, question: Question) -> "Explanation":
        """What is found, computed unless it is kept; raises as `Explanations.get` does."""
        return self.kept.get(self.settings, self.predictors, explained, question)

    def explain_one(self, run: TrainedRun, pixels: Pixels, method: Method) -> "OneExplained":
        """One image (C, H, W), of which nothing is kept; raises Conflict where there can be no map, NotFound without
        the weights, and Busy.
        """
        from lab_models.explanations.single import explain_one

        _refuse_without_maps(run, method)
        with self.kept.turn():
            try:
                return explain_one(self.predictors.onnx_file(run.network), pixels, method)
            except LabError as error:
                raise Conflict(f"run {run.run_id} cannot be explained: {error}") from error


def _refuse_without_maps(run: TrainedRun, method: Method) -> None:
    reason = unexplainable(run.network.model, method)
    if reason is not None:
        raise Conflict(f"run {run.run_id} cannot be explained: {reason}")


def explained(
    session: Session, settings: Settings, experiment: Experiment, run_id: str | None, split: Split
) -> Explained:
    """The run to explain: the one asked for, else the first seed that has succeeded; raises NotFound and Conflict with
    the reason.
    """
    runs = experiments.its_runs(session, experiment.id)
    run = _named(experiment, runs, run_id) if run_id is not None else _first_succeeded(runs)
    trained = trained_run(session, settings, run, "be explained")
    return Explained(
        experiment.id,
        experiment.name or experiment.id,
        trained,
        run.seed,
        read_spec(experiment.spec).dataset,
        split,
    )


def explained_images(
    explaining: Explaining, explained: Explained, question: Question
) -> Exhibit[ExplanationFigure]:
    """Right and wrong examples, each with its map laid over it; to read it takes seconds, and no session."""
    return Exhibit(
        "explanations",
        (
            explained.title,
            explained.run.run_id,
            question.method,
            question.num_examples,
            question.show,
            question.seed,
        ),
        " ".join(map(str, explained.key)),
        lambda: _figure(explained, question, explaining.explain(explained, question)),
    )


def _figure(explained: Explained, question: Question, found: "Explanation") -> ExplanationFigure:
    network = explained.run.network
    names = network.dataset.class_names
    return ExplanationFigure(
        title=explained.title,
        subtitle=(
            f"{TITLES[question.method]} of the predicted class: {describe(network.model)} on {network.dataset.name},"
            f" {explained.split}, seed {explained.seed}, maps of {found.stage}; examples drawn at random,"
            f" {found.num_wrong:,} of the {found.num_seen:,} images looked at are wrong"
        ),
        show=question.show,
        has_negative=question.method is Method.CAM,
        pictures=[
            ExplainedImage(
                example.pixels,
                example.map,
                names[example.label],
                names[example.predicted],
                example.probability,
                example.is_right,
            )
            for example in found.examples
        ],
        notes=sentences(found),
    )


def _named(experiment: Experiment, runs: Sequence[Run], run_id: str) -> Run:
    for run in runs:
        if run.id == run_id:
            return run
    raise NotFound(f"experiment {experiment.id} has no run {run_id!r}; its record lists its runs")


def _first_succeeded(runs: Sequence[Run]) -> Run:
    for run in runs:
        if run.status == RunStatus.SUCCEEDED:
            return run
    status = experiment_status(run.status for run in runs)
    sentence = (
        "no run of it has succeeded"
        if status.is_terminal
        else "it can be explained once a run has succeeded"
    )
    raise Conflict(f"the experiment has status {status}: {sentence}")


def _explanation(
    settings: Settings, predictors: Predictors, explained: Explained, question: Question
) -> "Explanation":
    # late: onnx and onnxruntime take 0.1 s and 30 MB, and only a service that is asked pays for them
    from lab_models.explanations.explaining import explain

    network = explained.run.network
    info = network.dataset
    _refuse_without_maps(explained.run, question.method)
    try:
        images, labels, rows = _images(settings, explained)
        macs = model_size(network.model, info.shape, info.num_classes).macs_per_sample
        return explain(
            predictors.onnx_file(network),
            images,
            labels,
            rows,
            question,
            macs=macs,
            blank=info.mean,
        )
    except DatasetUnavailable as error:
        raise Conflict(
            f"data set {info.name!r} cannot be read, and without its images there is nothing to explain:"
            f" {why_not(settings, explained.run, error)}"
        ) from error
    except LabError as error:
        raise Conflict(f"run {explained.run.run_id} cannot be explained: {error}") from error


def _images(
    settings: Settings, explained: Explained
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images and labels of a file of the data set, and the rows of it that the split has."""
    folder, sha256 = data_folder(settings, explained.run), explained.run.dataset_sha256
    if explained.split == "test":
        images, labels = stored_split(folder, "test", sha256=sha256)
        return images, labels, np.arange(len(labels))
    images, labels = stored_split(folder, "train", sha256=sha256)
    return images, labels, split_as_asked(labels, explained.cut, explained.run.network.dataset).val
