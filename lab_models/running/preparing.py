"""From an order to what training needs: data on the device, the network with its optimizer, and what it builds on."""

from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from lab_models.architectures.build import build_model
from lab_models.architectures.pixels import as_seen
from lab_models.architectures.sizes import model_size
from lab_models.building_on.going_on import take_weights
from lab_models.building_on.teacher import (
    StoredLogits,
    TeacherOutputs,
    live_outputs,
    stored_outputs,
)
from lab_models.building_on.transfer import begin_from_source
from lab_models.common.errors import CheckpointDamaged, DatasetUnavailable, TeacherUnusable
from lab_models.datasets.batches import RESIDENT_BYTES, Splits, device_splits
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.running.environment import best_memory_format
from lab_models.running.stopwatch import Stopwatch
from lab_models.specs import ContinueSpec, DistillSpec, TransferSpec, fingerprint
from lab_models.training.averaging import averaged_copy
from lab_models.training.checkpoints import TrainState, read_checkpoint
from lab_models.training.gradient_flow import GradientFlow
from lab_models.training.layer_gradients import LayerGradients
from lab_models.training.matching import make_matcher
from lab_models.training.optimization import make_optimizer
from lab_models.training.protocol import Order

SHARE_OF_IMAGES: Final = 4
"""Of a GPU's free memory, images may take one of so many parts."""


@dataclass(frozen=True)
class PreparedRun:
    """All that an order asks for, before the first step: `teacher` is what a student learns from, None for others."""

    dataset: PreparedDataset
    splits: Splits
    state: TrainState
    teacher: TeacherOutputs | None


def prepare(order: Order, stopwatch: Stopwatch | None = None) -> PreparedRun:
    """Open the data, build the network and have its foundation ready; the stopwatch is told which of it is `data`.

    Raises DatasetUnavailable, TeacherUnusable, PretrainedUnavailable, and StorageFull where something must be written
    for that.
    """
    stopwatch = stopwatch or Stopwatch("data")
    stopwatch.enter("data")
    dataset = _opened(order)
    splits = device_splits(
        replace(dataset, info=as_seen(order.spec.network, dataset.info)),
        order.spec.dataset,
        torch.device(order.device),
        memory_format=best_memory_format(order.spec.network),
        resident_bytes=resident_bytes(torch.device(order.device), order.memory_fraction),
    )
    stopwatch.enter("building")
    state = _initial_state(order, dataset.info)
    return PreparedRun(dataset, splits, state, _teacher_outputs(order, dataset, splits))


def resident_bytes(device: torch.device, fraction: float | None = None) -> int:
    """How much of images may lie on the device: of a GPU a quarter of what is free of the run's part. Where they lie
    changes no bit.
    """
    if device.type != "cuda":
        return RESIDENT_BYTES
    free, total = torch.cuda.mem_get_info(device)
    return int(min(free, total if fraction is None else fraction * total) / SHARE_OF_IMAGES)


def newest_checkpoint(order: Order) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole and of this very spec and seed, and a note for each that is not."""
    notes = []
    for candidate in order.resume:
        try:
            document = read_checkpoint(order.run_folder / candidate.path, candidate.sha256)
        except CheckpointDamaged as damage:
            notes.append(
                f"checkpoint after epoch {candidate.epoch} is damaged and was passed over: {damage}"
            )
            continue
        if document["fingerprint"] == fingerprint(order.spec) and document["seed"] == order.seed:
            return document, notes
        notes.append(f"checkpoint {candidate.path} is of another spec or seed and was passed over")
    return None, notes


def _opened(order: Order) -> PreparedDataset:
    name = order.spec.dataset.name
    info = Catalog(order.folders.imported).get(name)
    if info is None:
        raise DatasetUnavailable(
            f"there is no data set {name!r}", hint="it was removed since the experiment was sent"
        )
    return open_dataset(info, _data_folders(order))


def _data_folders(order: Order) -> DataFolders:
    folders = order.folders
    return DataFolders(
        search=folders.search,
        download=folders.download,
        prepared=folders.prepared,
        imported=folders.imported,
        min_free_bytes=order.min_free_bytes,
    )


def _initial_state(order: Order, info: DatasetInfo) -> TrainState:
    """The network as it begins, initialized, with its source's backbone or its origin's weights, and what moves it."""
    spec, device = order.spec, torch.device(order.device)
    model = (
        build_model(spec.network, info.shape, info.num_classes, order.seed)
        .to(device)
        .to(memory_format=best_memory_format(spec.network))
    )
    begun = (
        begin_from_source(
            model,
            spec,
            order.foundation,
            model_size(spec.network, info.shape, info.num_classes),
            _data_folders(order),
        )
        if isinstance(spec, TransferSpec)
        else None
    )
    if isinstance(spec, ContinueSpec):
        take_weights(model, order.foundation)
    matcher = make_matcher(spec, info, order.seed, device)
    return TrainState(
        model,
        make_optimizer(spec.optimizer, model, None if begun is None else begun.groups, matcher),
        device,
        freezer=None if begun is None else begun.freezer,
        matcher=matcher,
        average=None if spec.ema_decay is None else averaged_copy(model),
        flow=GradientFlow(model) if "gradient_flow" in spec.probes else None,
        layer_gradients=None
        if spec.layer_gradients is None
        else LayerGradients(model, spec.layer_gradients, device),
    )


def _teacher_outputs(
    order: Order, dataset: PreparedDataset, splits: Splits
) -> TeacherOutputs | None:
    """A student's teacher, its logits computed on every batch, or once and for all. It may draw weights, so it stands
    before the generators are set.
    """
    spec, device = order.spec, torch.device(order.device)
    if not isinstance(spec, DistillSpec):
        return None
    if order.foundation is None:
        raise TeacherUnusable("the order names no teacher")
    if spec.teacher_outputs == "live":
        return live_outputs(order.foundation, dataset, splits, device)
    teacher = stored_outputs(
        order.folders.archives,
        order.foundation,
        spec,
        dataset,
        splits,
        device,
        order.min_free_bytes,
    )
    if spec.permute_within_class and isinstance(teacher.logits, StoredLogits):
        permuted = teacher.logits.permuted_within_class(splits.train.labels, order.seed)
        return replace(teacher, logits=permuted)
    return teacher
