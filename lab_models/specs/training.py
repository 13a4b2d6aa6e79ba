"""How weights are moved: optimizer, learning-rate schedule, and when to stop."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.base import Frozen

LONG_ADAPTIVE_STEP: Final = 0.05
"""A learning rate from which on Adam and AdamW seldom learn. Measured on 2026-11-30 with 3,000 images of MNIST, 4
epochs and one seed: with Adam 784-512-512-10 reached 89 % on test at 0.01, 75 % at 0.03, 16 % at 0.05, and 10 %, which
is chance, at 0.1; 784-64-32-10 90, 87, 68 and 18 %. With AdamW it was much the same.
"""


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

    @property
    def moments(self) -> int:
        """Numbers that it keeps per weight."""
        return 1 if self.momentum > 0 else 0

    @property
    def doubts(self) -> list[str]:
        """Nothing."""
        return []


class AdamSpec(Frozen):
    """Adam (Kingma and Ba 2015) with its published constants beta 0.9 and 0.999, epsilon 1e-8."""

    name: Literal["adam"] = "adam"
    """Optimizer."""
    learning_rate: float = Field(default=0.001, gt=0, le=1e6)
    """Step size."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1e3)
    """L2 penalty added to the gradient."""

    @property
    def moments(self) -> int:
        """Numbers that it keeps per weight."""
        return 2

    @property
    def doubts(self) -> list[str]:
        """Whether its learning rate is one of SGD's."""
        return _doubts_of_adaptive("Adam", self.learning_rate)


class AdamWSpec(Frozen):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    """Optimizer."""
    learning_rate: float = Field(default=0.001, gt=0, le=1e6)
    """Step size."""
    weight_decay: float = Field(default=0.01, ge=0.0, le=1e3)
    """Weights shrink by learning rate times this at each step."""

    @property
    def moments(self) -> int:
        """Numbers that it keeps per weight."""
        return 2

    @property
    def doubts(self) -> list[str]:
        """Whether its learning rate is one of SGD's."""
        return _doubts_of_adaptive("AdamW", self.learning_rate)


class RMSpropSpec(Frozen):
    """RMSprop (Tieleman and Hinton 2012), as in `torch.optim.RMSprop`: steps over the root of the mean square of the
    gradients.
    """

    name: Literal["rmsprop"] = "rmsprop"
    """Optimizer."""
    learning_rate: float = Field(default=0.01, gt=0, le=1e6)
    """Step size."""
    alpha: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Smoothing: share of the last mean square that is kept."""
    eps: float = Field(default=1e-8, gt=0.0, le=1e3)
    """Added to the root that is divided by."""
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the last update that is kept."""
    centered: bool = False
    """Divide by the root of the variance: the mean square less the square of the mean; needs `alpha` above 0."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1e3)
    """L2 penalty added to the gradient."""

    @model_validator(mode="after")
    def _centered_needs_alpha(self) -> Self:
        if self.centered and self.alpha == 0.0:
            raise ValueError("'centered' needs 'alpha' above 0")  # or the variance is rounding
        return self

    @property
    def moments(self) -> int:
        """Numbers that it keeps per weight."""
        return 1 + self.centered + (self.momentum > 0)

    @property
    def doubts(self) -> list[str]:
        """Nothing."""
        return []


OptimizerSpec = Annotated[SGDSpec | AdamSpec | AdamWSpec | RMSpropSpec, Field(discriminator="name")]


WarmupEpochs = Annotated[float, Field(ge=0.0, le=100_000.0)]


class ConstantSchedule(Frozen):
    """The learning rate stays what the optimizer says."""

    name: Literal["constant"] = "constant"
    """Schedule of the learning rate."""
    warmup_epochs: WarmupEpochs = 0.0
    """The learning rate first grows linearly from near 0 over this many epochs, step by step."""


class MultiStepSchedule(Frozen):
    """The learning rate is multiplied by `factor` after each milestone, as in
    `torch.optim.lr_scheduler.MultiStepLR`.
    """

    name: Literal["multi_step"] = "multi_step"
    """Schedule of the learning rate."""
    warmup_epochs: WarmupEpochs = 0.0
    """The learning rate first grows linearly from near 0 over this many epochs, step by step."""
    milestones: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=100, strict=False)
    ] = (50, 75)
    """Numbers of epochs done, rising; the factor applies from the next epoch on."""
    factor: float = Field(default=0.1, gt=0.0, le=1.0)
    """What the learning rate is multiplied by."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"'milestones' must rise, not {list(self.milestones)}")
        return self


