"""Whether a map depends on what the network has learned: the cascading randomization of Adebayo et al. 2018
(arXiv:1810.03292, section 4.1).
"""

from dataclasses import dataclass

import numpy as np

from lab_models.explanations.maps import Floats, Integers, class_maps
from lab_models.explanations.network import OpenNetwork, Pixels
from lab_models.explanations.question import Method
from lab_models.statistics.summary import Summary, summarise

DRAWS = 3
"""Networks drawn for each step of the cascade; an image's correlation is their mean."""


@dataclass(frozen=True)
class Randomized:
    """From the head down to `stage` all weights were drawn anew: Spearman's correlation of each map with the trained
    network's, a mean over images.

    None where it is not defined, because one of the maps has the same value everywhere; `undefined` images are left
    out.
    """

    stage: str
    correlation: Summary | None
    undefined: int


def cascade(
    network: OpenNetwork, method: Method, images: Pixels, classes: Integers, *, seed: int
) -> list[Randomized]:
    """One entry per stage, the head first, of the maps of `classes` (N,) of images (N, C, H, W); equal seeds draw equal
    weights.
    """
    trained = class_maps(method, network.look(images), network.tail, classes)
    generator = np.random.default_rng(seed)
    found = []
    for number in range(len(network.stages) - 1, -1, -1):
        redrawn = (network.redrawn(network.stages[number:], generator) for _ in range(DRAWS))
        maps = [class_maps(method, other.look(images), other.tail, classes) for other in redrawn]
        per_draw = np.array([rank_correlation(trained, other) for other in maps])
        defined = per_draw[:, np.isfinite(per_draw).any(axis=0)]
        values = np.nanmean(defined, axis=0).tolist()
        found.append(
            Randomized(
                network.stages[number],
                summarise(values) if values else None,
                len(images) - len(values),
            )
        )
    return found


def rank_correlation(ones: Floats, others: Floats) -> Floats:
    """Spearman's correlation of each map (N, h, w) with its counterpart: (N,), NaN where one of them has the same value
    everywhere.
    """
    first, second = (
        np.array([_ranks(values) for values in maps.reshape(len(maps), -1)])
        for maps in (ones, others)
    )
    first, second = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (first, second))
    norms = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    result: Floats = np.divide(
        (first * second).sum(axis=1), norms, out=np.full(len(norms), np.nan), where=norms > 0
    )
    return result


def _ranks(values: Floats) -> Floats:
    """Of equal values the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
