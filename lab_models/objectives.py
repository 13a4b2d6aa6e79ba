"""What training minimises: an objective takes a model and a batch and gives a loss with named parts."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from lab_models.datasets.batches import Batch
from lab_models.specs import Spec


@dataclass(frozen=True)
class Loss:
    """`total` is differentiated; `logits` (B, num_classes) are those it came from."""

    total: Tensor
    logits: Tensor


Objective = Callable[[nn.Module, Batch], Loss]


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross-entropy against the labels, smoothed if asked for."""

    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        """Loss of the model on the batch."""
        logits = model(batch.images).float()  # a forward pass in bfloat16 ends here
        return Loss(functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing), logits)


def make_objective(spec: Spec) -> Objective:
    """The objective that a spec names."""
    return CrossEntropy(spec.label_smoothing)
