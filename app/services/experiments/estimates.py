"""What an experiment costs, before it runs: closed forms and nominal speeds, without torch."""

from dataclasses import dataclass

from app.settings import Settings
from lab_models.architectures.pairs import regressor_parameters
from lab_models.architectures.parameter_names import layer_gradient_faults
from lab_models.architectures.sizes import ModelSize, dead_weight_warning, fault_of, model_size
from lab_models.architectures.stages import macs_in, parameters_in, trained_stages
from lab_models.common.validation import FieldError
from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.splits import (
    no_published_val,
    num_rows_as_asked,
    steps_per_epoch,
)
from lab_models.specs import AnySpec, LayersSpec, ModelSpec, Tuning

# Fitted to what was measured on 2 cores of an AMD EPYC server, 2026-11-21, float32: see docs/results.md.
NOMINAL_SECONDS_PER_RUN = 0.5  # beside all else: start and data
NOMINAL_SECONDS_PER_STEP = 0.0004
NOMINAL_SECONDS_PER_PARAMETER = 5.4e-9  # of one step: what the optimizer does with it
NOMINAL_SECONDS_PER_LAYER = 0.0018  # of one step, of networks with maps: normalizing, moving
NOMINAL_FLOPS_LINEAR = 130e9
NOMINAL_FLOPS_CONV = 142e9
NOMINAL_BFLOAT16_SPEEDUP = 2.0  # of networks with maps, on a CPU with AMX; an MLP gains nothing
FLOPS_PER_MAC_FORWARD = 2
FLOPS_PER_MAC_BACKWARD = 4  # of a trained layer: for its input and for its weights
BYTES_PER_NUMBER = {"float32": 4, "tf32": 4, "bfloat16": 2}
LAYERS_WITHOUT_CONVS = "layers without convs"
"""What lists of layers are stored as whose time is that of an MLP and not of a conv network."""


@dataclass(frozen=True)
class Estimate:
    """`steps` and `seconds` are of one run; `seconds` is nominal, for two CPU cores, of which `Speeds` makes what is to
    be expected here; `memory_bytes` is the least that training takes.
    """

    kind: str
    arch: str
    size: ModelSize
    trainable_parameters: int
    steps: int
    seconds: float
    memory_bytes: int
    precision: str = "float32"

    @property
    def parameters(self) -> int:
        """Numbers that can be trained; of a transfer only `trainable_parameters` are."""
        return self.size.parameters

    @property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates of one image's forward pass."""
        return self.size.macs_per_sample


def estimate(spec: AnySpec, info: DatasetInfo) -> Estimate:
    """Size and cost of one run on the data set that the spec names. The network must be possible, see `refusals`."""
    size = model_size(spec.network, info.shape, info.num_classes)
    num_train, num_val = _train_val(spec, info)
    steps = spec.planned_epochs * steps_per_epoch(num_train, spec.batch_size)
    num_forward = spec.planned_epochs * (num_train + num_val) + info.num_test
    flops = FLOPS_PER_MAC_FORWARD * size.macs_per_sample * num_forward
    flops += FLOPS_PER_MAC_BACKWARD * _trained_macs(spec, size) * spec.planned_epochs * num_train
    flops += _foundation_flops(spec, info, num_train)
    trained = trainable_parameters(spec, size)
    return Estimate(
        spec.kind,
        _priced_as(spec.network),
        size,
        trained,
        steps,
        round(_nominal_seconds(spec, size, trained, steps, flops), 3),
        _least_memory(spec, info, size),
        spec.precision,
    )


def _priced_as(network: ModelSpec) -> str:
    """The kind of network whose runs tell what this one takes."""
    is_list = isinstance(network, LayersSpec)
    return network.arch if network.has_maps or not is_list else LAYERS_WITHOUT_CONVS


