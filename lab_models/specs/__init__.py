"""What an experiment is: the frozen, typed spec that the API, the database, the trainer and the command line all read.

Its parts stand beside it: `dataset.py`, `model.py`, `training.py`. Nothing here loads torch, so a spec can be checked,
priced and stored by a process that never trains.
"""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lab_models.specs.base import MAX_SEED, Frozen, named
from lab_models.specs.dataset import AUGMENTATIONS, AugmentationSpec, DatasetSpec
from lab_models.specs.model import (
    ARCHITECTURES,
    MAX_DEPTH,
    MAX_WIDTH,
    PRESETS,
    CNNSpec,
    HeNetSpec,
    MLPSpec,
    ModelSpec,
    ResNet18Spec,
    VGGSpec,
    expand_preset,
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
    ScheduleSpec,
    SGDSpec,
)

__all__ = [
    "ARCHITECTURES",
    "AUGMENTATIONS",
    "MAX_DEPTH",
    "MAX_SEED",
    "MAX_WIDTH",
    "PRESETS",
    "AdamSpec",
    "AdamWSpec",
    "AugmentationSpec",
    "CNNSpec",
    "ConstantSchedule",
    "CosineSchedule",
    "DatasetSpec",
    "EarlyStoppingSpec",
    "ExperimentRequest",
    "Frozen",
    "HeNetSpec",
    "MLPSpec",
    "ModelSpec",
    "MultiStepSchedule",
    "OneCycleSchedule",
    "OptimizerSpec",
    "PlateauSchedule",
    "Probe",
    "ResNet18Spec",
    "SGDSpec",
    "ScheduleSpec",
    "Spec",
    "TrainSpec",
    "VGGSpec",
    "canonical_json",
    "fingerprint",
]

Probe = Literal["gradient_flow"]


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("the same is named twice")
    return values


class TrainSpec(Frozen):
    """One network trained on one data set. Seeds are not part of it, so equal specs have equal fingerprints."""

    kind: Literal["train"] = "train"
    """What is done: train one network."""
    dataset: Annotated[DatasetSpec, BeforeValidator(named("name", "digits"), json_schema_input_type=DatasetSpec | str)] = DatasetSpec()
    """Data set and splits, or just its name."""
    model: Annotated[ModelSpec, BeforeValidator(expand_preset, json_schema_input_type=ModelSpec | str)] = MLPSpec()
    """Network, or just the name of its architecture or preset; `{"preset": "student", "residual": false}` changes a preset."""
    optimizer: Annotated[OptimizerSpec, BeforeValidator(named("name", "adam"), json_schema_input_type=OptimizerSpec | str)] = AdamSpec()
    """Optimizer, or just its name."""
    schedule: Annotated[ScheduleSpec, BeforeValidator(named("name", "constant"), json_schema_input_type=ScheduleSpec | str)] = ConstantSchedule()
    """Learning-rate schedule, or just its name."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Images per optimizer step."""
    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over train; with early stopping, the most."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target spread evenly over all classes (Szegedy et al. 2016)."""
    gradient_clip: float | None = Field(default=None, gt=0.0, le=1e9)
    """Largest L2 norm of the whole gradient; a longer one is scaled down to it. null: never."""
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Validate, test and publish an exponential moving average of the weights with this decay per step. null: the weights themselves."""
    early_stopping: EarlyStoppingSpec | None = None
    """When to end before `epochs`; `{}` is stagnation with its defaults."""
    best_by: Literal["loss", "accuracy"] = "loss"
    """What makes an epoch the best: lowest val loss, or highest val accuracy (the lower loss breaks a tie)."""
    probes: Annotated[tuple[Probe, ...], Field(max_length=10, strict=False), AfterValidator(_all_different)] = ()
    """What else is measured: `gradient_flow`, every layer's gradient at initialization and at each epoch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the forward and backward pass; weights, loss and optimizer stay float32."""

    @model_validator(mode="after")
    def _batch_norm_needs_two_images(self) -> Self:
        if 1 in (self.batch_size, self.dataset.train_limit) and (self.model.norm == "batch" if isinstance(self.model, MLPSpec) else True):
            raise ValueError("batch norm cannot train on a single image: 'batch_size' and 'train_limit' must be above 1")
        return self

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if not isinstance(self.schedule, OneCycleSchedule) and self.schedule.warmup_epochs > self.epochs:
            raise ValueError(f"'warmup_epochs' {self.schedule.warmup_epochs:g} is more than the {self.epochs} 'epochs'")
        return self


Spec = TrainSpec
Label = Annotated[str, Field(max_length=200)]


def _counted(value: Any) -> Any:
    """`"seeds": 5` stands for [0, 1, 2, 3, 4]."""
    if type(value) is not int:
        return value
    if not 1 <= value <= 1000:
        raise ValueError("a number of seeds lies between 1 and 1000")
    return list(range(value))


def _no_seed_twice(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is named twice; runs of one spec with one seed are identical")
    return seeds


class ExperimentRequest(TrainSpec):
    """What a person sends or keeps in a file: a spec, the seeds to run it with, and what to call it."""

    name: str | None = Field(default=None, max_length=200)
    """Name shown in lists and plots."""
    labels: dict[Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")], Label] = Field(default={}, max_length=50)
    """Your own keys and values, to find the experiment by."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
        Field(min_length=1, max_length=1000, strict=False),
        BeforeValidator(_counted, json_schema_input_type=list[int] | int),
        AfterValidator(_no_seed_twice),
    ] = (0,)
    """One run per seed: a list, or how many to count from 0."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher starts first."""

    @property
    def spec(self) -> Spec:
        """The experiment's spec alone, without seeds and names."""
        return TrainSpec.model_construct(**{field: getattr(self, field) for field in TrainSpec.model_fields})


def canonical_json(spec: Spec) -> str:
    """What the spec says beyond the defaults, keys sorted, no white space: equal specs give equal text.

    A field that a later version adds changes no text while it has its default, so old fingerprints stay true. In
    return a default never changes: that would give an old fingerprint a new meaning.
    """
    return json.dumps(_beyond_defaults(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(spec: Spec) -> str:
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
