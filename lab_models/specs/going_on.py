"""Going on: a network that was trained is trained further, head included, on the same images in the same cut."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lab_models.specs.base import Frozen, named
from lab_models.specs.experiment import (
    FoundationRole,
    Procedure,
    Subject,
    TrainSpec,
    refuse_single_images,
)
from lab_models.specs.model import ModelSpec

MOST_TIMES: Final = 20
"""How often a network can be gone on with: its spec holds those of all before it."""

KeptWeights = Literal["best", "last"]
"""Weights that a run keeps: those of its best epoch, or of its last."""


class Origin(Frozen):
    """A network that goes on: its spec, and which of its weights. Its seed is that of the run that goes on."""

    spec: "TrainedSpec"
    """What it was trained by."""
    weights: KeptWeights = "best"
    """The weights that are begun with: of the best epoch, or of the last."""

    @property
    def network(self) -> ModelSpec:
        """The network that it is."""
        return self.spec.network


class GoingOn(Frozen):
    """What a network that goes on is called."""

    role: ClassVar[FoundationRole | None] = "origin"
    work: ClassVar[str] = "continuation"
    network_at: ClassVar[str] = "origin"


class ContinueSpec(Procedure, GoingOn, Subject):
    """A trained network, trained further. Each run begins with the weights of the origin's run with its seed; the
    optimizer's moments, the learning-rate schedule and the count of epochs begin anew.
    """

    kind: Literal["continue"] = "continue"
    """What is done: train a network further."""
    origin: Origin
    """The network that goes on."""

    @model_validator(mode="after")
    def _the_cut_is_the_same(self) -> Self:
        before = self.origin.spec.dataset
        if before.name != self.dataset.name:
            raise ValueError(
                f"the origin has learned {before.name!r}, and its network goes on with the same: to learn"
                f" {self.dataset.name!r} from it is a 'transfer'"
            )
        if before.cut != self.dataset.cut:
            raise ValueError(
                "the origin was trained on another cut of train and val, so it has seen images that would be val: give"
                " its 'val', 'val_fraction', 'stratified' and 'split_seed'"
            )
        refuse_single_images(self.network, self.batch_size, self.dataset.train_limit)
        return self

    @property
    def network(self) -> ModelSpec:
        """The network that is trained: the origin's."""
        return self.origin.network

    @property
    def built_on(self) -> Origin:
        """Its foundation: the origin."""
        return self.origin

    @property
    def has_own_foundations(self) -> bool:
        """Always: each run goes on with that of its seed."""
        return True

    @property
    def times(self) -> int:
        """How often its network has been gone on with, this time included."""
        before = self.origin.spec
        return 1 if isinstance(before, TrainSpec) else before.times + 1


TrainedSpec = Annotated[
    Annotated[TrainSpec | ContinueSpec, Field(discriminator="kind")],
    BeforeValidator(named("kind", "train")),
]
"""What a network was trained by that others may build on: by itself, or as one that went on."""

Origin.model_rebuild()
ContinueSpec.model_rebuild()
