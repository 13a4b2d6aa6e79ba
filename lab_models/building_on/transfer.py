"""Begin from a trained network: take its backbone's weights, give a new head, and say what is trained from there."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lab_models.architectures.sizes import ModelSize
from lab_models.architectures.stages import stage_of, stages_of
from lab_models.building_on.pretrained import pretrained_weights
from lab_models.building_on.published import published_weights
from lab_models.common.errors import PretrainedUnavailable, TeacherUnusable
from lab_models.datasets.readers import DataFolders
from lab_models.specs import Pretrained, PretrainedName, TransferSpec
from lab_models.training.freezing import Freezer, parameter_groups
from lab_models.training.protocol import FoundationFiles

COUNTER = ".num_batches_tracked"
"""What batch norm counts; with a fixed momentum nothing reads it."""


@dataclass(frozen=True)
class Beginning:
    """How a transfer begins, once its model has the source's backbone: what is frozen, and the groups of what is
    trained.
    """

    freezer: Freezer
    groups: list[dict[str, Any]]


def begin_from_source(
    model: nn.Module,
    spec: TransferSpec,
    files: FoundationFiles | None,
    size: ModelSize,
    folders: DataFolders,
) -> Beginning:
    """Give the model its source's backbone: of the run whose `files` these are, or of published weights.

    Raises TeacherUnusable and PretrainedUnavailable.
    """
    if isinstance(spec.source, Pretrained):
        take_published_backbone(model, spec.source.pretrained, size, folders)
    elif files is None:
        raise TeacherUnusable("the order names no source")
    else:
        take_backbone(model, files, size)
    return Beginning(Freezer(model, spec, size), parameter_groups(model, spec, size))


def take_backbone(model: nn.Module, files: FoundationFiles, size: ModelSize) -> None:
    """Give the model the source's weights in every stage but the head, which keeps its initial ones.

    Raises TeacherUnusable when the file is damaged or holds another network's weights.
    """
    unfit = _replace_backbone(model, published_weights(files), size)
    if unfit:
        raise TeacherUnusable(
            f"run {files.run_id} has another network: {', '.join(unfit[:3])} do not fit"
        )


def take_published_backbone(
    model: nn.Module, name: PretrainedName, size: ModelSize, folders: DataFolders
) -> None:
    """The same from published weights, which may lack batch norm's counters; raises PretrainedUnavailable."""
    weights = pretrained_weights(name, folders)
    counters = {key: tensor for key, tensor in model.state_dict().items() if key.endswith(COUNTER)}
    unfit = _replace_backbone(model, counters | weights, size)
    if unfit:
        raise PretrainedUnavailable(
            f"the published weights of {name} are of another network: {', '.join(unfit[:3])} do not fit"
        )


def _replace_backbone(model: nn.Module, weights: dict[str, Tensor], size: ModelSize) -> list[str]:
    """Load all weights but the head's; returns the names of those that do not fit, where there are any nothing is
    loaded.
    """
    head = stages_of(size)[-1]
    own = model.state_dict()
    backbone = {name: tensor for name, tensor in weights.items() if stage_of(name) != head}
    missing = {name for name in own if stage_of(name) != head} ^ set(backbone)
    unlike = [name for name in backbone if name in own and own[name].shape != backbone[name].shape]
    if not missing and not unlike:
        model.load_state_dict(own | backbone)
    return sorted([*missing, *unlike])
