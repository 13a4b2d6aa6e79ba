"""Knowledge distillation (Hinton, Vinyals, Dean 2015): a student learns from a trained teacher's outputs as well as
from the labels.
"""

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from lab_models.specs.base import MAX_SEED, Frozen
from lab_models.specs.dataset import AUGMENTATIONS, DatasetSpec
from lab_models.specs.experiment import (
    ControlRole,
    FoundationRole,
    NetworkSpec,
    Procedure,
    Subject,
    TrainSpec,
    refuse_single_images,
)
from lab_models.specs.features import FeatureSpec, NamedFeatures
from lab_models.specs.going_on import TrainedSpec
from lab_models.specs.mlp import MLPSpec
from lab_models.specs.model import LARGEST_SIDE, SMALLEST_SIDE, ModelSpec
from lab_models.specs.pretrained import IMAGENET_SIDE, Pretrained, PretrainedName

DEFAULT_VIEWS = 8
OWN: Final = "own"
"""The seed of a foundation that is another for each run: the one that was trained with the run's own seed."""
FoundationSeed = Annotated[int, Field(ge=0, le=MAX_SEED)] | Literal["own"]


class Trained(Frozen):
    """A network that is trained before: its spec and its seed."""

    spec: TrainedSpec
    """What it was trained by."""
    seed: FoundationSeed = 0
    """Its run's seed; `own`: the seed of the run that builds on it, so that each builds on another network."""

    @property
    def network(self) -> ModelSpec:
        """The network that it is."""
        return self.spec.network

    @property
    def is_own(self) -> bool:
        """Whether each run builds on that of its own seed."""
        return self.seed == OWN

    def seed_for(self, seed: int) -> int:
        """The seed of the network that a run with the given seed builds on."""
        return seed if isinstance(self.seed, str) else self.seed


