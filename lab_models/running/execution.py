"""One attempt at one run, from order to test scores."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from lab_models.architectures.build import build_model
from lab_models.architectures.pixels import as_seen
from lab_models.architectures.sizes import ModelSize, model_size
from lab_models.architectures.stages import stages_of
from lab_models.building_on.features import features_of
from lab_models.building_on.teacher import (
    StoredLogits,
    TeacherOutputs,
    live_outputs,
    stored_outputs,
)
from lab_models.building_on.transfer import begin_from_source
from lab_models.common.errors import (
    CheckpointDamaged,
    DatasetUnavailable,
    LabError,
    OutOfMemory,
    StorageFull,
    TeacherUnusable,
)
from lab_models.common.files import FULL_DISK, WrittenFile, link_or_copy, write_atomically
from lab_models.common.revision import RESULTS_VERSION, package_version, source_revision
from lab_models.datasets.batches import Splits, device_splits
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.specs import (
    EVERY_CLASSIFIER,
    DistillSpec,
    MLPSpec,
    ModelSpec,
    TransferSpec,
    fingerprint,
)
from lab_models.training import fitting
from lab_models.training.assessment import (
    EVALUATION_NAME,
    PREDICTIONS_NAME,
    Assessment,
    assess,
    evaluation_file,
    predictions_file,
)
from lab_models.training.averaging import averaged_copy
from lab_models.training.checkpoints import (
    TrainState,
    copied_weights,
    read_checkpoint,
    restore,
    save_checkpoint,
    write_weights,
)
from lab_models.training.evaluation import predict
from lab_models.training.fitting import fit
from lab_models.training.gradient_flow import GradientFlow
from lab_models.training.matching import make_matcher
from lab_models.training.optimization import make_optimizer
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Order,
    Probed,
    Progress,
    SavedArtifact,
    SavedCheckpoint,
    Started,
)
from lab_models.training.stopping import early_stop

PROGRESS_SECONDS = 0.25

OUT_OF_MEMORY_WORDS = (
    "can't allocate memory",
    "could not create a primitive",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What PyTorch's allocator on the CPU, oneDNN without room for its code or scratchpad, and NVIDIA's libraries say in a
plain RuntimeError.
"""
OUT_OF_MEMORY_HINT = "lower batch_size, or the model's width or depth"
HALVING_HINT = '; or allow "on_out_of_memory": "halve_batch"'

ExecutionEvent = Started | Probed | Progress | EpochCompleted | Checkpointed | Completed


