"""Networks whose weights others have trained and published: what a transfer can begin from without training a
source.
"""

from typing import Literal

from pydantic import Field

from lab_models.specs.base import Frozen
from lab_models.specs.model import LARGEST_SIDE, SMALLEST_SIDE, ModelSpec, ResNet18Spec

PretrainedName = Literal["resnet18"]
IMAGENET_SIDE = 224
"""Side in pixels of the crops that torchvision's weights were trained on:
https://docs.pytorch.org/vision/stable/models.html.
"""


class Pretrained(Frozen):
    """A network with the weights that torchvision publishes for it, trained on ImageNet's 1,000 classes."""

    pretrained: PretrainedName
    """Which network."""
    image_size: int | None = Field(default=IMAGENET_SIDE, ge=SMALLEST_SIDE, le=LARGEST_SIDE)
    """Side in pixels that images are brought to; null: as they are."""

    @property
    def network(self) -> ModelSpec:
        """The network that the weights belong to, in front of it what brings images into the form that they were
        trained on.
        """
        return ResNet18Spec(stem="imagenet", statistics="imagenet", image_size=self.image_size)
