"""What trained networks say of an image: a few are kept ready, the answers need no torch."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlmodel import Session

from app.errors import Conflict, InvalidRequest, UnusableImage
from app.services.analyses.predicting.onnx_files import onnx_file
from app.services.datasets import datasets
from app.services.experiments import experiments
from app.services.experiments.artifacts import artifact_path
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.errors import DatasetUnavailable
from lab_models.common.validation import FieldError
from lab_models.datasets.decoding import Pixels, Rendition, Size, UndecodableImage, decode
from lab_models.datasets.facts import DatasetInfo, facts_kept
from lab_models.inference.rows import NoSuchRow, Split, StoredImage, stored_image
from lab_models.inference.trained import TrainedNetwork
from lab_models.specs import read_spec

if TYPE_CHECKING:
    from lab_models.inference.predictor import Predictor

WEIGHTS_NAME = "weights.safetensors"
MOST_READY = 16
MOST_READY_BYTES = 1 << 29
"""Of ONNX files; made ready, a network takes about twice its file."""

_decoding = threading.BoundedSemaphore(2)
"""An image of 64 megapixels takes some hundred megabytes while it is decoded: forty requests at once must not take
forty times that.
"""


@dataclass(frozen=True)
class TrainedRun:
    """A succeeded run's network, and what names the exact images that it was trained on."""

    run_id: str
    network: TrainedNetwork
    dataset_sha256: str | None


@dataclass(frozen=True)
class Guess:
    """One class and how probable the network finds it, in [0, 1]."""

    label: int
    name: str
    probability: float


class Predictors:
    """Networks that are ready to answer, the most recently asked ones: at most `most`, of files that come to at most
    `most_bytes` unless it is one.
    """

    def __init__(self, most: int = MOST_READY, most_bytes: int = MOST_READY_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._ready: OrderedDict[str, Predictor] = OrderedDict()
        self._lock = threading.Lock()
        # one at a time: it takes several times the network's size in memory
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self._ready)

    def get(self, network: TrainedNetwork) -> "Predictor":
        """The network, made ready if it is not; raises Conflict or NotFound when it cannot be."""
        key = network.digest
        ready = self._find(key)
        if ready is not None:
            return ready
        with self._making:
            return self._find(key) or self._make(key, network)

    def onnx_file(self, network: TrainedNetwork) -> bytes:
        """The network as an ONNX file's bytes, made anew; raises Conflict or NotFound when it cannot be."""
        with self._making:
            return onnx_file(network)

    def _find(self, key: str) -> "Predictor | None":
        with self._lock:
            if key in self._ready:
                self._ready.move_to_end(key)
            return self._ready.get(key)

    def _make(self, key: str, network: TrainedNetwork) -> "Predictor":
        # onnxruntime takes 0.1 s and 30 MB: only a service that is asked for a prediction pays for it.
        from lab_models.inference.predictor import Predictor

        predictor = Predictor(onnx_file(network))
        with self._lock:
            self._ready[key] = predictor
            while len(self._ready) > 1 and (
                len(self._ready) > self._most or self._ready_bytes() > self._most_bytes
            ):
                self._ready.popitem(last=False)
        return predictor

    def _ready_bytes(self) -> int:
        return sum(predictor.size_bytes for predictor in self._ready.values())


def trained_run(
    session: Session, settings: Settings, run: Run, purpose: str = "predict"
) -> TrainedRun:
    """The network of a run, which is to do what `purpose` says.

    Raises Conflict while it has not succeeded, NotFound when its weights are gone. What it needs of its data set it has
    kept; for one of an older version, which has not, raises Conflict when the data set is gone.
    """
    if run.status != RunStatus.SUCCEEDED:
        ended = run.status.is_terminal
        sentence = (
            f"only a run that has succeeded can {purpose}"
            if ended
            else f"it can {purpose} once it has succeeded"
        )
        raise Conflict(f"run {run.id} has status {run.status}: {sentence}")
    spec = read_spec(experiments.get(session, run.experiment_id).spec)
    environment = run.environment or {}
    sha256 = environment.get("dataset_sha256")
    info = facts_kept(environment.get("dataset")) or _dataset(settings, spec.dataset.name, sha256)
    artifact, path = artifact_path(session, file_store(settings), run.id, WEIGHTS_NAME)
    return TrainedRun(run.id, TrainedNetwork(spec.network, info, path, artifact.sha256), sha256)


def decoded(content: bytes, trained: TrainedRun) -> Pixels:
    """An image file brought to the channels and the size of the run's data set, as an import does it; raises
    UnusableImage.
    """
    info = trained.network.dataset
    channels, height, width = info.shape
    rendition = Rendition(info.ground, info.peak)
    try:
        with _decoding:
            return decode(content, channels=channels, size=Size(height, width), rendition=rendition)
    except UndecodableImage as error:
        raise UnusableImage(f"the body cannot be read as an image: {error}") from error


def stored(settings: Settings, trained: TrainedRun, split: Split, row: int) -> StoredImage:
    """An image of the run's data set; raises InvalidRequest for a row that there is none of, Conflict when the images
    are not here.
    """
    info = trained.network.dataset
    try:
        return stored_image(
            data_folder(settings, trained), split, row, sha256=trained.dataset_sha256
        )
    except NoSuchRow as error:
        message = f"{error}: the {split} split of {info.name!r} has {error.count:,} images, counted from 0"
        raise InvalidRequest(message, [FieldError("/row", message)]) from error
    except DatasetUnavailable as error:
        raise Conflict(
            f"data set {info.name!r} cannot be read by its rows: {why_not(settings, trained, error)}; send the image"
            " itself"
        ) from error


def why_not(settings: Settings, trained: TrainedRun, error: DatasetUnavailable) -> str:
    """Why the images of the run's data set cannot be read, which the error says but of one that was removed."""
    is_removed = trained.network.dataset.imported and not data_folder(settings, trained).is_dir()
    return "it was removed since the run was trained" if is_removed else str(error)


def data_folder(settings: Settings, trained: TrainedRun) -> Path:
    """Where the prepared or imported images of the run's data set lie, if they are here."""
    info = trained.network.dataset
    return (settings.imported_folder if info.imported else settings.prepared_folder) / info.name


def predict(predictors: Predictors, trained: TrainedRun, pixels: Pixels) -> list[Guess]:
    """Every class with its probability for pixels (C, H, W), the most probable first; of equally probable ones the
    first class, as in training.
    """
    outputs = predictors.get(trained.network).predict(pixels[None])
    logits, probabilities = outputs.logits[0], outputs.probabilities[0]
    if not np.isfinite(logits).all():
        raise Conflict(
            f"what the network of run {trained.run_id} gives for this image is not finite: its weights are too large"
        )
    names = trained.network.dataset.class_names
    return [
        Guess(int(label), names[label], float(probabilities[label]))
        for label in np.argsort(-logits, kind="stable")
    ]


def _dataset(settings: Settings, name: str, sha256: str | None) -> DatasetInfo:
    """The facts that images are brought to the network's form by, of a run that has not kept them. Of somebody's own
    images they change with the images, so these must be the same.
    """
    known = datasets.catalog(settings)
    info = known.get(name)
    if info is None:
        raise Conflict(
            f"data set {name!r} was removed since the run was trained, and with it the size and the normalization of"
            " its images"
        )
    if info.imported and known.sha256(name) != sha256:
        raise Conflict(
            f"data set {name!r} was removed and another one imported under its name since the run was trained"
        )
    return info
