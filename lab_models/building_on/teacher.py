"""A trained teacher and its outputs, which are computed once per data set and view, kept in a file, and checked before
they are believed.

<archives>/<key>.safetensors   logits (views, N, C) float16 of train, the ids and labels they belong to, and what is
predicted of test (M,)
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from lab_models.architectures.build import build_model
from lab_models.building_on.published import published_weights
from lab_models.common.errors import TeacherUnusable
from lab_models.common.files import exclusive, require_room, write_atomically
from lab_models.common.seeding import derived_seed
from lab_models.datasets.batches import Batch, ImageSplit, Splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.specs import DistillSpec
from lab_models.training.evaluation import predict
from lab_models.training.objectives import LiveLogits, TeacherLogits
from lab_models.training.precision import forward_context
from lab_models.training.protocol import FoundationFiles

TOLERATED_SHARE = 0.002
"""Accuracies may differ by this much: another device rounds differently, and so does float16."""
FORWARD_BATCH = 256
ARCHIVE_FORMAT = 2
LOGIT_BYTES, ID_BYTES = 2, 8


@dataclass(frozen=True)
class TeacherOutputs:
    """What a student needs of its teacher: logits to learn from, and what the teacher predicts of test (M,), for their
    agreement.
    """

    logits: TeacherLogits
    test_predictions: npt.NDArray[np.int64]
    accuracy: float
    archive: Path | None = None


class StoredLogits:
    """Logits looked up by row and view, (K, N, C) float16 on the device; `instead` (N,) names other rows to look up."""

    def __init__(self, logits: Tensor, instead: Tensor | None = None) -> None:
        self._logits = logits
        self._instead = instead

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, C) of the batch's rows in the view that they are seen in."""
        rows = batch.rows if self._instead is None else self._instead[batch.rows]
        return self._logits[batch.view].index_select(0, rows).float()

    def permuted_within_class(self, labels: Tensor, seed: int) -> "StoredLogits":
        """The same with each row's logits (K, C) taken from a row of its class: a permutation of the rows within the
        classes of `labels` (N,) int64, drawn from the seed.
        """
        generator = torch.Generator().manual_seed(derived_seed(seed, "permutation"))
        instead = torch.arange(len(labels))
        for label in sorted(set(labels.tolist())):
            rows = torch.nonzero(labels.cpu() == label)[:, 0]
            instead[rows] = rows[torch.randperm(len(rows), generator=generator)]
        return StoredLogits(self._logits, instead.to(self._logits.device))


def live_outputs(
    files: FoundationFiles, dataset: PreparedDataset, splits: Splits, device: torch.device
) -> TeacherOutputs:
    """The teacher from its published weights; raises TeacherUnusable when they are damaged or score otherwise than
    recorded.
    """
    model = build_model(
        files.spec.network, dataset.info.shape, dataset.info.num_classes, files.seed
    )
    model.load_state_dict(published_weights(files))
    model.to(device).to(memory_format=splits.train.memory_format).eval().requires_grad_(False)
    logits, labels = predict(model, splits.test, files.spec.precision)
    predictions = logits.argmax(1)
    return TeacherOutputs(
        LiveLogits(model), predictions, _recorded_accuracy(predictions, labels, files)
    )


def stored_outputs(
    archives: Path,
    files: FoundationFiles,
    spec: DistillSpec,
    dataset: PreparedDataset,
    splits: Splits,
    device: torch.device,
    min_free_bytes: int = 0,
) -> TeacherOutputs:
    """The teacher's logits of every image and view of train, computed if nobody has before; the network is loaded for
    that alone.

    Several processes may call this at once: one computes, the others wait. A file that is damaged, whose rows do not
    belong to this split, or that scores otherwise than the teacher's record, is not believed and made again. Raises
    TeacherUnusable, and StorageFull before anything is computed where the file would leave less than `min_free_bytes`.
    """
    archives.mkdir(parents=True, exist_ok=True)
    path = archives / f"{_key(files, spec, dataset)}.safetensors"
    with exclusive(path.with_suffix(".lock")):
        try:
            return _from_archive(path, files, splits)
        except TeacherUnusable:
            require_room(archives, _archive_bytes(spec, dataset, splits.train), min_free_bytes)
            write_atomically(
                path,
                _computed(live_outputs(files, dataset, splits, device), files, spec, splits.train),
            )
            return _from_archive(path, files, splits)