class Execution:
    """An attempt in progress. Iterate over `events()`; while an event is held, `checkpoint()` may save and the loop be
    left.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._run_folder = Path(order.run_folder)
        self._fingerprint = fingerprint(order.spec)
        self._threads = order.threads
        self._state: TrainState | None = None
        self._last_saved = monotonic()
        self._teacher: TeacherOutputs | None = None

    def events(self) -> Iterator[ExecutionEvent]:
        """Train to the end, then score the best weights on test. Raises a LabError that says why it could not."""
        try:
            yield from self._events()
        except LabError:
            raise
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise self._out_of_memory(error) from error
        except OSError as error:
            if error.errno in FULL_DISK:
                raise StorageFull(
                    f"writing {error.filename or 'a file'} failed: {error.strerror}",
                    hint="free disk space under LAB_HOME, then send the experiment again",
                ) from error
            raise
        except RuntimeError as error:
            if any(words in str(error) for words in OUT_OF_MEMORY_WORDS):
                raise self._out_of_memory(error) from error
            raise

    def _out_of_memory(self, error: Exception) -> OutOfMemory:
        is_allowed = self._order.spec.on_out_of_memory == "halve_batch"
        return OutOfMemory(
            str(error) or "out of memory",
            hint=OUT_OF_MEMORY_HINT + ("" if is_allowed else HALVING_HINT),
        )

    def checkpoint(self, *, stopped: bool) -> Checkpointed:
        """Save the state as it stands at the event just yielded."""
        return Checkpointed(checkpoint=self._save(), stopped=stopped)

    def _events(self) -> Iterator[ExecutionEvent]:
        order, spec = self._order, self._order.spec
        device = torch.device(order.device)
        saved, notes = self._newest_checkpoint()
        if saved is not None and saved["threads"] != order.threads:
            notes.append(
                f"resumed with the {saved['threads']} threads of the attempt before, so that the arithmetic stays the"
                " same"
            )
            self._threads = int(saved["threads"])
        make_deterministic(self._threads)

        folders = DataFolders(
            search=tuple(map(Path, order.search_folders)),
            download=Path(order.download_folder),
            prepared=Path(order.prepared_folder),
            imported=Path(order.imported_folder),
            min_free_bytes=order.min_free_bytes,
        )
        info = Catalog(folders.imported).get(spec.dataset.name)
        if info is None:
            raise DatasetUnavailable(
                f"there is no data set {spec.dataset.name!r}",
                hint="it was removed since the experiment was sent",
            )
        dataset = open_dataset(info, folders)
        notes += dataset.notes
        memory_format = best_memory_format(spec.network)
        seen = replace(dataset, info=as_seen(spec.network, dataset.info))
        splits = device_splits(seen, spec.dataset, device, memory_format=memory_format)
        model = (
            build_model(spec.network, info.shape, info.num_classes, order.seed)
            .to(device)
            .to(memory_format=memory_format)
        )
        begun = (
            begin_from_source(model, spec, order.source, _size(spec, info), folders)
            if isinstance(spec, TransferSpec)
            else None
        )
        matcher = make_matcher(spec, info, order.seed, device)
        state = self._state = TrainState(
            model,
            make_optimizer(spec.optimizer, model, None if begun is None else begun.groups, matcher),
            device,
            freezer=None if begun is None else begun.freezer,
            matcher=matcher,
            average=None if spec.ema_decay is None else averaged_copy(model),
            flow=GradientFlow(model) if "gradient_flow" in spec.probes else None,
        )
        self._prepare_teacher(
            dataset, splits, device
        )  # it draws weights, so it stands before the generators are set
        if saved is not None:
            restore(state, saved)
        yield Started(
            environment=environment(dataset, device, self._threads),
            resumed_from=None if saved is None else (state.epochs_done, state.step),
            notes=tuple(notes),
        )
        if isinstance(spec, TransferSpec) and spec.strategy == "features":
            yield self._classify_features(spec, model, splits, info)
            return
        yield from self._training_events(state, splits)
        yield self._finish(state, splits, dataset)

    def _training_events(self, state: TrainState, splits: Splits) -> Iterator[ExecutionEvent]:
        last_progress = -PROGRESS_SECONDS
        self._last_saved = monotonic()
        teacher = None if self._teacher is None else self._teacher.logits
        for event in fit(
            state,
            self._order.spec,
            self._order.seed,
            splits.train,
            splits.val,
            teacher,
            self._order.micro_batches,
        ):
            match event:
                case fitting.ProbeMeasured():
                    yield Probed(metrics=event.metrics)
                case fitting.Stepped():
                    now = monotonic()
                    if now - last_progress >= PROGRESS_SECONDS:
                        last_progress = now
                        yield Progress(
                            epoch=event.epoch, step=event.step, num_steps=event.num_steps
                        )
                    if now - self._last_saved >= self._order.checkpoint_seconds:
                        yield self.checkpoint(stopped=False)
                case fitting.EpochEnded():
                    assert state.best is not None
                    yield EpochCompleted(
                        epoch=event.epoch,
                        metrics=event.metrics,
                        best_epoch=state.best.epoch,
                        best_val=state.best.val,
                        stop_reason=event.stop,
                        checkpoint=self._save(),
                    )

    def _prepare_teacher(
        self, dataset: PreparedDataset, splits: Splits, device: torch.device
    ) -> None:
        """A student's teacher, and its logits: computed on every batch, or once and for all."""
        spec, files = self._order.spec, self._order.teacher
        if not isinstance(spec, DistillSpec):
            return
        if files is None:
            raise TeacherUnusable("the order names no teacher")
        if spec.teacher_outputs == "live":
            self._teacher = live_outputs(files, dataset, splits, device)
            return
        self._teacher = stored_outputs(
            Path(self._order.archives_folder),
            files,
            spec,
            dataset,
            splits,
            device,
            self._order.min_free_bytes,
        )
        if spec.permute_within_class and isinstance(self._teacher.logits, StoredLogits):
            self._teacher = replace(
                self._teacher,
                logits=self._teacher.logits.permuted_within_class(
                    splits.train.labels, self._order.seed
                ),
            )

    def _classify_features(
        self, spec: TransferSpec, model: nn.Module, splits: Splits, info: DatasetInfo
    ) -> Completed:
        """Classical classifiers on the frozen backbone's features, in place of training; the one that val prefers gives
        the run's accuracy.
        """
        from lab_models.building_on.classifiers import (
            fit_classifiers,
        )  # scikit-learn takes a second to load, and only this strategy needs it

        head = stages_of(_size(spec, info))[-1]
        parts = [
            features_of(model, split, spec.stage, head, spec.precision)
            for split in (splits.train, splits.val, splits.test)
        ]
        found = list(fit_classifiers(spec.classifiers or EVERY_CLASSIFIER, *parts))
        best = max(found, key=lambda fitted: fitted.val_accuracy)
        table = {
            "dimensions": parts[0].values.shape[1],
            "best": best.name,
            "classifiers": [asdict(fitted) for fitted in found],
        }
        published = self._publish(
            "classifiers.json", "application/json", json.dumps(table, indent=2).encode()
        )
        return Completed(
            stop_reason="all_epochs",
            best_epoch=1,
            best_val={"accuracy": best.val_accuracy}
            | {f"{fitted.name}_accuracy": fitted.val_accuracy for fitted in found},
            test={"accuracy": best.test_accuracy}
            | {f"{fitted.name}_accuracy": fitted.test_accuracy for fitted in found},
            artifacts=(published,),
        )

    def _finish(self, state: TrainState, splits: Splits, dataset: PreparedDataset) -> Completed:
        """Publish the last and the best weights and read test, once, with the best."""
        assert state.best is not None
        last = self._publish_weights("weights-last.safetensors", copied_weights(state.evaluated))
        best = self._publish_weights("weights.safetensors", state.best.weights)
        document = {
            "fingerprint": self._fingerprint,
            "seed": self._order.seed,
            "spec": self._order.spec.model_dump(mode="json"),
        }
        spec = self._publish(
            "spec.json", "application/json", json.dumps(document, indent=2).encode()
        )
        state.evaluated.load_state_dict(state.best.weights)
        logits, labels = predict(
            state.evaluated, splits.test, self._order.spec.precision, self._order.micro_batches
        )
        assessment = assess(logits, labels, dataset.info.class_names)
        source = {"dataset": dataset.info.name, "dataset_sha256": dataset.sha256}
        evaluation = self._publish(
            EVALUATION_NAME, "application/json", evaluation_file(assessment, **source)
        )
        predictions = self._publish(
            PREDICTIONS_NAME,
            "application/octet-stream",
            predictions_file(logits, labels, assessment.predictions, **source),
        )
        stop_reason = early_stop(self._order.spec.early_stopping, state.val_losses)
        return Completed(
            stop_reason=stop_reason or "all_epochs",
            best_epoch=state.best.epoch,
            best_val=state.best.val,
            test=assessment.scores | self._agreement(assessment),
            artifacts=(best, last, spec, evaluation, predictions, *self._published_archive()),
        )

    def _agreement(self, assessment: Assessment) -> dict[str, float]:
        """How often a student predicts what its teacher does, right or wrong."""
        if self._teacher is None:
            return {}
        agreed = float((assessment.predictions == self._teacher.test_predictions).mean())
        return {"teacher_agreement": agreed, "teacher_accuracy": self._teacher.accuracy}

    def _published_archive(self) -> list[SavedArtifact]:
        """The teacher's stored outputs under this run's name too: one file with two names, so that it stays when the
        store is cleared.
        """
        if self._teacher is None or self._teacher.archive is None:
            return []
        name = "teacher-logits.safetensors"
        return [
            self._artifact(
                name,
                "application/octet-stream",
                link_or_copy(self._teacher.archive, self._path(name), self._order.min_free_bytes),
            )
        ]

    def _newest_checkpoint(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest checkpoint that is whole, and a note for each that was not."""
        notes = []
        for candidate in self._order.resume:
            try:
                document = read_checkpoint(self._run_folder / candidate.path, candidate.sha256)
            except CheckpointDamaged as damage:
                notes.append(
                    f"checkpoint after epoch {candidate.epoch} is damaged and was passed over: {damage}"
                )
                continue
            if (
                document["fingerprint"] == self._fingerprint
                and document["seed"] == self._order.seed
            ):
                return document, notes
            notes.append(
                f"checkpoint {candidate.path} is of another spec or seed and was passed over"
            )
        return None, notes

    def _save(self) -> SavedCheckpoint:
        state = self._state
        assert state is not None
        name = f"checkpoint-{state.epochs_done:05d}-{state.step:06d}.pt"
        order, path = self._order, self._path(name)
        written = save_checkpoint(
            state,
            path,
            fingerprint=self._fingerprint,
            seed=order.seed,
            threads=self._threads,
            min_free_bytes=order.min_free_bytes,
        )
        self._last_saved = monotonic()
        return SavedCheckpoint(
            path=self._relative(written),
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            epoch=state.epochs_done,
            step=state.step,
        )

    def _publish(self, name: str, media_type: str, content: bytes) -> SavedArtifact:
        return self._artifact(
            name,
            media_type,
            write_atomically(self._path(name), content, self._order.min_free_bytes),
        )

    def _publish_weights(self, name: str, weights: dict[str, Tensor]) -> SavedArtifact:
        return self._artifact(
            name,
            "application/octet-stream",
            write_weights(weights, self._path(name), self._order.min_free_bytes),
        )

    def _artifact(self, name: str, media_type: str, written: WrittenFile) -> SavedArtifact:
        return SavedArtifact(
            name=name,
            media_type=media_type,
            path=self._relative(written),
            sha256=written.sha256,
            size_bytes=written.size_bytes,
        )

    def _path(self, name: str) -> Path:
        return self._run_folder / f"attempt-{self._order.attempt}" / name

    def _relative(self, written: WrittenFile) -> str:
        return str(written.path.relative_to(self._run_folder))


def _size(spec: TransferSpec, info: DatasetInfo) -> ModelSize:
    return model_size(spec.network, info.shape, info.num_classes)


def make_deterministic(threads: int) -> None:
    """Same machine, same thread count, same bits: https://pytorch.org/docs/stable/notes/randomness.html."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")


def best_memory_format(model: ModelSpec) -> torch.memory_format:
    """Channels last for convolutions: kernels of GPU and CPU want it so (docs/results.md); flattened pixels do not
    care.
    """
    return torch.contiguous_format if isinstance(model, MLPSpec) else torch.channels_last


def resolve_device(wanted: str) -> str:
    """`auto` becomes the first CUDA device when there is one, else the CPU; anything else stays."""
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    return wanted


def environment(dataset: PreparedDataset, device: torch.device, threads: int) -> dict[str, Any]:
    """What else decides the bits of a result, for the run's record."""
    return {
        "version": package_version(),
        "git": source_revision(),
        "results_version": RESULTS_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device_name(device),
        "threads": threads,
        "dataset_sha256": dataset.sha256,
    }


def device_name(device: torch.device) -> str:
    """`cuda: NVIDIA H200` or `cpu: <model>`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {_cpu_model()}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