def _nominal_seconds(spec: AnySpec, size: ModelSize, trained: int, steps: int, flops: int) -> float:
    """What a run of so many steps and floating-point operations takes."""
    per_step = NOMINAL_SECONDS_PER_STEP + NOMINAL_SECONDS_PER_PARAMETER * trained
    if not spec.network.has_maps:
        return NOMINAL_SECONDS_PER_RUN + steps * per_step + flops / NOMINAL_FLOPS_LINEAR
    per_step += NOMINAL_SECONDS_PER_LAYER * len(size.layers)
    seconds = steps * per_step + flops / NOMINAL_FLOPS_CONV
    if spec.precision == "bfloat16":
        seconds /= NOMINAL_BFLOAT16_SPEEDUP
    return NOMINAL_SECONDS_PER_RUN + seconds


def refusals(
    spec: AnySpec,
    num_seeds: int,
    info: DatasetInfo,
    settings: Settings,
    largest_memory: int | None = None,
) -> list[FieldError]:
    """What is valid in itself but more than this service allows, or impossible with this data set.

    `largest_memory` is that of the best worker online, in bytes; None when no worker is online to be asked.
    """
    found = []
    where = f"/{spec.network_at}"
    if spec.epochs > settings.max_epochs:
        found.append(
            FieldError(
                "/epochs",
                f"{spec.epochs} epochs are more than this service's {settings.max_epochs} (LAB_MAX_EPOCHS)",
            )
        )
    if spec.batch_size > settings.max_batch_size:
        found.append(
            FieldError(
                "/batch_size",
                f"a batch of {spec.batch_size} is more than this service's {settings.max_batch_size}"
                " (LAB_MAX_BATCH_SIZE)",
            )
        )
    if num_seeds > settings.max_seeds:
        found.append(
            FieldError(
                "/seeds",
                f"{num_seeds} seeds are more than this service's {settings.max_seeds} (LAB_MAX_SEEDS)",
            )
        )
    fault = fault_of(spec.network, info.shape)
    if fault is not None:
        return [*found, FieldError(where + fault.pointer, f"on {info.name}: {fault}")]
    if spec.dataset.val == "published" and not info.num_val:
        return [*found, FieldError("/dataset/val", *no_published_val(info))]
    num_train, num_val = _train_val(spec, info)
    if num_train < 1 or num_val < 1:
        return [
            *found,
            FieldError(
                "/dataset/val_fraction",
                f"leaves {num_train} images for train and {num_val} for val",
            ),
        ]
    cost = estimate(spec, info)
    found += layer_gradient_faults(spec, info)
    if cost.steps > settings.max_steps:
        message = f"{cost.steps:,} steps of one run are more than this service's {settings.max_steps:,} (LAB_MAX_STEPS)"
        found.append(FieldError("/epochs", message, "ask for fewer epochs or a larger batch_size"))
    if cost.parameters > settings.max_parameters:
        found.append(
            FieldError(
                where,
                f"{cost.parameters:,} parameters are more than this service's {settings.max_parameters:,}"
                " (LAB_MAX_PARAMETERS)",
            )
        )
    if largest_memory is not None and cost.memory_bytes > largest_memory:
        found.append(
            FieldError(
                "/batch_size"
                if cost.size.activations * spec.batch_size > 4 * cost.parameters
                else where,
                f"training takes at least {_gigabytes(cost.memory_bytes)} and the largest worker online has"
                f" {_gigabytes(largest_memory)}",
                "lower batch_size, or choose a smaller model",
            )
        )
    return found


def warnings(spec: AnySpec, info: DatasetInfo) -> list[str]:
    """What is allowed but probably not meant."""
    found = []
    num_train, num_val = _train_val(spec, info)
    if spec.batch_size > num_train:
        found.append(
            f"batch_size {spec.batch_size} is more than the {num_train:,} training images: every epoch is one step"
        )
    if num_val < 10 * info.num_classes:
        found.append(
            f"val has only {num_val} images for {info.num_classes} classes: choosing the best epoch by it is mostly"
            " luck"
        )
    if spec.dataset.train_limit is not None and spec.dataset.train_limit < info.num_classes:
        found.append(
            f"train_limit {spec.dataset.train_limit} leaves some of the {info.num_classes} classes without an image"
        )
    if spec.dataset.augmentation.horizontal_flip and info.name in ("digits", "mnist"):
        found.append("horizontal_flip mirrors digits, and a mirrored 2 is no 2")
    if info.num_val and spec.dataset.val == "cut":
        found.append(
            f"{info.name} has a validation split of its own, of {info.num_val:,} images, and this spec cuts another"
            " from train and it together; 'dataset.val': 'published' takes that one"
        )
    found += spec.doubts
    enlarged = _enlargement(spec, info)
    if enlarged is not None:
        found.append(enlarged)
    dead = dead_weight_warning(model_size(spec.network, info.shape, info.num_classes))
    return [*found, dead] if dead is not None else found


