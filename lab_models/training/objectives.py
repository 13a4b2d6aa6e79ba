"""What training minimizes: an objective takes a model and a batch and gives a loss with named parts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.datasets.batches import Batch
from lab_models.specs import ContinueSpec, DistillSpec, FeatureSpec, Spec, TrainSpec, TransferSpec
from lab_models.training.matching import Matcher, caught

TeacherLogits = Callable[[Batch], Tensor]
"""A teacher's logits (B, num_classes) of a batch's images, as they are seen there, without gradients."""


class LiveLogits:
    """A frozen network in evaluation mode, run on every batch."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, C) of the batch's images as the student sees them."""
        logits: Tensor = self.model(batch.images)
        return logits


@dataclass(frozen=True)
class Loss:
    """`total` is differentiated; `logits` (B, num_classes) are those it came from; `parts` are what it was made of, for
    the metrics.
    """

    total: Tensor
    logits: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


Objective = Callable[[nn.Module, Batch], Loss]


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross-entropy against the labels, smoothed and weighted by class if asked for."""

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Loss of the model on the batch."""
        logits = model(batch.images).float()  # a forward pass in bfloat16 ends here
        return Loss(hard_loss(logits, batch, self.label_smoothing, self.class_weights), logits)


@dataclass(frozen=True)
class Distillation:
    """alpha · T² · KL(teacher, student) at temperature T + (1 - alpha) · cross-entropy (Hinton, Vinyals, Dean 2015,
    section 2).

    Class weights are the labels' loss's alone. T² keeps the soft loss's gradient as large as it is without a
    temperature. With alpha 0 the student is trained as if
    there were no teacher, to the bit.
    """

    teacher: TeacherLogits
    temperature: float
    alpha: float
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Loss of the student on the batch, with its parts `hard_loss` and `soft_loss` before they are weighed."""
        logits = model(batch.images).float()
        hard = hard_loss(logits, batch, self.label_smoothing, self.class_weights)
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(batch).float() / self.temperature, dim=1)
        given = functional.log_softmax(logits / self.temperature, dim=1)
        soft = (
            functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
            * self.temperature**2
        )
        total = hard if self.alpha == 0.0 else self.alpha * soft + (1 - self.alpha) * hard
        return Loss(total, logits, {"hard_loss": hard.detach(), "soft_loss": soft.detach()})


@dataclass(frozen=True)
class FeatureMatching:
    """A distillation's loss plus `weight` times how far the student's stages are from its teacher's, both read as the
    networks run.

    With weight 0 the student is trained by the distillation alone, to the bit.
    """

    distillation: Distillation
    teacher: nn.Module
    matcher: Matcher
    weight: float
    name: str

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Loss of the student on the batch; its part `<name>_loss` is the distance before it is weighed."""
        pairs = self.matcher.pairs
        with (
            caught(self.teacher, {pair.teacher for pair in pairs}) as theirs,
            caught(model, {pair.student for pair in pairs}) as ours,
        ):
            # which runs both networks, the teacher without gradients
            loss = self.distillation(model, batch)
        distance = self.matcher(theirs, ours)
        total = loss.total if self.weight == 0.0 else loss.total + self.weight * distance
        return Loss(total, loss.logits, loss.parts | {f"{self.name}_loss": distance.detach()})


def hard_loss(
    logits: Tensor, batch: Batch, label_smoothing: float, class_weights: Tensor | None
) -> Tensor:
    """Cross-entropy () of logits (B, num_classes) against the labels, a mean over images, as torch's own.

    With weights (K,), of the first K classes and 0 for those after them, it is the mean weighted by each label's class,
    over the weights of the whole batch where this is a part of one, so that the parts' losses come to the batch's.
    """
    if class_weights is None:
        return functional.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
    weights = functional.pad(class_weights, (0, logits.shape[1] - len(class_weights)))
    weighted = partial(
        functional.cross_entropy, logits, batch.labels, weights, label_smoothing=label_smoothing
    )
    if batch.all_labels is None:
        return weighted()
    return weighted(reduction="sum") / (weights[batch.all_labels].mean() * len(batch.labels))


def balanced_weights(labels: Tensor) -> Tensor:
    """Of labels (N,) int64 each class's weight (K,) float32, up to the last that occurs: n / (k · n_c), as
    `sklearn.utils.class_weight.compute_class_weight`, with k the classes that occur; 0 for one that does not.
    """
    counts = torch.bincount(labels.cpu()).double()
    weights = len(labels) / (torch.count_nonzero(counts) * counts)
    return weights.where(counts > 0, 0.0).float().to(labels.device)


def make_objective(
    spec: Spec,
    teacher: TeacherLogits | None = None,
    matcher: Matcher | None = None,
    class_weights: Tensor | None = None,
) -> Objective:
    """The objective that a spec names, its images weighted by their classes' weights (K,) if given; a student's needs
    the teacher's logits, and a matcher where stages are compared as well. Raises ValueError where it has no logits.
    """
    match spec:
        case TrainSpec() | TransferSpec() | ContinueSpec():
            return CrossEntropy(spec.label_smoothing, class_weights)
        case DistillSpec():
            if teacher is None:
                raise ValueError("a student needs its teacher's logits")
            distillation = Distillation(
                teacher, spec.temperature, spec.alpha, spec.label_smoothing, class_weights
            )
            return (
                distillation
                if spec.features is None
                else _with_features(distillation, spec.features, matcher)
            )
        case _:
            assert_never(spec)


def _with_features(
    distillation: Distillation, features: FeatureSpec, matcher: Matcher | None
) -> FeatureMatching:
    if matcher is None or not isinstance(distillation.teacher, LiveLogits):
        raise ValueError("comparing stages needs a live teacher and a matcher")
    return FeatureMatching(
        distillation, distillation.teacher.model, matcher, features.weight, features.name
    )
