"""What an experiment is: the frozen, typed spec that the API, the database, the trainer and the command line all read.

Read `experiment.py` first, then `distill.py` and `request.py`; their parts are `dataset.py`, `model.py`, `training.py`.
Nothing here loads torch, so a spec can be checked, priced and stored by a process that never trains.
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lab_models.specs.base import MAX_SEED, Frozen
from lab_models.specs.dataset import AUGMENTATIONS, AugmentationSpec, DatasetSpec
from lab_models.specs.distill import OWN, DistillSpec, Pupil, Reference, Trained
from lab_models.specs.experiment import CONTROLS, FoundationRole, Kind, Probe, TrainSpec
from lab_models.specs.features import AttentionSpec, FeatureSpec, HintSpec
from lab_models.specs.going_on import (
    MOST_TIMES,
    ContinueSpec,
    KeptWeights,
    Origin,
    TrainedSpec,
)
from lab_models.specs.layer_gradients import MOST_POINTS, LayerGradientsSpec
from lab_models.specs.layers import LayersSpec
from lab_models.specs.mlp import MAX_DEPTH, MAX_WIDTH, MLPSpec
from lab_models.specs.model import (
    ARCHITECTURES,
    CNNSpec,
    HeNetSpec,
    ModelSpec,
    ResNet18Spec,
    VGGSpec,
)
from lab_models.specs.presets import PRESETS
from lab_models.specs.pretrained import IMAGENET_SIDE, Pretrained, PretrainedName
from lab_models.specs.request import (
    ROLES,
    ContinueRequest,
    DistillRequest,
    ExperimentRequest,
    OriginReference,
    Request,
    TransferRequest,
    read_request,
)
from lab_models.specs.training import (
    AdamSpec,
    AdamWSpec,
    ConstantSchedule,
    CosineSchedule,
    EarlyStoppingSpec,
    MultiStepSchedule,
    OneCycleSchedule,
    OptimizerSpec,
    PlateauSchedule,
    RMSpropSpec,
    ScheduleSpec,
    SGDSpec,
)
from lab_models.specs.transfer import EVERY_CLASSIFIER, TransferSpec, Tuning

__all__ = [
    "ARCHITECTURES",
    "AUGMENTATIONS",
    "CONTROLS",
    "EVERY_CLASSIFIER",
    "IMAGENET_SIDE",
    "MAX_DEPTH",
    "MAX_SEED",
    "MAX_WIDTH",
    "MOST_POINTS",
    "MOST_TIMES",
    "OWN",
    "PRESETS",
    "ROLES",
    "AdamSpec",
    "AdamWSpec",
    "AnySpec",
    "AttentionSpec",
    "AugmentationSpec",
    "CNNSpec",
    "ConstantSchedule",
    "ContinueRequest",
    "ContinueSpec",
    "CosineSchedule",
    "DatasetSpec",
    "DistillRequest",
    "DistillSpec",
    "EarlyStoppingSpec",
    "ExperimentRequest",
    "FeatureSpec",
    "FoundationRole",
    "Frozen",
    "HeNetSpec",
    "HintSpec",
    "KeptWeights",
    "Kind",
    "LayerGradientsSpec",
    "LayersSpec",
    "MLPSpec",
    "ModelSpec",
    "MultiStepSchedule",
    "OneCycleSchedule",
    "OptimizerSpec",
    "Origin",
    "OriginReference",
    "PlateauSchedule",
    "Pretrained",
    "PretrainedName",
    "Probe",
    "Pupil",
    "RMSpropSpec",
    "Reference",
    "Request",
    "ResNet18Spec",
    "SGDSpec",
    "ScheduleSpec",
    "Spec",
    "TrainSpec",
    "Trained",
    "TrainedSpec",
    "TransferRequest",
    "TransferSpec",
    "Tuning",
    "VGGSpec",
    "canonical_json",
    "fingerprint",
    "read_request",
    "read_spec",
]

AnySpec = TrainSpec | DistillSpec | TransferSpec | ContinueSpec
Spec = Annotated[TrainSpec | DistillSpec | TransferSpec | ContinueSpec, Field(discriminator="kind")]

_specs: TypeAdapter[AnySpec] = TypeAdapter(Spec)


def read_spec(document: Any) -> AnySpec:
    """An effective spec as it was stored; raises pydantic.ValidationError."""
    return _specs.validate_python(document)


def canonical_json(spec: AnySpec) -> str:
    """What the spec says beyond the defaults, keys sorted, no white space: equal specs give equal text.

    A field that a later version adds changes no text while it has its default, so old fingerprints stay true. In
    return a default never changes: that would give an old fingerprint a new meaning.
    """
    return json.dumps(
        _beyond_defaults(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True
    )


def fingerprint(spec: AnySpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


_TAGS = ("kind", "name", "arch")


def _beyond_defaults(spec: Frozen) -> dict[str, Any]:
    """The fields that differ from their defaults, and always those that say which of several specs this is."""
    document = spec.model_dump(mode="json")
    said: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        tagged = isinstance(value, Frozen) and any(tag in type(value).model_fields for tag in _TAGS)
        if name in _TAGS or tagged or value != field.default:
            said[name] = _beyond_defaults(value) if isinstance(value, Frozen) else document[name]
    return said
