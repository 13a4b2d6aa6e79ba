"""How good a model is on a split."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from lab_models.datasets.batches import ImageSplit

EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Scores:
    """`loss`: mean cross-entropy in nats, never smoothed. `accuracy`: a fraction in [0, 1]."""

    loss: float
    accuracy: float


@torch.inference_mode()
def evaluate(model: nn.Module, split: ImageSplit) -> Scores:
    """Scores over the whole split, in evaluation mode; leaves the model in that mode."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for batch in split.in_order(EVALUATION_BATCH):
        logits = model(batch.images)
        loss += functional.cross_entropy(logits, batch.labels, reduction="sum").double()
        correct += (logits.argmax(1) == batch.labels).sum()
    return Scores(loss.item() / len(split), correct.item() / len(split))
