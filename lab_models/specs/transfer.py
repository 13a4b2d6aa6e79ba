"""Transfer: a trained network's backbone learns another data set under a new head."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.base import Frozen
from lab_models.specs.distill import Trained
from lab_models.specs.experiment import Procedure, Subject, refuse_single_images
from lab_models.specs.model import ModelSpec


class Tuning(Frozen):
    """How much of the source is trained on."""

    strategy: Literal["linear_probe", "fine_tune", "staged"] = "fine_tune"
    """`linear_probe`: a new head on the frozen backbone. `fine_tune`: the backbone is trained on as well. `staged`: first the head, then stage after stage."""
    last_stages: int | None = Field(default=None, ge=1, le=1000)
    """How many stages below the head are trained, the others stay frozen; null: all of them."""
    unfreeze_every: int = Field(default=1, ge=1, le=100_000)
    """Staged: after every this many epochs the next lower stage is trained as well."""
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    """Each stage's learning rate is this times that of the stage above it, the head's is the optimizer's."""

    @model_validator(mode="after")
    def _a_probe_has_no_stages(self) -> Self:
        if self.strategy == "linear_probe" and (self.last_stages is not None or self.layer_decay != 1.0):
            raise ValueError("'last_stages' and 'layer_decay' are for the other strategies: a linear probe trains the head alone")
        if self.strategy != "staged" and self.unfreeze_every != 1:
            raise ValueError("'unfreeze_every' is for strategy 'staged'")
        return self


class TransferSpec(Procedure, Tuning, Subject):
    """A source's network, trained on, under a new head, on this data set."""

    kind: Literal["transfer"] = "transfer"
    """What is done: train a trained network on."""
    source: Trained
    """Where the backbone's weights come from."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse_single_images(self.network, self.batch_size, self.dataset.train_limit)
        return self

    @property
    def network(self) -> ModelSpec:
        """The network that is trained: the source's."""
        return self.source.spec.model