class CosineSchedule(Frozen):
    """The learning rate falls along half a cosine (Loshchilov and Hutter 2017) from its start, or the end of the
    warm-up, to the last epoch.
    """

    name: Literal["cosine"] = "cosine"
    """Schedule of the learning rate."""
    warmup_epochs: WarmupEpochs = 0.0
    """The learning rate first grows linearly from near 0 over this many epochs, step by step."""
    final_fraction: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the learning rate that is left at the end."""
    update: Literal["step", "epoch"] = "step"
    """Fall a little with every step, or at each new epoch as `torch.optim.lr_scheduler.CosineAnnealingLR` is mostly
    used.
    """


class OneCycleSchedule(Frozen):
    """Up to the optimizer's learning rate and down again (Smith and Topin 2019), cosine both ways, as in
    `torch.optim.lr_scheduler.OneCycleLR`.
    """

    name: Literal["one_cycle"] = "one_cycle"
    """Schedule of the learning rate."""
    peak_at: float = Field(default=0.3, gt=0.0, lt=1.0)
    """Share of all steps after which the peak is reached."""
    start_divisor: float = Field(default=25.0, ge=1.0, le=1e9)
    """The first learning rate is the peak divided by this."""
    end_divisor: float = Field(default=1e4, ge=1.0, le=1e12)
    """The last learning rate is the first divided by this."""


class PlateauSchedule(Frozen):
    """The learning rate is multiplied by `factor` when val loss has not improved for more than `patience` epochs, as in
    `ReduceLROnPlateau`.
    """

    name: Literal["plateau"] = "plateau"
    """Schedule of the learning rate."""
    warmup_epochs: WarmupEpochs = 0.0
    """The learning rate first grows linearly from near 0 over this many epochs, step by step."""
    factor: float = Field(default=0.1, gt=0.0, lt=1.0)
    """What the learning rate is multiplied by."""
    patience: int = Field(default=10, ge=0, le=100_000)
    """Epochs without improvement that are let pass."""
    min_delta: float = Field(default=1e-4, ge=0.0, le=1.0)
    """Least fall of val loss that counts as an improvement, as a share of the best."""
    min_learning_rate: float = Field(default=0.0, ge=0.0, le=1e6)
    """The learning rate does not fall below this."""


ScheduleSpec = Annotated[
    ConstantSchedule | MultiStepSchedule | CosineSchedule | OneCycleSchedule | PlateauSchedule,
    Field(discriminator="name"),
]


class EarlyStoppingSpec(Frozen):
    """Two rules on val loss; training ends with the first that holds. The best epoch's weights are tested either
    way.
    """

    patience: int | None = Field(default=5, ge=1, le=100_000)
    """Stagnation: stop after this many epochs in a row without an improvement of val loss by more than `min_delta`;
    null: never.
    """
    min_delta: float = Field(default=1e-4, ge=0.0, le=1e6)
    """Least fall of val loss, in nats, that counts as an improvement."""
    overfit_delta: float | None = Field(default=None, ge=0.0, le=1e6)
    """Overfitting: stop when val loss lies more than this, in nats, above its best for `overfit_patience` epochs in a
    row; null: never.
    """
    overfit_patience: int = Field(default=3, ge=1, le=100_000)
    """Epochs in a row that the overfitting rule waits for."""

    @model_validator(mode="after")
    def _at_least_one_rule(self) -> Self:
        if self.patience is None and self.overfit_delta is None:
            raise ValueError(
                "give 'patience', 'overfit_delta' or both; for no early stopping write null"
            )
        return self


def _doubts_of_adaptive(name: str, learning_rate: float) -> list[str]:
    if learning_rate < LONG_ADAPTIVE_STEP:
        return []
    return [
        f"{name} seldom learns at a learning rate of {learning_rate:g}: that is about how far each weight moves in a"
        " step, and 0.001 is usual. Is the optimizer 'sgd' meant, or a smaller 'learning_rate'?"
    ]
