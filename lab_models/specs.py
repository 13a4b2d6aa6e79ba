"""What an experiment is: the frozen, typed spec that the API, the database, the trainer and the command line all read.

Nothing here loads torch, so a spec can be checked, priced and stored by a process that never trains.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

MAX_SEED = 2**31 - 1

MAX_DEPTH = 200
MAX_WIDTH = 16384
DEFAULT_DEPTH = 2
DEFAULT_WIDTH = 512


class Frozen(BaseModel):
    """Base of every spec: unknown fields are refused, nothing is coerced, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _no_minus_zero(cls, value: Any) -> Any:
        """-0.0 equals 0.0 and must not have another fingerprint."""
        return 0.0 if type(value) is float and value == 0.0 else value


def _named(key: str, default: str) -> Callable[[Any], Any]:
    """A bare string stands for that name with its defaults; an object without a name takes the default name."""

    def expand(value: Any) -> Any:
        if isinstance(value, str):
            return {key: value}
        if isinstance(value, dict) and key not in value:
            return {key: default, **value}
        return value

    return expand


class DatasetSpec(Frozen):
    """Which images, and how train and val are cut."""

    name: Literal["digits", "mnist"] = "digits"
    """Data set; `GET /datasets` describes them."""
    val_fraction: float = Field(default=0.2, ge=0.01, le=0.9)
    """Share of the training images held out as val, which chooses the best epoch."""
    stratified: bool = True
    """Keep the classes' proportions in train and val."""
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the cut; shared by all seeds of an experiment, so that replicates differ in training alone."""
    train_limit: int | None = Field(default=None, ge=1)
    """Train on this many images only (a quick look); val and test stay whole."""
    augmentation: Literal["none"] = "none"
    """Change of the training images; val and test are never augmented."""


class MLPSpec(Frozen):
    """A multilayer perceptron on flattened pixels: linear, norm, ReLU, dropout per hidden layer, then a linear head."""

    arch: Literal["mlp"] = "mlp"
    """Architecture."""
    depth: int | None = Field(default=None, ge=1, le=MAX_DEPTH)
    """Number of hidden layers, the head not counted; 2 when neither `depth` nor `hidden` is given."""
    width: int | None = Field(default=None, ge=1, le=MAX_WIDTH)
    """Units of every hidden layer; 512 when neither `width` nor `hidden` is given."""
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_WIDTH)], ...], Field(min_length=1, max_length=MAX_DEPTH, strict=False)] | None = None
    """Widths layer by layer, in place of `depth` and `width`."""
    residual: bool = False
    """Shortcut without parameters around every hidden layer but the first: relu(F(h) + h). Needs equal widths."""
    norm: Literal["none", "batch", "layer"] = "none"
    """Normalisation between a hidden layer and its ReLU."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a hidden unit while training."""
    dropout_at: Literal["every_hidden", "last_hidden"] = "every_hidden"
    """After which hidden layers dropout stands."""

    @model_validator(mode="before")
    @classmethod
    def _canonical_widths(cls, data: Any) -> Any:
        """Equal networks get equal specs: equal widths become depth and width, and missing ones their defaults."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        hidden = data.get("hidden")
        if hidden is not None:
            if data.get("depth") is not None or data.get("width") is not None:
                raise ValueError("give either 'hidden', or 'depth' and 'width', not both")
            if (
                isinstance(hidden, (list, tuple))
                and 0 < len(hidden) <= MAX_DEPTH
                and all(type(width) is int and 1 <= width <= MAX_WIDTH for width in hidden)
                and len(set(hidden)) == 1
            ):
                data.update(depth=len(hidden), width=hidden[0], hidden=None)
        else:
            data["depth"] = DEFAULT_DEPTH if data.get("depth") is None else data["depth"]
            data["width"] = DEFAULT_WIDTH if data.get("width") is None else data["width"]
        return data

    @model_validator(mode="after")
    def _shortcuts_need_equal_widths(self) -> Self:
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError(f"a residual MLP adds a layer's input to its output, so all widths must be equal, not {list(self.widths)}")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, input side first."""
        if self.hidden is not None:
            return self.hidden
        return (self.width or DEFAULT_WIDTH,) * (self.depth or DEFAULT_DEPTH)


ModelSpec = MLPSpec


class SGDSpec(Frozen):
    """Stochastic gradient descent, as in `torch.optim.SGD`."""

    name: Literal["sgd"] = "sgd"
    """Optimizer."""
    learning_rate: float = Field(default=0.1, gt=0, le=1e6)
    """Step size."""
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the last update that is kept."""
    nesterov: bool = False
    """Nesterov's momentum; needs `momentum` above 0."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1e3)
    """L2 penalty added to the gradient."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("'nesterov' needs 'momentum' above 0")
        return self


class AdamSpec(Frozen):
    """Adam (Kingma and Ba 2015) with its published constants beta 0.9 and 0.999, epsilon 1e-8."""

    name: Literal["adam"] = "adam"
    """Optimizer."""
    learning_rate: float = Field(default=0.001, gt=0, le=1e6)
    """Step size."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1e3)
    """L2 penalty added to the gradient."""


OptimizerSpec = Annotated[SGDSpec | AdamSpec, Field(discriminator="name")]


class ConstantSchedule(Frozen):
    """The learning rate stays what the optimizer says."""

    name: Literal["constant"] = "constant"
    """Schedule of the learning rate."""


ScheduleSpec = ConstantSchedule


class TrainSpec(Frozen):
    """One network trained on one data set. Seeds are not part of it, so equal specs have equal fingerprints."""

    kind: Literal["train"] = "train"
    """What is done: train one network."""
    dataset: Annotated[DatasetSpec, BeforeValidator(_named("name", "digits"), json_schema_input_type=DatasetSpec | str)] = DatasetSpec()
    """Data set and splits, or just its name."""
    model: Annotated[ModelSpec, BeforeValidator(_named("arch", "mlp"), json_schema_input_type=ModelSpec | str)] = MLPSpec()
    """Network, or just its architecture's name."""
    optimizer: Annotated[OptimizerSpec, BeforeValidator(_named("name", "adam"), json_schema_input_type=OptimizerSpec | str)] = AdamSpec()
    """Optimizer, or just its name."""
    schedule: Annotated[ScheduleSpec, BeforeValidator(_named("name", "constant"), json_schema_input_type=ScheduleSpec | str)] = ConstantSchedule()
    """Learning-rate schedule, or just its name."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Images per optimizer step."""
    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over train."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target spread evenly over all classes (Szegedy et al. 2016)."""
    precision: Literal["float32"] = "float32"
    """Number format of the arithmetic."""

    @model_validator(mode="after")
    def _batch_norm_needs_two_images(self) -> Self:
        if self.model.norm == "batch" and 1 in (self.batch_size, self.dataset.train_limit):
            raise ValueError("norm 'batch' cannot train on a single image: 'batch_size' and 'train_limit' must be above 1")
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


def _all_different(seeds: tuple[int, ...]) -> tuple[int, ...]:
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
        AfterValidator(_all_different),
    ] = (0,)
    """One run per seed: a list, or how many to count from 0."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher starts first."""

    @property
    def spec(self) -> Spec:
        """The experiment's spec alone, without seeds and names."""
        return TrainSpec.model_construct(**{field: getattr(self, field) for field in TrainSpec.model_fields})


def canonical_json(spec: Spec) -> str:
    """The spec with every default written out, keys sorted, no white space: equal specs give equal text."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(spec: Spec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()
