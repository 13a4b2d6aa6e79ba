"""One network trained on one data set. The parts stand apart, because a student is trained by the same procedure."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lab_models.specs.base import Frozen, all_different, named
from lab_models.specs.dataset import DatasetSpec
from lab_models.specs.features import FeatureSpec
from lab_models.specs.layer_gradients import LayerGradientsSpec
from lab_models.specs.mlp import MLPSpec
from lab_models.specs.model import ModelSpec
from lab_models.specs.presets import expand_preset
from lab_models.specs.training import (
    AdamSpec,
    ConstantSchedule,
    EarlyStoppingSpec,
    OneCycleSchedule,
    OptimizerSpec,
    ScheduleSpec,
)

Probe = Literal["gradient_flow"]
Precision = Literal["float32", "tf32", "bfloat16"]


NetworkSpec = Annotated[
    ModelSpec, BeforeValidator(expand_preset, json_schema_input_type=ModelSpec | str)
]


Kind = Literal["train", "distill", "transfer", "continue"]
"""What is done."""
FoundationRole = Literal["teacher", "source", "origin"]
"""What the foundation of a spec is called in it: the network that is built on."""
ControlRole = Literal["baseline", "from_scratch"]
"""What the same network, trained without its foundation, is called."""
CONTROLS: tuple[ControlRole, ...] = get_args(ControlRole)


class Subject(Frozen):
    """What is learned from."""

    role: ClassVar[FoundationRole | None] = None
    """What the spec's foundation is called; None where it builds on nothing."""
    control: ClassVar[ControlRole | None] = None
    """What the experiment beside it that has no foundation is called."""
    work: ClassVar[str] = "network"
    """What is made of it is called."""
    network_at: ClassVar[str] = "model"
    """The field that says which network is trained."""

    kind: Kind = "train"
    """What is done."""
    dataset: Annotated[
        DatasetSpec,
        BeforeValidator(named("name", "digits"), json_schema_input_type=DatasetSpec | str),
    ] = DatasetSpec()
    """Data set and splits, or just its name."""

    @property
    def matched(self) -> FeatureSpec | None:
        """What is matched of the foundation beside its logits."""
        return None

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed gives other numbers."""
        return True

    @property
    def has_own_foundations(self) -> bool:
        """Whether each run builds on the foundation of its own seed."""
        return False

    def foundation_passes(self, epochs: int, num_views: int) -> int:  # noqa: ARG002
        """How often the foundation sees each training image while the network on it is trained."""
        return 0


class Procedure(Frozen):
    """How it is learned, whatever the network and the objective."""

    optimizer: Annotated[
        OptimizerSpec,
        BeforeValidator(named("name", "adam"), json_schema_input_type=OptimizerSpec | str),
    ] = AdamSpec()
    """Optimizer, or just its name."""
    schedule: Annotated[
        ScheduleSpec,
        BeforeValidator(named("name", "constant"), json_schema_input_type=ScheduleSpec | str),
    ] = ConstantSchedule()
    """Learning-rate schedule, or just its name."""
    batch_size: int = Field(default=64, ge=1, le=65536)
    """Images per optimizer step."""
    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over train; with early stopping, the most."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the target spread evenly over all classes (Szegedy et al. 2016)."""
    class_weights: Literal["balanced"] | None = None
    """What an image counts in the training loss: `balanced`, n / (k · n_c), for n training images of k classes, n_c of
    its own; a batch's loss is the weighted mean. null: all count alike, as they always do in val and test.
    """
    gradient_clip: float | None = Field(default=None, gt=0.0, le=1e9)
    """Largest L2 norm of the whole gradient; a longer one is scaled down to it. null: never."""
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Validate, test and publish an exponential moving average of the weights with this decay per step. null: the
    weights themselves.
    """
    early_stopping: EarlyStoppingSpec | None = None
    """When to end before `epochs`; `{}` is stagnation with its defaults."""
    best_by: Literal["loss", "accuracy"] = "loss"
    """What makes an epoch the best: lowest val loss, or highest val accuracy (the lower loss breaks a tie)."""
    probes: Annotated[
        tuple[Probe, ...], Field(max_length=10, strict=False), AfterValidator(all_different)
    ] = ()
    """What else is measured: `gradient_flow`, every layer's gradient at initialization and at each epoch."""
    layer_gradients: LayerGradientsSpec | None = None
    """What is measured of a few parameters' gradients over the steps of training; null: nothing."""
    precision: Precision = "float32"
    """Number format of the forward and backward pass; weights, loss and optimizer stay float32. `tf32`: a GPU of
    compute capability 8.0 or higher multiplies with 10 bits after the point in place of 23; anything else computes
    float32 then.
    """
    on_out_of_memory: Literal["fail", "halve_batch"] = "fail"
    """Where the device's memory is too small: `fail`, or go on with half as many images at a time, again and again,
    their gradients accumulated to the same `batch_size` per step. Batch norm then sees the smaller number.
    """

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if (
            not isinstance(self.schedule, OneCycleSchedule)
            and self.schedule.warmup_epochs > self.epochs
        ):
            raise ValueError(
                f"'warmup_epochs' {self.schedule.warmup_epochs:g} is more than the {self.epochs} 'epochs'"
            )
        return self

    @model_validator(mode="after")
    def _weights_need_something_to_weigh_against(self) -> Self:
        if self.class_weights is not None and self.batch_size == 1:
            raise ValueError(
                "'class_weights' weigh the images of a batch against each other: 'batch_size' must be above 1"
            )
        return self

    @property
    def planned_epochs(self) -> int:
        """Passes over train, at most."""
        return self.epochs

    @property
    def doubts(self) -> list[str]:
        """What is allowed but probably not meant."""
        return self.optimizer.doubts


def refuse_single_images(network: ModelSpec, batch_size: int, train_limit: int | None) -> None:
    """Raises ValueError where batch norm would have to train on one image."""
    if 1 in (batch_size, train_limit) and network.has_batch_norm:
        raise ValueError(
            "batch norm cannot train on a single image: 'batch_size' and 'train_limit' must be above 1"
        )


class Network(Frozen):
    """What learns."""

    model: NetworkSpec = MLPSpec()
    """Network, or just the name of its architecture or preset; `{"preset": "student", "residual": false}` changes a
    preset.
    """


class TrainSpec(Procedure, Network, Subject):
    """One network trained on one data set. Seeds are not part of it, so equal specs have equal fingerprints."""

    kind: Literal["train"] = "train"
    """What is done: train one network."""

    @model_validator(mode="after")
    def _batch_norm_needs_two_images(self) -> Self:
        refuse_single_images(self.model, self.batch_size, self.dataset.train_limit)
        return self

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        return self.model

    @property
    def built_on(self) -> None:
        """Its foundation: it has none."""
        return None
