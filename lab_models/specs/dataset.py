"""Which images an experiment sees, how they are cut and how they are varied."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lab_models.specs.base import MAX_SEED, Frozen, UnknownName

LONGEST_DATASET_NAME = 60

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "crop_flip": {"crop_padding": 4, "horizontal_flip": True},
    "crop_flip_cutout": {"crop_padding": 4, "horizontal_flip": True, "cutout": 8},
    "shift_rotate": {"shift": 2, "rotation": 10.0},
}
"""Named augmentations: none; He et al. 2015 for CIFAR; the same with DeVries and Taylor's cutout; ±2 px and ±10° for
MNIST.
"""


class AugmentationSpec(Frozen):
    """Random changes of the training images, drawn anew for each image and epoch. Val and test are never augmented."""

    crop_padding: int = Field(default=0, ge=0, le=64)
    """Pad with black by this many pixels on each side, then cut the original size out at random."""
    horizontal_flip: bool = False
    """Mirror left and right with probability 1/2."""
    shift: int = Field(default=0, ge=0, le=64)
    """Move by up to this many pixels in each direction; black comes in."""
    rotation: float = Field(default=0.0, ge=0.0, le=180.0)
    """Turn by up to this many degrees either way; black comes in."""
    cutout: int = Field(default=0, ge=0, le=256)
    """Side in pixels of a square set to the mean color, at a random place (DeVries and Taylor 2017)."""
    views: int | None = Field(default=None, ge=1, le=1000)
    """Draw this many views of each image, the same for all seeds, and see them in turn, epoch by epoch; null: new ones
    in each epoch.
    """

    @model_validator(mode="after")
    def _one_kind_of_move(self) -> Self:
        if self.crop_padding and self.shift:
            raise ValueError("'crop_padding' and 'shift' both move the image: give one of them")
        return self

    @property
    def num_views(self) -> int:
        """How many views of each image there are to store: one where nothing is varied, or where views are not
        fixed.
        """
        return 1 if self.is_none else self.views or 1

    @property
    def is_none(self) -> bool:
        """Whether images stay as they are."""
        return self.model_copy(update={"views": None}) == AugmentationSpec()


def _augmentation(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in AUGMENTATIONS:
        raise UnknownName("augmentation", value, list(AUGMENTATIONS))
    return AUGMENTATIONS[value]


class DatasetSpec(Frozen):
    """Which images, how train and val are cut, and how train is augmented."""

    name: str = Field(default="digits", min_length=1, max_length=LONGEST_DATASET_NAME)
    """Data set; `GET /datasets` describes them."""
    val: Literal["cut", "published"] = "cut"
    """Where val comes from: cut from train by the three fields below, or, where the data set has a validation split of
    its own (`num_val`), that one.
    """
    val_fraction: float = Field(default=0.2, ge=0.01, le=0.9)
    """Share of the training images held out as val, which chooses the best epoch."""
    stratified: bool = True
    """Keep the classes' proportions in train and val."""
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the cut; shared by all seeds of an experiment, so that replicates differ in training alone."""
    train_limit: int | None = Field(default=None, ge=1)
    """Train on this many images only (a quick look); val and test stay whole."""
    augmentation: Annotated[
        AugmentationSpec,
        BeforeValidator(_augmentation, json_schema_input_type=AugmentationSpec | str),
    ] = AugmentationSpec()
    """Random changes of the training images, or the name of a usual set: `none`, `crop_flip`, `crop_flip_cutout`,
    `shift_rotate`.
    """

    @model_validator(mode="after")
    def _published_val_is_not_cut(self) -> Self:
        if self.val == "cut":
            return self
        cutting = DatasetSpec.model_fields
        # the last two also draw the images that 'train_limit' leaves
        names = ("val_fraction", "stratified", "split_seed")[: 3 if self.train_limit is None else 1]
        given = [name for name in names if getattr(self, name) != cutting[name].default]
        if given:
            raise ValueError(
                f"{given[0]!r} says how val is cut from train, and 'val': 'published' takes it as it was published:"
                " leave one of them out"
            )
        return self

    @property
    def cut(self) -> tuple[object, ...]:
        """What decides which images are val: equal for two specs of one data set only where they have the same."""
        if self.val == "published":
            return (self.val,)
        return self.val, self.val_fraction, self.stratified, self.split_seed
