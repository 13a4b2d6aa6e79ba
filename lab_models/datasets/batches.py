"""Whole batches without a DataLoader: uint8 rows gathered, moved and normalised at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.splits import split_train_val
from lab_models.seeding import epoch_seed
from lab_models.specs import DatasetSpec


@dataclass(frozen=True)
class Batch:
    """`images` (B, C, H, W) float32, normalised; `labels` (B,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ImageSplit:
    """One split on its device: `images` (N, C, H, W) uint8, `labels` (N,), `scale` and `shift` (C, 1, 1) that normalise."""

    images: Tensor
    labels: Tensor
    scale: Tensor
    shift: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor) -> Batch:
        """The given rows, normalised."""
        return Batch(self._normalised(self.images[rows]), self.labels[rows])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, as stored, for evaluation."""
        for start in range(0, len(self), batch_size):
            yield Batch(self._normalised(self.images[start : start + batch_size]), self.labels[start : start + batch_size])

    def _normalised(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32).mul_(self.scale).add_(self.shift)


@dataclass(frozen=True)
class Splits:
    """Train learns, val chooses, test reports."""

    train: ImageSplit
    val: ImageSplit
    test: ImageSplit


def device_splits(dataset: PreparedDataset, spec: DatasetSpec, device: torch.device) -> Splits:
    """Cut train and val and lay all three splits on the device."""
    cut = split_train_val(dataset.train_labels, val_fraction=spec.val_fraction, stratified=spec.stratified, seed=spec.split_seed, train_limit=spec.train_limit)
    images, labels = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)
    train_rows, val_rows = torch.from_numpy(cut.train), torch.from_numpy(cut.val)
    std = torch.tensor(dataset.info.std).view(-1, 1, 1)
    scale = (1 / (255 * std)).to(device)
    shift = (-torch.tensor(dataset.info.mean).view(-1, 1, 1) / std).to(device)

    def on_device(images: Tensor, labels: Tensor) -> ImageSplit:
        return ImageSplit(images.to(device), labels.to(device), scale, shift)

    return Splits(
        train=on_device(images[train_rows], labels[train_rows]),
        val=on_device(images[val_rows], labels[val_rows]),
        test=on_device(torch.from_numpy(dataset.test_images), torch.from_numpy(dataset.test_labels)),
    )


def epoch_batches(num_rows: int, batch_size: int, seed: int, epoch: int, device: torch.device) -> list[Tensor]:
    """The epoch's row numbers, shuffled by its seed alone and cut into batches.

    A last batch of one row joins the batch before it: batch norm cannot train on a single image.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "shuffle"))
    batches = list(torch.randperm(num_rows, generator=generator).to(device).split(batch_size))  # type: ignore[no-untyped-call]
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
