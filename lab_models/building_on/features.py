"""What a network makes of images on its way to the head: features for classical classifiers."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lab_models.datasets.batches import ImageSplit
from lab_models.training.evaluation import predict


@dataclass(frozen=True)
class Features:
    """One split's features (N, D) float32 and labels (N,) int64."""

    values: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A classifier with the setting that val chose: accuracies as fractions, of train on as many
    images as test has; `converged` says whether its solver
    finished within its iterations.
    """

    name: str
    setting: dict[str, float]
    train_accuracy: float
    val_accuracy: float
    test_accuracy: float
    converged: bool
    seconds: float


@dataclass(frozen=True)
class ClassifiedFeatures:
    """What classical classifiers made of features with so many dimensions."""

    dimensions: int
    classifiers: tuple[Fitted, ...]

    @property
    def best(self) -> Fitted:
        """The one that val prefers; the first wins a tie."""
        return max(self.classifiers, key=lambda fitted: fitted.val_accuracy)

    def table(self) -> dict[str, Any]:
        """All of them, as a JSON document."""
        return {
            "dimensions": self.dimensions,
            "best": self.best.name,
            "classifiers": [asdict(fitted) for fitted in self.classifiers],
        }


def features_of(
    model: nn.Module, split: ImageSplit, stage: str | None, head: str, precision: str
) -> Features:
    """Features of the whole split in evaluation mode: what goes into the head, or a stage's output averaged over its
    map.
    """
    caught: list[Tensor] = []

    def keep(values: Tensor) -> None:
        # (B, C, H, W) -> (B, C)
        pooled = values.mean((2, 3)) if values.ndim == 4 else values.flatten(1)
        caught.append(pooled.float())

    if stage is None:
        hook = model.get_submodule(head).register_forward_pre_hook(
            lambda _module, given: keep(given[0])
        )
    else:
        hook = model.get_submodule(stage).register_forward_hook(
            lambda _module, _given, result: keep(result)
        )
    try:
        _, labels = predict(model, split, precision)
    finally:
        hook.remove()
    return Features(torch.cat(caught).cpu().numpy(), labels)
