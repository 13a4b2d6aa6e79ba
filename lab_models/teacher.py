"""A trained teacher and its outputs, which are computed once per data set and view, kept in a file, and checked before they are believed.

<archives>/<key>.safetensors   logits (views, N, C) float16 of train and (M, C) of test, with the ids and labels they belong to
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lab_models.architectures.build import build_model
from lab_models.datasets.batches import Batch, ImageSplit, Splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.errors import TeacherUnusable
from lab_models.evaluation import predict
from lab_models.files import exclusive, sha256_of, write_atomically
from lab_models.precision import forward_context
from lab_models.protocol import TeacherFiles
from lab_models.seeding import derived_seed
from lab_models.specs import DistillSpec

TOLERATED_SHARE = 0.002
"""Accuracies may differ by this much: another device rounds differently, and so does float16."""
FORWARD_BATCH = 256


class Teacher:
    """A frozen network in evaluation mode, and its logits of the test split, for the student's agreement with it."""

    def __init__(self, model: nn.Module, files: TeacherFiles, splits: Splits) -> None:
        self._model = model
        logits, labels = predict(model, splits.test, files.spec.precision)
        accuracy = float((logits.argmax(1) == labels).mean())
        if abs(accuracy - files.test_accuracy) > TOLERATED_SHARE:
            raise TeacherUnusable(
                f"the teacher's test accuracy is {accuracy:.4f} here and {files.test_accuracy:.4f} in its record: these are not its weights or not its data",
                hint="train the teacher again on this data set",
            )
        self.accuracy = accuracy
        self.test_predictions = logits.argmax(1)

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, C) of the batch's images as the student sees them."""
        logits: Tensor = self._model(batch.images)
        return logits


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
        """The same with each row's logits taken from a row of its class: a permutation of the rows, drawn from the seed."""
        generator = torch.Generator().manual_seed(derived_seed(seed, "permutation"))
        instead = torch.arange(len(labels))
        for label in sorted(set(labels.tolist())):
            rows = torch.nonzero(labels.cpu() == label)[:, 0]
            instead[rows] = rows[torch.randperm(len(rows), generator=generator)]
        return StoredLogits(self._logits, instead.to(self._logits.device))


def load_teacher(files: TeacherFiles, dataset: PreparedDataset, splits: Splits, device: torch.device) -> Teacher:
    """The teacher from its published weights; raises TeacherUnusable when they are damaged or score otherwise than recorded."""
    path = Path(files.weights)
    try:
        if sha256_of(path) != files.sha256:
            raise TeacherUnusable(f"the teacher's weights of run {files.run_id} are damaged: the SHA-256 is not the recorded one")
        weights = load_file(path)
    except OSError as error:
        raise TeacherUnusable(f"the teacher's weights of run {files.run_id} cannot be read: {error}") from error
    model = build_model(files.spec.network, dataset.info.shape, dataset.info.num_classes, files.seed)
    model.load_state_dict(weights)
    model.to(device).to(memory_format=splits.train.memory_format).eval().requires_grad_(False)
    return Teacher(model, files, splits)


def stored_logits(
    archives: Path, teacher: Teacher, files: TeacherFiles, spec: DistillSpec, dataset: PreparedDataset, train: ImageSplit
) -> tuple[StoredLogits, Path]:
    """The teacher's logits of every image and view of train, computed if nobody has before, and the file they lie in.

    Several processes may call this at once: one computes, the others wait. A file that is damaged, or whose rows do not
    belong to this split, is not believed and made again.
    """
    archives.mkdir(parents=True, exist_ok=True)
    path = archives / f"{_key(files, spec, dataset)}.safetensors"
    with exclusive(path.with_suffix(".lock")):
        try:
            logits = read_archive(path, train)
        except TeacherUnusable:
            write_atomically(path, _computed(teacher, files, spec, train))
            logits = read_archive(path, train)
    return StoredLogits(logits.to(train.labels.device)), path


def read_archive(path: Path, train: ImageSplit) -> Tensor:
    """The logits (K, N, C) of an archive whose every row is that of the same row of `train`.

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
    return logits


def _computed(teacher: Teacher, files: TeacherFiles, spec: DistillSpec, train: ImageSplit) -> bytes:
    """The archive of a teacher's logits over all views of train."""
    ids, labels = _identity(train)
    views = spec.dataset.augmentation.views or 1
    logits = torch.stack([_view_logits(teacher, train, view, files.spec.precision) for view in range(views)])
    metadata = {
        "run": files.run_id,
        "sha256": hashlib.sha256(logits.numpy().tobytes()).hexdigest(),
        "top1": json.dumps([_top1(view, labels) for view in logits]),
    }
    return save({"logits": logits, "ids": ids, "labels": labels}, metadata)


@torch.inference_mode()
def _view_logits(teacher: Teacher, train: ImageSplit, view: int, precision: str) -> Tensor:
    """(N, C) float16 on the CPU, row by row."""
    device = train.labels.device
    views, forward = train.stored_view(view), forward_context(precision, device)
    found = []
    for rows in torch.arange(len(train), device=device).split(FORWARD_BATCH):  # type: ignore[no-untyped-call]
        with forward():
            found.append(teacher(train.batch(rows, views)).to("cpu", torch.float16))
    return torch.cat(found)


def _identity(train: ImageSplit) -> tuple[Tensor, Tensor]:
    assert train.ids is not None
    return train.ids.to(torch.int64).cpu(), train.labels.cpu()


def _top1(logits: Tensor, labels: Tensor) -> float:
    return float((logits.float().argmax(1) == labels).float().mean())


def _key(files: TeacherFiles, spec: DistillSpec, dataset: PreparedDataset) -> str:
    """Names everything that the logits depend on."""
    parts = [files.sha256, dataset.sha256, spec.dataset.model_dump(mode="json"), files.spec.precision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
