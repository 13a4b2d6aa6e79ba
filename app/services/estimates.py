"""What an experiment costs, before it runs: closed forms and nominal speeds, without torch."""

from dataclasses import dataclass

from app.settings import Settings
from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import dataset_info
from lab_models.datasets.splits import num_train_val, steps_per_epoch
from lab_models.specs import ExperimentRequest, Spec
from lab_models.validation import FieldError

# Measured on 2 cores of an AMD EPYC server, 2026-11-20, float32, MLPs of 0.1 to 2.8 M parameters; see docs/results.md.
NOMINAL_SECONDS_PER_STEP = 0.0009
NOMINAL_FLOPS = 60e9
FLOPS_PER_MAC_TRAINED = 6  # two per multiply-accumulate, forward and twice that backward
FLOPS_PER_MAC_EVALUATED = 2


@dataclass(frozen=True)
class Estimate:
    """`steps` and `seconds` are of one run; `seconds` is nominal, for two CPU cores."""

    parameters: int
    macs_per_sample: int
    steps: int
    seconds: float


def estimate(spec: Spec) -> Estimate:
    """Size and cost of one run."""
    info = dataset_info(spec.dataset.name)
    size = model_size(spec.model, info.shape, info.num_classes)
    num_train, num_val = num_train_val(info.num_train, val_fraction=spec.dataset.val_fraction, train_limit=spec.dataset.train_limit)
    steps = spec.epochs * steps_per_epoch(num_train, spec.batch_size)
    flops = size.macs_per_sample * spec.epochs * (FLOPS_PER_MAC_TRAINED * num_train + FLOPS_PER_MAC_EVALUATED * num_val)
    return Estimate(size.parameters, size.macs_per_sample, steps, round(steps * NOMINAL_SECONDS_PER_STEP + flops / NOMINAL_FLOPS, 1))


def refusals(request: ExperimentRequest, settings: Settings) -> list[FieldError]:
    """What is valid in itself but more than this service allows, or impossible with this data set."""
    found = []
    info = dataset_info(request.dataset.name)
    if request.epochs > settings.max_epochs:
        found.append(FieldError("/epochs", f"{request.epochs} epochs are more than this service's {settings.max_epochs} (LAB_MAX_EPOCHS)"))
    if len(request.seeds) > settings.max_seeds:
        found.append(FieldError("/seeds", f"{len(request.seeds)} seeds are more than this service's {settings.max_seeds} (LAB_MAX_SEEDS)"))
    parameters = model_size(request.model, info.shape, info.num_classes).parameters
    if parameters > settings.max_parameters:
        found.append(FieldError("/model", f"{parameters:,} parameters are more than this service's {settings.max_parameters:,} (LAB_MAX_PARAMETERS)"))
    return found


def warnings(spec: Spec) -> list[str]:
    """What is allowed but probably not meant."""
    found = []
    info = dataset_info(spec.dataset.name)
    num_train, num_val = num_train_val(info.num_train, val_fraction=spec.dataset.val_fraction, train_limit=spec.dataset.train_limit)
    if spec.batch_size > num_train:
        found.append(f"batch_size {spec.batch_size} is more than the {num_train:,} training images: every epoch is one step")
    if num_val < 10 * info.num_classes:
        found.append(f"val has only {num_val} images for {info.num_classes} classes: choosing the best epoch by it is mostly luck")
    if spec.dataset.train_limit is not None and spec.dataset.train_limit < info.num_classes:
        found.append(f"train_limit {spec.dataset.train_limit} leaves some of the {info.num_classes} classes without an image")
    return found
