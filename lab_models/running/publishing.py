"""What an attempt leaves on disk: checkpoints, weights, evaluation, predictions. A file is whole before it is named."""

import json
import math
from pathlib import Path

from torch import Tensor

from lab_models.building_on.features import ClassifiedFeatures
from lab_models.building_on.teacher import TeacherOutputs
from lab_models.common.files import (
    WrittenFile,
    link_or_copy,
    sha256_of,
    sync_folder,
    write_atomically,
)
from lab_models.datasets.splits import steps_per_epoch
from lab_models.running.preparing import PreparedRun
from lab_models.specs import fingerprint
from lab_models.training.assessment import (
    EVALUATION_NAME,
    PREDICTIONS_NAME,
    Assessment,
    assess,
    evaluation_file,
    predictions_file,
)
from lab_models.training.checkpoints import (
    TrainState,
    copied_weights,
    save_checkpoint,
    write_weights,
)
from lab_models.training.evaluation import evaluate_learned, predict
from lab_models.training.layer_metrics import LAYER_GRADIENTS_NAME
from lab_models.training.protocol import Completed, Order, SavedArtifact, SavedCheckpoint
from lab_models.training.stopping import early_stop

JSON, BINARY = "application/json", "application/octet-stream"


class AttemptFolder:
    """Where one attempt writes, below its run's folder; paths that are told are relative to the latter.

    Every method raises StorageFull where a file would leave less free than the order keeps, and OSError where the disk
    is full.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = order.run_folder / f"attempt-{order.attempt}"
        self._fingerprint = fingerprint(order.spec)

    def save(self, state: TrainState, threads: int) -> SavedCheckpoint:
        """The state as it stands."""
        written = save_checkpoint(
            state,
            self._folder / f"checkpoint-{state.epochs_done:05d}-{state.step:06d}.pt",
            fingerprint=self._fingerprint,
            seed=self._order.seed,
            threads=threads,
            min_free_bytes=self._order.min_free_bytes,
        )
        return SavedCheckpoint(
            path=self._told(written),
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            epoch=state.epochs_done,
            step=state.step,
        )

    def publish(self, name: str, media_type: str, content: bytes) -> SavedArtifact:
        """A file with this content."""
        path = self._folder / name
        written = write_atomically(path, content, self._order.min_free_bytes)
        return self._artifact(media_type, written)

    def publish_weights(self, name: str, weights: dict[str, Tensor]) -> SavedArtifact:
        """Weights by the names of their parameters."""
        written = write_weights(weights, self._folder / name, self._order.min_free_bytes)
        return self._artifact(BINARY, written)

    def publish_again(self, name: str, original: Path) -> SavedArtifact:
        """A file that there is already, under this name too: it stays when the other name goes."""
        path = self._folder / name
        link_or_copy(original, path, self._order.min_free_bytes)
        sync_folder(path.parent)
        written = WrittenFile(path, sha256_of(path), path.stat().st_size)
        return self._artifact(BINARY, written)

    def publish_spec(self) -> SavedArtifact:
        """What was trained: spec, seed and fingerprint."""
        document = {
            "fingerprint": self._fingerprint,
            "seed": self._order.seed,
            "spec": self._order.spec.model_dump(mode="json"),
        }
        return self.publish("spec.json", JSON, json.dumps(document, indent=2).encode())

    def _artifact(self, media_type: str, written: WrittenFile) -> SavedArtifact:
        return SavedArtifact(
            name=written.path.name,
            media_type=media_type,
            path=self._told(written),
            sha256=written.sha256,
            size_bytes=written.size_bytes,
        )

    def _told(self, written: WrittenFile) -> str:
        return str(written.path.relative_to(self._order.run_folder))


def publish_trained(folder: AttemptFolder, order: Order, prepared: PreparedRun) -> Completed:
    """Publish the last and the best weights and read test, once, with the best; then as many images of train."""
    state, dataset, spec = prepared.state, prepared.dataset, order.spec
    assert state.best is not None
    last = folder.publish_weights("weights-last.safetensors", copied_weights(state.evaluated))
    best = folder.publish_weights("weights.safetensors", state.best.weights)
    said = folder.publish_spec()
    state.evaluated.load_state_dict(state.best.weights)
    logits, labels = predict(
        state.evaluated, prepared.splits.test, spec.precision, order.micro_batches
    )
    assessment = assess(logits, labels, dataset.info.class_names)
    source = {"dataset": dataset.info.name, "dataset_sha256": dataset.sha256}
    evaluation = folder.publish(EVALUATION_NAME, JSON, evaluation_file(assessment, **source))
    predictions = folder.publish(
        PREDICTIONS_NAME, BINARY, predictions_file(logits, labels, assessment.predictions, **source)
    )
    return Completed(
        stop_reason=early_stop(spec.early_stopping, state.val_losses) or "all_epochs",
        best_epoch=state.best.epoch,
        best_val=state.best.val,
        test=assessment.scores | _agreement(assessment, prepared.teacher),
        train=_learned(order, prepared),
        artifacts=(
            best,
            last,
            said,
            evaluation,
            predictions,
            *_published_archive(folder, prepared.teacher),
            *_published_gradients(folder, order, prepared),
        ),
    )


def publish_classified(folder: AttemptFolder, found: ClassifiedFeatures) -> Completed:
    """Publish what classical classifiers reached in place of training; the one that val prefers gives the run's
    accuracy.
    """
    published = folder.publish(
        "classifiers.json", JSON, json.dumps(found.table(), indent=2).encode()
    )
    return Completed(
        stop_reason="all_epochs",
        best_epoch=1,
        best_val={"accuracy": found.best.val_accuracy}
        | {f"{fitted.name}_accuracy": fitted.val_accuracy for fitted in found.classifiers},
        test={"accuracy": found.best.test_accuracy}
        | {f"{fitted.name}_accuracy": fitted.test_accuracy for fitted in found.classifiers},
        train={"accuracy": found.best.train_accuracy}
        | {f"{fitted.name}_accuracy": fitted.train_accuracy for fitted in found.classifiers},
        artifacts=(published,),
    )


def _learned(order: Order, prepared: PreparedRun) -> dict[str, float]:
    """What the published weights score on train, in evaluation mode."""
    splits = prepared.splits
    scores = evaluate_learned(
        prepared.state.evaluated,
        splits.train,
        len(splits.test),
        order.spec.precision,
        order.micro_batches,
    )
    if not math.isfinite(scores.loss):
        return {}
    return {"loss": scores.loss, "accuracy": scores.accuracy}


def _agreement(assessment: Assessment, teacher: TeacherOutputs | None) -> dict[str, float]:
    """How often a student predicts what its teacher does, right or wrong."""
    if teacher is None:
        return {}
    agreed = float((assessment.predictions == teacher.test_predictions).mean())
    return {"teacher_agreement": agreed, "teacher_accuracy": teacher.accuracy}


def _published_gradients(
    folder: AttemptFolder, order: Order, prepared: PreparedRun
) -> tuple[SavedArtifact, ...]:
    """What was asked for of gradients over the steps."""
    found = prepared.state.layer_gradients
    if found is None:
        return ()
    steps = steps_per_epoch(len(prepared.splits.train), order.spec.batch_size)
    return (folder.publish(LAYER_GRADIENTS_NAME, BINARY, found.file(steps)),)


def _published_archive(
    folder: AttemptFolder, teacher: TeacherOutputs | None
) -> tuple[SavedArtifact, ...]:
    """The teacher's stored outputs under this run's name too: one file with two names, so that it stays when the store
    is cleared.
    """
    if teacher is None or teacher.archive is None:
        return ()
    return (folder.publish_again("teacher-logits.safetensors", teacher.archive),)
