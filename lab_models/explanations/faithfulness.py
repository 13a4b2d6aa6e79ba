"""Whether a map ranks pixels by what the network needs: deletion and insertion after Petsiuk et al. 2018 (RISE,
arXiv:1806.07421, section 4.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lab_models.explanations.maps import Floats, Integers
from lab_models.statistics.summary import Summary, summarise

Pixels = npt.NDArray[np.uint8]
Forward = Callable[[Pixels], Floats]
"""Probabilities (N, num_classes) of images (N, C, H, W)."""

STEPS = 10
"""In so many equal steps all pixels are changed."""
ORDERS = 3
FORWARD_PASSES = 2 * ORDERS * (STEPS + 1)
"""Of each image: two curves for each order of its pixels."""

BLUR = 0.25
"""Of the image's shorter side: the blur's standard deviation. The authors' 5 of 224 pixels would leave an image of 32
as it is.
"""


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of probability, in [0, 1]: means over images with Student's t intervals, and paired
    differences between orders.
    """

    by_map: Summary
    random: Summary
    center: Summary
    map_minus_random: Summary
    map_minus_center: Summary


@dataclass(frozen=True)
class Faithfulness:
    """A faithful map has a small area under deletion and a large one under insertion."""

    num_images: int
    deletion: Areas
    insertion: Areas


def faithfulness(
    network: Forward,
    images: Pixels,
    relevance: Floats,
    classes: Integers,
    *,
    blank: tuple[float, ...],
    seed: int,
) -> Faithfulness:
    """How the probability of `classes` (N,) moves while pixels of images (N, C, H, W) are changed in the order of
    `relevance` (N, H, W), the highest first.

    Deletion sets pixels to `blank`, a value in [0, 1] per channel: the data set's mean, which is 0 to the network.
    Insertion puts them into the blurred image. The orders to beat are a random one and that by the distance from the
    center, in which a Gaussian there ranks pixels. Pixels of equal relevance come in random order.
    """
    generator = np.random.default_rng(seed)
    height, width = images.shape[2:]
    centered = -np.hypot(*np.meshgrid(_offsets(height), _offsets(width), indexing="ij"))
    ranked = [
        _order(values, generator)
        for values in (
            relevance,
            np.zeros_like(relevance),
            np.broadcast_to(centered, relevance.shape),
        )
    ]
    empty = np.broadcast_to(
        np.round(255 * np.array(blank)).astype(np.uint8).reshape(-1, 1, 1), images.shape
    )
    deletion = [_area(network, images, empty, order, classes) for order in ranked]
    insertion = [_area(network, blurred(images), images, order, classes) for order in ranked]
    return Faithfulness(len(images), _areas(*deletion), _areas(*insertion))


def blurred(images: Pixels) -> Pixels:
    """Images (N, C, H, W) after a Gaussian of `BLUR` times the shorter side; at the edges the weights within the image
    add up to 1.
    """
    rows, columns = (_gaussian(side, BLUR * min(images.shape[2:])) for side in images.shape[2:])
    return np.round(rows @ images @ columns.T).astype(np.uint8)


def _gaussian(side: int, deviation: float) -> Floats:
    places = np.arange(side)
    weights = np.exp(-0.5 * np.square((places[:, None] - places) / deviation))
    normalized: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normalized


def _offsets(side: int) -> Floats:
    """From the center, from -1 to 1."""
    return (np.arange(side) + 0.5) * 2 / side - 1


def _order(relevance: Floats, generator: np.random.Generator) -> Integers:
    """Pixel numbers (N, H·W), the most relevant first, equal ones at random."""
    flat = relevance.reshape(len(relevance), -1)
    shuffled = generator.permuted(np.broadcast_to(np.arange(flat.shape[1]), flat.shape), axis=1)
    ranks = np.argsort(-np.take_along_axis(flat, shuffled, axis=1), axis=1, kind="stable")
    return np.take_along_axis(shuffled, ranks, axis=1)


def _area(
    network: Forward, before: Pixels, after: Pixels, order: Integers, classes: Integers
) -> Floats:
    """Area under the probability while `before` becomes `after`, pixel by pixel: (N,), by the trapezoidal rule over the
    share of changed pixels.
    """
    num_images, num_pixels = order.shape
    turns = np.empty_like(order)
    np.put_along_axis(turns, order, np.broadcast_to(np.arange(num_pixels), order.shape), axis=1)
    turns = turns.reshape(num_images, 1, *before.shape[2:])
    counts = np.round(np.linspace(0, num_pixels, STEPS + 1))
    curve = np.stack(
        [
            network(np.where(turns < count, after, before))[np.arange(num_images), classes]
            for count in counts
        ]
    )
    area: Floats = np.trapezoid(curve, counts / num_pixels, axis=0)
    return area


def _areas(by_map: Floats, random: Floats, center: Floats) -> Areas:
    measured = (by_map, random, center, by_map - random, by_map - center)
    return Areas(*(summarise(values.tolist()) for values in measured))
