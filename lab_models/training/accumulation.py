"""The gradient of a whole batch from parts of it, one after the other, where memory does not hold all at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lab_models.datasets.augmentation import Views
from lab_models.datasets.batches import ImageSplit
from lab_models.specs import Spec
from lab_models.training.checkpoints import TrainState
from lab_models.training.counters import BatchCounters
from lab_models.training.micro_batches import num_parts
from lab_models.training.objectives import Loss, Objective
from lab_models.training.precision import forward_context, multiplied_in


@dataclass(frozen=True)
class Gradients:
    """Calling it with the rows (B,) of a batch leaves the gradient of the batch's mean loss in `.grad`; returns that
    loss and the labels (B,).

    With one part this is the plain backward pass, bit for bit. With more, each part's mean loss counts by its share of
    the batch, so that the sum is the same gradient up to rounding; what looks at several images at once, batch norm,
    sees a part at a time.
    """

    state: TrainState
    spec: Spec
    train: ImageSplit
    objective: Objective
    micro_batches: int = 1
    counters: BatchCounters = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counters", BatchCounters(self.state.model))

    def __call__(
        self, rows: Tensor, views: Views | None, check: Callable[[Tensor], None] = lambda _: None
    ) -> tuple[Loss, Tensor]:
        """`check` sees each part's loss () before its backward pass, and may raise."""
        with multiplied_in(self.spec.precision, self.state.device):
            return self._added(rows, views, check)

    def _added(
        self, rows: Tensor, views: Views | None, check: Callable[[Tensor], None]
    ) -> tuple[Loss, Tensor]:
        forward = forward_context(self.spec.precision, self.state.device)
        parts = rows.tensor_split(num_parts(len(rows), self.spec.batch_size, self.micro_batches))
        losses, labels = [], []
        for number, part in enumerate(parts):
            batch = self.train.batch(part, views)
            if len(parts) > 1:
                batch = replace(batch, all_labels=self.train.labels_of(rows))
            with forward(), self.counters.together():
                loss = self.objective(self.state.model, batch)
            check(loss.total)
            if number == 0:
                self.state.optimizer.zero_grad(set_to_none=True)
            if len(parts) == 1:
                loss.total.backward()  # type: ignore[no-untyped-call]
                return loss, batch.labels
            share = len(part) / len(rows)
            (loss.total * share).backward()  # type: ignore[no-untyped-call]
            losses.append(
                Loss(
                    loss.total.detach() * share,
                    loss.logits.detach(),
                    {name: value * share for name, value in loss.parts.items()},
                )
            )
            labels.append(batch.labels)
        return _sum_of(losses), torch.cat(labels)


def _sum_of(losses: list[Loss]) -> Loss:
    return Loss(
        torch.stack([loss.total for loss in losses]).sum(),
        torch.cat([loss.logits for loss in losses]),
        {
            name: torch.stack([loss.parts[name] for loss in losses]).sum()
            for name in losses[0].parts
        },
    )
