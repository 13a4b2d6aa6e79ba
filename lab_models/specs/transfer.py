"""Transfer: a trained network's backbone learns another data set under a new head."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.base import Frozen
from lab_models.specs.distill import Trained
from lab_models.specs.experiment import (
    ControlRole,
    FoundationRole,
    Procedure,
    Subject,
    refuse_single_images,
)
from lab_models.specs.model import ModelSpec
from lab_models.specs.pretrained import Pretrained

Classifier = Literal[
    "linear_svm", "logistic_regression", "knn", "gaussian_nb", "lda", "nearest_mean"
]
EVERY_CLASSIFIER: tuple[Classifier, ...] = (
    "linear_svm",
    "logistic_regression",
    "knn",
    "gaussian_nb",
    "lda",
    "nearest_mean",
)


class Tuning(Frozen):
    """How much of the source is trained on."""

    role: ClassVar[FoundationRole | None] = "source"
    control: ClassVar[ControlRole | None] = "from_scratch"
    work: ClassVar[str] = "transfer"
    network_at: ClassVar[str] = "source"

    strategy: Literal["features", "linear_probe", "fine_tune", "staged"] = "fine_tune"
    """`features`: classical classifiers on the frozen backbone. `linear_probe`: a new head on it. `fine_tune`: it is
    trained on. `staged`: stage by stage.
    """
    last_stages: int | None = Field(default=None, ge=1, le=1000)
    """How many stages below the head are trained, the others stay frozen; null: all of them."""
    unfreeze_every: int = Field(default=1, ge=1, le=100_000)
    """Staged: after every this many epochs the next lower stage is trained as well."""
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    """Each stage's learning rate is this times that of the stage above it, the head's is the optimizer's."""

    classifiers: (
        Annotated[tuple[Classifier, ...], Field(min_length=1, max_length=10, strict=False)] | None
    ) = None
    """Features: which classifiers are fitted; C and k are chosen on val. null: all of them."""
    stage: str | None = Field(default=None, min_length=1, max_length=60)
    """Features: the stage whose output they are, averaged over its map, such as `stages.1` or `layer3`; null: what goes
    into the head.
    """

    @model_validator(mode="after")
    def _features_alone_have_classifiers(self) -> Self:
        if self.strategy != "features" and (self.classifiers is not None or self.stage is not None):
            raise ValueError("'classifiers' and 'stage' are for strategy 'features'")
        return self

    @model_validator(mode="after")
    def _a_probe_has_no_stages(self) -> Self:
        if self.strategy in ("linear_probe", "features") and (
            self.last_stages is not None or self.layer_decay != 1.0
        ):
            raise ValueError(
                "'last_stages' and 'layer_decay' are for 'fine_tune' and 'staged': nothing below the head is trained"
                " here"
            )
        if self.strategy != "staged" and self.unfreeze_every != 1:
            raise ValueError("'unfreeze_every' is for strategy 'staged'")
        return self

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed gives other numbers: what is fitted to frozen features is the same with every one."""
        return self.strategy != "features"


class TransferSpec(Procedure, Tuning, Subject):
    """A source's network, trained on, under a new head, on this data set."""

    kind: Literal["transfer"] = "transfer"
    """What is done: train a trained network on."""
    source: Trained | Pretrained
    """Where the backbone's weights come from."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse_single_images(self.network, self.batch_size, self.dataset.train_limit)
        if self.class_weights is not None and self.strategy == "features":
            raise ValueError(
                "'class_weights' are of the training loss, and strategy 'features' trains nothing: leave them out"
            )
        return self

    @property
    def network(self) -> ModelSpec:
        """The network that is trained: the source's."""
        return self.source.network

    @property
    def built_on(self) -> Trained | Pretrained:
        """Its foundation: the source."""
        return self.source

    @property
    def has_own_foundations(self) -> bool:
        """Whether each run begins from the source of its own seed."""
        return isinstance(self.source, Trained) and self.source.is_own

    @property
    def doubts(self) -> list[str]:
        """What is allowed but probably not meant; also whether its source, trained on the same data set, has learned
        what is val here.
        """
        found = [] if self.strategy == "features" else super().doubts
        if not isinstance(self.source, Trained):
            return found
        before = self.source.spec.dataset
        if before.name == self.dataset.name and before.cut != self.dataset.cut:
            found.append(
                "the source was trained on another cut of train and val of the same data set: it has seen images that"
                " are val here, so val flatters the network and chooses its best epoch by them; give the source's"
                " 'val', 'val_fraction', 'stratified' and 'split_seed'"
            )
        return found

    @property
    def planned_epochs(self) -> int:
        """Passes over train."""
        return 1 if self.strategy == "features" else self.epochs
