"""One image and where in it a network finds its answer: the map of the predicted class, and both in one picture."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from lab_models.explanations.maps import Floats, class_maps, enlarged, shares
from lab_models.explanations.network import OpenNetwork, Pixels, Unexplainable
from lab_models.explanations.question import Method

LEAST_SIDE: Final = 192
"""Pixels of a picture's shorter side, so that few are seen one by one."""
GLOW: Final = (213, 94, 0)
"""What the map is laid over the image with: seen on gray, on colors and by whoever does not tell red from green."""
MOST_GLOW: Final = 0.7


@dataclass(frozen=True)
class OneExplained:
    """`stage` gave the `map` (h, w) of the class `predicted`."""

    stage: str
    predicted: int
    map: Floats


def explain_one(content: bytes, pixels: Pixels, method: Method) -> OneExplained:
    """Of the network of an ONNX file, for pixels (C, H, W) uint8; raises Unexplainable, also where a map of one place
    says nothing about where.
    """
    network = OpenNetwork(content)
    seen = network.look(pixels[None])
    refuse_one_place(seen.maps.shape[2:], pixels.shape[1:])
    predicted = seen.probabilities.argmax(axis=1)
    (found,) = class_maps(method, seen, network.tail, predicted)
    return OneExplained(network.stage, int(predicted[0]), found)


def refuse_one_place(map_size: tuple[int, ...], image_size: tuple[int, ...]) -> None:
    """Raises Unexplainable where feature maps have a single place."""
    if np.prod(map_size) == 1:
        size = "x".join(map(str, image_size))
        raise Unexplainable(
            f"its last feature maps are 1x1 for images of {size}, which says nothing about places: a network with fewer"
            " stages has larger ones"
        )


def overlaid(pixels: Pixels, found: Floats) -> bytes:
    """PNG of the image (C, H, W) as the network sees it, brighter where the map (h, w) is higher."""
    height, width = pixels.shape[1:]
    scale = max(1, -(-LEAST_SIDE // min(height, width)))
    plain = np.broadcast_to(pixels, (3, height, width)).transpose(1, 2, 0).astype(np.float64)
    large = plain.repeat(scale, axis=0).repeat(scale, axis=1)
    (share,) = shares(enlarged(found[None], large.shape[:2]))
    weight = MOST_GLOW * share[:, :, None]
    mixed = (1 - weight) * large + weight * np.array(GLOW)
    file = io.BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