def _from_archive(path: Path, files: FoundationFiles, splits: Splits) -> TeacherOutputs:
    logits, predictions = read_archive(path, splits.train)
    accuracy = _recorded_accuracy(predictions, splits.test.labels.cpu().numpy(), files)
    return TeacherOutputs(
        StoredLogits(logits.to(splits.train.labels.device)), predictions, accuracy, path
    )


def _recorded_accuracy(
    predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], files: FoundationFiles
) -> float:
    """The accuracy on test, which must be that of the teacher's record."""
    accuracy = float((predictions == labels).mean()) if len(predictions) == len(labels) else 0.0
    if abs(accuracy - files.test_accuracy) > TOLERATED_SHARE:
        raise TeacherUnusable(
            f"the teacher's test accuracy is {accuracy:.4f} here and {files.test_accuracy:.4f} in its record: these are"
            " not its weights or not its data",
            hint="train the teacher again on this data set",
        )
    return accuracy


def read_archive(path: Path, train: ImageSplit) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """The logits (K, N, C) of an archive whose every row is that of the same row of `train`, and the predictions of
    test (M,).

    Raises TeacherUnusable when the file is damaged, when ids or labels are other ones, or when the logits' own top-1
    against this split's labels is not what it was when they were computed: rows that were shuffled show here.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TeacherUnusable(f"{path.name}: {error}") from error
    ids, labels = _identity(train)
    if not torch.equal(tensors["ids"], ids) or not torch.equal(tensors["labels"], labels):
        raise TeacherUnusable(f"{path.name}: its rows are not those of this split")
    logits = tensors["logits"]
    if hashlib.sha256(logits.numpy().tobytes()).hexdigest() != metadata.get("sha256"):
        raise TeacherUnusable(f"{path.name}: the logits are not those that were written")
    if [_top1(view, labels) for view in logits] != json.loads(metadata.get("top1", "[]")):
        raise TeacherUnusable(f"{path.name}: the logits do not belong to the images beside them")
    return logits, tensors["test_predictions"].numpy()


def _computed(
    teacher: TeacherOutputs, files: FoundationFiles, spec: DistillSpec, train: ImageSplit
) -> bytes:
    """The archive of a live teacher's outputs over all views of train."""
    ids, labels = _identity(train)
    logits = torch.stack(
        [
            _view_logits(teacher.logits, train, view, files.spec.precision)
            for view in range(spec.dataset.augmentation.num_views)
        ]
    )
    metadata = {
        "run": files.run_id,
        "sha256": hashlib.sha256(logits.numpy().tobytes()).hexdigest(),
        "top1": json.dumps([_top1(view, labels) for view in logits]),
    }
    return save(
        {
            "logits": logits,
            "ids": ids,
            "labels": labels,
            "test_predictions": torch.from_numpy(teacher.test_predictions),
        },
        metadata,
    )


def _archive_bytes(spec: DistillSpec, dataset: PreparedDataset, train: ImageSplit) -> int:
    """How large the archive will be, but for its header: float16 logits of every view, ids and labels in int64."""
    return len(train) * (
        LOGIT_BYTES * spec.dataset.augmentation.num_views * dataset.info.num_classes + 2 * ID_BYTES
    )


@torch.inference_mode()
def _view_logits(teacher: TeacherLogits, train: ImageSplit, view: int, precision: str) -> Tensor:
    """(N, C) float16 on the CPU, row by row."""
    device = train.labels.device
    views, forward = train.stored_view(view), forward_context(precision, device)
    found = []
    for rows in torch.arange(len(train), device=train.images.device).split(FORWARD_BATCH):  # type: ignore[no-untyped-call]
        with forward():
            found.append(teacher(train.batch(rows, views)).to("cpu", torch.float16))
    return torch.cat(found)


def _identity(train: ImageSplit) -> tuple[Tensor, Tensor]:
    assert train.ids is not None
    return train.ids.to(torch.int64).cpu(), train.labels.cpu()


def _top1(logits: Tensor, labels: Tensor) -> float:
    return float((logits.float().argmax(1) == labels).float().mean())


def _key(files: FoundationFiles, spec: DistillSpec, dataset: PreparedDataset) -> str:
    """Names everything that the logits depend on."""
    parts = [
        ARCHIVE_FORMAT,
        files.sha256,
        dataset.sha256,
        spec.dataset.model_dump(mode="json"),
        files.spec.precision,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