def _enlargement(spec: AnySpec, info: DatasetInfo) -> str | None:
    """What it costs that the network makes images larger, in a sentence; None where it does not."""
    _, height, width = info.shape
    side = spec.network.brought_to
    if side is None or side <= min(height, width):
        return None
    macs, plain = (
        model_size(network, info.shape, info.num_classes).macs_per_sample
        for network in (spec.network, spec.network.as_they_are())
    )
    return (
        f"images of {height}x{width} are enlarged to {side}x{side}, which makes one cost {macs / 1e6:,.0f} million"
        f" multiply-accumulates, {macs / plain:.0f} times as many as without; a smaller 'image_size' costs less"
    )


def _train_val(spec: AnySpec, info: DatasetInfo) -> tuple[int, int]:
    return num_rows_as_asked(spec.dataset, info)


def _foundation_flops(spec: AnySpec, info: DatasetInfo, num_train: int) -> int:
    """What the foundation computes while the network on it is trained."""
    passes = spec.foundation_passes(spec.epochs, spec.dataset.augmentation.num_views)
    if spec.built_on is None or not passes:
        return 0
    macs = model_size(spec.built_on.network, info.shape, info.num_classes).macs_per_sample
    return FLOPS_PER_MAC_FORWARD * macs * passes * num_train


def _least_memory(spec: AnySpec, info: DatasetInfo, size: ModelSize) -> int:
    """Bytes of weights, gradients, the optimizer's moments and moving average, and of what one batch's forward pass
    keeps for the backward one.

    What is frozen has neither gradients nor moments; how much of the forward pass it spares is not counted, so nothing
    is then.
    """
    moments = spec.optimizer.moments
    trained = trainable_parameters(spec, size)
    numbers = (
        size.parameters * (1 if spec.ema_decay is None else 2)
        + trained * (1 + moments)
        + _trained_beside(spec, info, size) * (2 + moments)
    )
    kept = (
        size.activations * min(spec.batch_size, _train_val(spec, info)[0])
        if trained == size.parameters
        else 0
    )
    return 4 * numbers + BYTES_PER_NUMBER[spec.precision] * kept


def _trained_beside(spec: AnySpec, info: DatasetInfo, size: ModelSize) -> int:
    """Numbers of a hint's regressors, which are no part of the network."""
    if spec.built_on is None or spec.matched is None:
        return 0
    below = model_size(spec.built_on.network, info.shape, info.num_classes)
    return regressor_parameters(spec.matched, below, size)


def trainable_parameters(spec: AnySpec, size: ModelSize) -> int:
    """How many of the network's parameters are trained."""
    stages = _tuned_stages(spec, size)
    return size.parameters if stages is None else parameters_in(size, stages)


def _trained_macs(spec: AnySpec, size: ModelSize) -> int:
    """Multiply-accumulates of one image in the layers that a gradient goes through; at the most, of stages that thaw
    one by one.
    """
    stages = _tuned_stages(spec, size)
    return size.macs_per_sample if stages is None else macs_in(size, stages)


def _tuned_stages(spec: AnySpec, size: ModelSize) -> tuple[str, ...] | None:
    """The stages of a network that is tuned; None where all of a network is trained."""
    if not isinstance(spec, Tuning):
        return None
    return () if spec.strategy == "features" else trained_stages(size, spec)


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
