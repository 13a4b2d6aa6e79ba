"""What a network takes for an image: what its pixels are normalized by, and how large it makes it. Nothing here loads
torch.
"""

from dataclasses import replace

from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import ModelSpec

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's published weights expect: `ImageClassification` of
https://docs.pytorch.org/vision/stable/models.html.
"""


def as_seen(model: ModelSpec, info: DatasetInfo) -> DatasetInfo:
    """The data set with the mean and deviation that the network wants its pixels normalized by.

    Where these are more than the images have channels, grey images are repeated to as many.
    """
    return replace(info, mean=IMAGENET_MEAN, std=IMAGENET_STD) if _wants_imagenets(model) else info


def shape_within(model: ModelSpec, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """What the first layer gets of an image of shape (channels, height, width)."""
    channels, height, width = input_shape
    side = model.brought_to
    return (
        len(IMAGENET_MEAN) if _wants_imagenets(model) else channels,
        side or height,
        side or width,
    )


def _wants_imagenets(model: ModelSpec) -> bool:
    return model.normalized_by == "imagenet"
