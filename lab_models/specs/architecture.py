"""What every architecture says of itself, so that nothing needs to ask which one it is."""

from typing import Any, ClassVar, Literal, Self

from lab_models.specs.base import Frozen


class ArchitectureSpec(Frozen):
    """Base of every network's spec. A class variable that has no value here must be said by each; a property says how
    it is where nothing is asked for.
    """

    has_maps: ClassVar[bool]
    """Whether it sees images as maps, by convolutions, and not as a row of pixels."""
    counts_pixels: ClassVar[bool]
    """Whether a linear layer has an input per pixel of the image or of the last map, so that its weights fit no other
    size.
    """
    hidden_in_head: ClassVar[bool]
    """Whether layers stand between the last maps' means, or the last maps, and the linear layer that gives the
    classes.
    """

    @property
    def has_batch_norm(self) -> bool:
        """Whether a batch must have more than one image."""
        return True

    @property
    def brought_to(self) -> int | None:
        """Side in pixels of the square that every image is first brought to; None: images stay as they are."""
        return None

    def as_they_are(self) -> Self:
        """The same network for images as they are."""
        return self

    @property
    def normalized_by(self) -> Literal["dataset", "imagenet"]:
        """Whose mean and deviation the pixels are normalized by."""
        return "dataset"

    @property
    def unpadded_pools(self) -> int:
        """Max pools in a row that halve the map and drop an odd line, so that a small image has no pixel left."""
        return 0


def whole_numbers(values: Any, most: int, largest: int) -> bool:
    """Whether this is a list of 1 to `most` whole numbers of 1 to `largest`; a validator refuses what is not."""
    return (
        isinstance(values, list | tuple)
        and 0 < len(values) <= most
        and all(type(value) is int and 1 <= value <= largest for value in values)
    )
