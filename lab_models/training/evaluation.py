"""How good a model is on a split: loss and accuracy after each epoch, and at the end all logits of the test split and
the scores on what it has learned from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.modules import Resizing
from lab_models.datasets.batches import ImageSplit
from lab_models.datasets.splits import sample_rows
from lab_models.training.precision import forward_context

EVALUATION_BATCH = 1000
CONVOLUTION_BATCH_ON_CPU = 100
"""Larger activations than 32 MiB are mapped from the kernel anew, page by page, in every layer (glibc's largest mmap
threshold); 64 float32 channels of 32x32 stay below it at 100 images. Measured on two cores, 1,000 images of 3x32x32
through a residual network of 700,458 parameters: 1.2 s in batches of 100, 1.8 s of 250, 2.6 s of 1000. An MLP of width
512 gains from 1000.
"""

SIDE_OF_WHOLE_BATCHES = 64
"""Networks that bring images to more pixels than this squared take as many fewer of them at a time: 64 channels behind
torchvision's stem, which halves the side, are then as large as those of 32x32 images behind a stem that does not.
"""


@dataclass(frozen=True)
class SplitScores:
    """`loss`: mean cross-entropy in nats, never smoothed. `accuracy`: a fraction in [0, 1]."""

    loss: float
    accuracy: float


@torch.inference_mode()
def evaluate(
    model: nn.Module, split: ImageSplit, precision: str = "float32", micro_batches: int = 1
) -> SplitScores:
    """Scores over the whole split, in evaluation mode; leaves the model in that mode.

    `precision` is the forward pass's; the loss is float32 either way. Of equal logits the
    first class is predicted. Where memory ran out in training, `micro_batches` makes the batches here smaller too.
    """
    loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for logits, labels in _in_batches(model, split, precision, micro_batches):
        loss += functional.cross_entropy(logits, labels, reduction="sum").double()
        correct += (logits.argmax(1) == labels).sum()
    return SplitScores(loss.item() / len(split), correct.item() / len(split))


def evaluate_learned(
    model: nn.Module,
    train: ImageSplit,
    most: int,
    precision: str = "float32",
    micro_batches: int = 1,
) -> SplitScores:
    """Scores on images that the model has learned from, at most so many of `train` by class proportions, seen and
    scored as val and test are: in evaluation mode, not augmented, against the labels themselves.

    What is left of the difference to test is then not made by dropout, by views or by smoothed labels. No generator
    is touched.
    """
    chosen = torch.from_numpy(sample_rows(train.labels.cpu().numpy(), most))
    return evaluate(model, train.only(chosen), precision, micro_batches)


@torch.inference_mode()
def predict(
    model: nn.Module, split: ImageSplit, precision: str = "float32", micro_batches: int = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Logits (N, num_classes) float32 and labels (N,) int64 of the whole split, row i that of image i as stored; leaves
    the model in evaluation mode.

    They are the very logits that `evaluate` scores: same batches, same precision.
    """
    logits = torch.cat(
        [logits for logits, _ in _in_batches(model, split, precision, micro_batches)]
    )
    return logits.cpu().numpy(), split.labels.cpu().numpy()


def _in_batches(
    model: nn.Module, split: ImageSplit, precision: str, micro_batches: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, num_classes) float32 and labels (B,), batch by batch."""
    device = split.labels.device
    forward = forward_context(precision, device)
    model.eval()
    for batch in split.in_order(max(1, _batch_size(model, device) // micro_batches)):
        with forward():
            logits = model(batch.images)
        yield logits.float(), batch.labels


def _batch_size(model: nn.Module, device: torch.device) -> int:
    on_cpu = device.type == "cpu"
    whole = (
        CONVOLUTION_BATCH_ON_CPU
        if on_cpu and any(isinstance(module, nn.Conv2d) for module in model.modules())
        else EVALUATION_BATCH
    )
    side = max(
        (module.side for module in model.modules() if isinstance(module, Resizing)), default=0
    )
    return max(1, whole * SIDE_OF_WHOLE_BATCHES**2 // max(side, SIDE_OF_WHOLE_BATCHES) ** 2)
