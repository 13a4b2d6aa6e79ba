"""Class activation maps: what CAM, Grad-CAM and Grad-CAM++ say of the last feature maps, in NumPy.

Where maps are averaged and one linear layer follows, the gradient of a class's logit is that class's weights, each
divided by the number of places: Grad-CAM is then CAM without its negative part (Selvaraju et al. 2017,
arXiv:1610.02391, appendix A). Tests hold all of them equal to torch's autograd.
"""

from dataclasses import dataclass
from typing import Protocol, assert_never

import numpy as np
import numpy.typing as npt

from lab_models.explanations.question import Method

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Differentiable(Protocol):
    """What follows the last feature maps, see `tail`, which loads onnx."""

    averaged: int | None

    def gradients(self, features: Floats, classes: Integers) -> Floats:
        """Of the logits of `classes` (N,) by the `features` (N, F): (N, F)."""


@dataclass(frozen=True)
class Seen:
    """Of N images: the last feature maps (N, K, h, w), the pooled `features` (N, F), and `probabilities` (N, C)."""

    maps: Floats
    features: Floats
    probabilities: Floats


def class_maps(method: Method, seen: Seen, tail: Differentiable, classes: Integers) -> Floats:
    """Where N images speak for their `classes` (N,): (N, h, w), at the resolution of the feature maps, each to a scale
    of its own.

    Grad-CAM++ takes the score to be exp(logit), and what follows the maps to be linear where an image lies, as its
    authors do; the factor exp(logit), common to an image's weights, is left out. Maps whose sum is negative, which
    after their ReLU there are none of, count as if it were zero.
    """
    num_images, channels, height, width = seen.maps.shape
    # one entry per place that the pool hands on
    gradients = tail.gradients(seen.features, classes).reshape(num_images, channels, -1)
    places = height * width
    match method:
        case Method.CAM:
            return _weighted(gradients.sum(axis=2), seen.maps)
        case Method.GRAD_CAM:
            weights = gradients.sum(axis=2) / places
        case Method.GRAD_CAM_PLUS_PLUS:
            # an average hands the same gradient to every place, a maximum its own to one
            copies = places if tail.averaged is None else tail.averaged
            positive = np.maximum(gradients / copies, 0)
            # equation 19, shortened by the squared gradient
            total = np.maximum(seen.maps.sum(axis=(2, 3)), 0)[:, :, None]
            alphas = 1 / (2 + total * positive)
            weights = copies * (alphas * positive).sum(axis=2)
        case _:
            assert_never(method)
    return np.maximum(_weighted(weights, seen.maps), 0)


def enlarged(maps: Floats, size: tuple[int, int]) -> Floats:
    """(N, h, w) -> (N, *size), bilinear between the middles of the places; beyond the outermost middles it stays as it
    is.
    """
    rows, columns = (
        _interpolation(before, after) for before, after in zip(maps.shape[1:], size, strict=True)
    )
    result: Floats = rows @ maps @ columns.T
    return result


def shares(maps: Floats) -> Floats:
    """Each map (N, ...) from 0 to 1 for display: its least value, or 0 where none is negative, to its largest; a map of
    one value becomes 0.
    """
    axes = tuple(range(1, maps.ndim))
    low = np.minimum(maps.min(axis=axes, keepdims=True), 0)
    reach = maps.max(axis=axes, keepdims=True) - low
    result: Floats = np.where(reach > 0, (maps - low) / np.where(reach > 0, reach, 1), 0)
    return result


def _weighted(weights: Floats, maps: Floats) -> Floats:
    """(N, K) and (N, K, h, w) -> (N, h, w)."""
    total: Floats = np.einsum("nk,nkhw->nhw", weights, maps)
    return total


def _interpolation(before: int, after: int) -> Floats:
    """(after, before), rows that add up to 1."""
    places = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    weights: Floats = np.maximum(1 - np.abs(places[:, None] - np.arange(before)), 0)
    return weights