class Reference(Frozen):
    """Which trained network is built on: an experiment, a run, a spec that is trained first unless an equal one has
    been, or published weights.
    """

    experiment: str | None = Field(default=None, max_length=100)
    """`exp_…`: its first run, or that of `seed`."""
    run: str | None = Field(default=None, max_length=100)
    """`run_…`."""
    spec: TrainSpec | None = None
    """A spec; an equal run that has succeeded or is under way is taken in its place."""
    seed: FoundationSeed | None = None
    """Which of the experiment's runs, or the seed that the spec is trained with (0 when left out); `own`: each run
    builds on the network of its own seed.
    """
    pretrained: PretrainedName | None = None
    """A source only: the network with torchvision's weights from ImageNet (IMAGENET1K_V1), from disk or downloaded
    once.
    """
    image_size: int | None = Field(default=IMAGENET_SIDE, ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    """With `pretrained`: side in pixels that images are brought to; the cost grows with its square. null: as they are.
    """

    @model_validator(mode="before")
    @classmethod
    def _bare_id(cls, value: Any) -> Any:
        """A bare id stands for what its prefix says."""
        return (
            {"run" if value.startswith("run_") else "experiment": value}
            if isinstance(value, str)
            else value
        )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        said = [
            name
            for name in ("experiment", "run", "spec", "pretrained")
            if getattr(self, name) is not None
        ]
        if len(said) != 1:
            raise ValueError(
                "give one of 'experiment', 'run', 'spec' and 'pretrained'"
                + (f", not {' and '.join(said)}" if said else "")
            )
        if self.run is not None and self.seed is not None:
            raise ValueError("a run has its seed already: give 'run' without 'seed'")
        if self.pretrained is not None and self.seed is not None:
            raise ValueError("published weights have no seed: give 'pretrained' without 'seed'")
        if self.pretrained is None and self.image_size != IMAGENET_SIDE:
            raise ValueError(
                "'image_size' is for 'pretrained': any other network sees its images as its own spec says"
            )
        return self

    @property
    def trained(self) -> Trained | None:
        """The network that its spec stands for."""
        return None if self.spec is None else Trained(spec=self.spec, seed=self.seed or 0)

    @property
    def is_own(self) -> bool:
        """Whether each run builds on that of its own seed."""
        return self.seed == OWN

    def of_seed(self, seed: int) -> "Reference":
        """What it means for a run with that seed."""
        return self.model_copy(update={"seed": seed}) if self.is_own else self

    @property
    def published(self) -> Pretrained | None:
        """The published weights that it stands for."""
        return (
            None
            if self.pretrained is None
            else Pretrained(pretrained=self.pretrained, image_size=self.image_size)
        )


class Pupil(Frozen):
    """What learns, and how much from whom."""

    role: ClassVar[FoundationRole | None] = "teacher"
    control: ClassVar[ControlRole | None] = "baseline"
    work: ClassVar[str] = "student"
    network_at: ClassVar[str] = "student"

    student: NetworkSpec = MLPSpec()
    """Network that is trained, or just the name of its architecture or preset."""
    temperature: float = Field(default=4.0, gt=0.0, le=1000.0)
    """Both networks' logits are divided by this before the soft loss compares them."""
    alpha: float = Field(default=0.9, ge=0.0, le=1.0)
    """Weight of the soft loss: alpha · T² · KL(teacher, student) + (1 - alpha) · cross-entropy with the labels."""
    teacher_outputs: Literal["stored", "live"] = "stored"
    """`stored`: the teacher's logits are computed once, for each image and each of its `augmentation.views`. `live`:
    the teacher runs on every batch.
    """
    permute_within_class: bool = False
    """A control: each image gets the teacher's stored logits of another image of its class, so that what is learned can
    be of the classes only.
    """

    features: NamedFeatures = None
    """What is matched beside the logits: attention maps or hints, or just the name of one; needs `teacher_outputs`
    `live`. null: nothing.
    """

    @model_validator(mode="after")
    def _features_need_the_teacher_itself(self) -> Self:
        if self.features is not None and self.teacher_outputs != "live":
            raise ValueError(
                "'features' are read from the teacher as it runs, and stored outputs are its logits alone: set"
                " 'teacher_outputs' to \"live\""
            )
        return self

    @model_validator(mode="after")
    def _only_stored_logits_can_be_permuted(self) -> Self:
        if self.permute_within_class and self.teacher_outputs != "stored":
            raise ValueError("'permute_within_class' needs 'teacher_outputs' \"stored\"")
        return self

    @property
    def matched(self) -> FeatureSpec | None:
        """What is matched of the teacher beside its logits."""
        return self.features

    def foundation_passes(self, epochs: int, num_views: int) -> int:
        """How often the teacher sees each training image."""
        return epochs if self.teacher_outputs == "live" else num_views


class DistillSpec(Procedure, Pupil, Subject):
    """A student trained from a teacher. Val and test know no teacher: they measure the student alone."""

    kind: Literal["distill"] = "distill"
    """What is done: train a student from a teacher."""
    teacher: Trained
    """The teacher."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse_single_images(self.student, self.batch_size, self.dataset.train_limit)
        if self.teacher.spec.dataset.name != self.dataset.name:
            raise ValueError(
                f"the teacher has learned {self.teacher.spec.dataset.name!r} and the student is to learn"
                f" {self.dataset.name!r}: give both one data set"
            )
        if self.teacher.network.normalized_by != self.student.normalized_by:
            raise ValueError(
                "teacher and student see the same pixels: give both networks the same 'statistics'"
            )
        _refuse_endless_views(self.teacher_outputs, self.dataset)
        if self.class_weights is not None and self.alpha == 1.0:
            raise ValueError(
                "'class_weights' are of the loss of the labels, which 'alpha' 1 leaves out: give 'alpha' below 1"
            )
        return self

    @property
    def network(self) -> ModelSpec:
        """The network that is trained."""
        return self.student

    @property
    def built_on(self) -> Trained:
        """Its foundation: the teacher."""
        return self.teacher

    @property
    def has_own_foundations(self) -> bool:
        """Whether each student has the teacher of its own seed."""
        return self.teacher.is_own

    @property
    def doubts(self) -> list[str]:
        """What is allowed but probably not meant, of how it learns from its teacher as well."""
        found = super().doubts
        if self.teacher.spec.dataset.cut != self.dataset.cut:
            found.append(
                "the teacher was trained on another cut of train and val: it has seen images that are val here, so val"
                " flatters the student"
            )
        if self.alpha == 0.0 and (self.features is None or self.features.weight == 0.0):
            found.append("with alpha 0 the teacher is not listened to")
        return found


def with_stored_views(document: Any) -> Any:
    """Stored teacher outputs of augmented images need a number of views: 8 unless the document says another."""
    if not isinstance(document, dict) or document.get("teacher_outputs", "stored") != "stored":
        return document
    dataset = document.get("dataset")
    augmentation = dataset.get("augmentation") if isinstance(dataset, dict) else None
    if isinstance(augmentation, str) and augmentation in AUGMENTATIONS:
        augmentation = AUGMENTATIONS[augmentation]
    if (
        not isinstance(dataset, dict)
        or not isinstance(augmentation, dict)
        or not augmentation
        or "views" in augmentation
    ):
        return document
    return {
        **document,
        "dataset": {**dataset, "augmentation": {**augmentation, "views": DEFAULT_VIEWS}},
    }


def _refuse_endless_views(teacher_outputs: str, dataset: DatasetSpec) -> None:
    if (
        teacher_outputs == "stored"
        and not dataset.augmentation.is_none
        and dataset.augmentation.views is None
    ):
        raise ValueError(
            "stored teacher outputs need a number of views: set 'dataset.augmentation.views', or 'teacher_outputs' to"
            ' "live"'
        )
