"""Why a network cannot build on another one: what is refused at submit, before either is trained. Nothing here loads
torch.
"""

from typing import assert_never

from lab_models.architectures.pairs import pair_faults
from lab_models.architectures.sizes import impossible, model_size
from lab_models.architectures.stages import stages_of
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import AnySpec, ContinueSpec, DistillSpec, TrainSpec, TransferSpec


def misfits(spec: AnySpec, before: DatasetInfo, info: DatasetInfo) -> list[FieldError]:
    """Why a network that has learned the images of `before` is no source or teacher for those of `info`; nothing where
    it is.

    Networks that cannot take these images at all are not looked at: `sizes.impossible` says so.
    """
    match spec:
        case TrainSpec() | ContinueSpec():
            return []
        case DistillSpec():
            return _of_a_student(spec, info)
        case TransferSpec():
            return _of_a_transfer(spec, before, info)
        case _:
            assert_never(spec)


def _of_a_student(spec: DistillSpec, info: DatasetInfo) -> list[FieldError]:
    networks = (spec.teacher.spec.network, spec.student)
    if spec.features is None or any(impossible(network, info.shape) for network in networks):
        return []
    return pair_faults(
        spec.features, *(model_size(network, info.shape, info.num_classes) for network in networks)
    )


def _of_a_transfer(spec: TransferSpec, before: DatasetInfo, info: DatasetInfo) -> list[FieldError]:
    if before.shape[0] != info.shape[0] or (
        spec.network.counts_pixels and before.shape != info.shape
    ):
        seen, given = ("x".join(map(str, each.shape)) for each in (before, info))
        return [
            FieldError(
                "/source",
                f"it has learned {before.name}, images of {seen}, and {info.name} has {given}: its first layer does"
                " not fit",
            )
        ]
    stages = stages_of(model_size(spec.network, info.shape, info.num_classes))[:-1]
    if spec.stage is not None and spec.stage not in stages:
        return [
            FieldError(
                "/stage",
                f"this network has no stage {spec.stage!r}",
                f"it has {', '.join(stages)}"
                if spec.stage.startswith("layers.")
                else did_you_mean(spec.stage, list(stages)),
            )
        ]
    return []
