"""Whole batches without a DataLoader: uint8 rows gathered, augmented and normalized at once on the device."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab_models.common.seeding import epoch_seed
from lab_models.datasets.augmentation import Views, cut_out, draw_views, moved, rotated
from lab_models.datasets.preparation import Images, Labels, PreparedDataset
from lab_models.datasets.splits import split_as_asked
from lab_models.specs import AugmentationSpec, DatasetSpec

VIEWS_SEED = 0
"""Stored views are drawn from this seed, whatever the run's: they are shared by all runs on a data set."""
NO_AUGMENTATION = AugmentationSpec()
RESIDENT_BYTES = 2 * 1024**3
"""A data set whose images take more than this stays memory-mapped; its rows are read and sent batch by batch, and while
a GPU works on one batch the next are on their way.
"""


@dataclass(frozen=True)
class Batch:
    """`images` (B, C, H, W) float32, normalized; `labels` (B,) int64; `rows` (B,) within the split, and which of its
    stored views they are seen as. Of a part of a larger batch `all_labels` are that one's.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    view: int = 0
    all_labels: Tensor | None = None


@dataclass(frozen=True)
class ImageSplit:
    """One split: `images` (M, C, H, W) uint8 on the device or memory-mapped, `labels` (N,), `scale` and `shift` (C, 1,
    1) that normalize.

    `rows` (N,), beside the images, says which of the M are the split's where those of several splits lie together, as
    when memory-mapped. `ids` (N,) are the images' numbers in the file that they were cut from.
    """

    images: Tensor
    labels: Tensor
    scale: Tensor
    shift: Tensor
    rows: Tensor | None = None
    ids: Tensor | None = None
    augmentation: AugmentationSpec = NO_AUGMENTATION
    memory_format: torch.memory_format = torch.contiguous_format

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: Tensor) -> "ImageSplit":
        """Of these rows (B,) int64 alone, never augmented; the images stay where they lie."""
        where = sent(rows, self.images.device)
        return replace(
            self,
            labels=self.labels_of(rows),
            rows=where if self.rows is None else self.rows[where],
            ids=None if self.ids is None else self.ids[rows.to(self.ids.device)],
            augmentation=NO_AUGMENTATION,
        )

    def labels_of(self, rows: Tensor) -> Tensor:
        """Of these rows (B,) int64, on the device."""
        return self.labels.index_select(0, sent(rows, self.labels.device))

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
        """The epoch's batches of rows, beside the images: `batch` then waits for no device."""
        return epoch_batches(len(self), batch_size, seed, epoch, self.images.device)

    def views(self, seed: int, epoch: int) -> Views | None:
        """The epoch's random views of this split's images; None without augmentation."""
        if self.augmentation.views is not None:
            return self.stored_view((epoch - 1) % self.augmentation.views)
        return self._drawn(seed, epoch, 0)

    def stored_view(self, index: int) -> Views | None:
        """One of the `augmentation.views` that all seeds see; None without augmentation."""
        return self._drawn(VIEWS_SEED, index + 1, index)

    def _drawn(self, seed: int, epoch: int, index: int) -> Views | None:
        channels, height, width = self.images.shape[1:]
        views = draw_views(
            self.augmentation, len(self), (channels, height, width), seed, epoch, self.labels.device
        )
        return None if views is None else replace(views, index=index)

    def batch(self, rows: Tensor, views: Views | None = None) -> Batch:
        """The given rows (B,) int64, seen as `views` says, normalized: images (B, C, H, W) float32, labels (B,)."""
        where = sent(rows, self.images.device)
        where = where if self.rows is None else self.rows[where]
        rows = sent(rows, self.labels.device)
        labels = self.labels.index_select(0, rows)
        if views is None:
            return Batch(self._normalized(self._gathered(where)), labels, rows)
        if self.rows is None:
            pixels = moved(self.images, where, rows, views)
        else:  # read the mapped rows first: only they travel to the device
            pixels = moved(
                self._gathered(where), torch.arange(len(rows), device=rows.device), rows, views
            )
        if views.angle is not None:
            pixels = rotated(pixels.to(torch.float32), rows, views)
        return Batch(cut_out(self._normalized(pixels), rows, views), labels, rows, views.index)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, as stored, never augmented, for evaluation: batches of images (B, C, H, W) float32."""
        for start in range(0, len(self), batch_size):
            end = start + batch_size
            pixels = (
                self.images[start:end]
                if self.rows is None
                else self._gathered(self.rows[start:end])
            )
            yield Batch(
                self._normalized(pixels),
                self.labels[start:end],
                torch.arange(start, min(end, len(self)), device=self.labels.device),
            )

    def _gathered(self, where: Tensor) -> Tensor:
        return sent(self.images.index_select(0, where), self.labels.device)

    def _normalized(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> float32; grey images become as many equal channels as there are statistics."""
        repeated = pixels.expand(-1, len(self.scale), -1, -1)
        return (
            repeated.to(torch.float32, memory_format=self.memory_format, copy=True)
            .mul_(self.scale)
            .add_(self.shift)
        )


@dataclass(frozen=True)
class Splits:
    """Train learns, val chooses, test reports."""

    train: ImageSplit
    val: ImageSplit
    test: ImageSplit


def device_splits(
    dataset: PreparedDataset,
    spec: DatasetSpec,
    device: torch.device,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
    resident_bytes: int = RESIDENT_BYTES,
) -> Splits:
    """Cut train and val and lay all three splits on the device; images that take more than `resident_bytes` stay
    memory-mapped. Raises DatasetUnavailable as `split_as_asked` does.
    """
    cut = split_as_asked(dataset.train_labels, spec, dataset.info)
    std = torch.tensor(dataset.info.std).view(-1, 1, 1)
    scale = (1 / (255 * std)).to(device)
    shift = (-torch.tensor(dataset.info.mean).view(-1, 1, 1) / std).to(device)
    is_resident = dataset.train_images.nbytes + dataset.test_images.nbytes <= resident_bytes

    def split(
        images: Images,
        labels: Labels,
        chosen: Labels | None,
        augmentation: AugmentationSpec = NO_AUGMENTATION,
    ) -> ImageSplit:
        pixels, classes = torch.from_numpy(images), torch.from_numpy(labels)
        rows = None if chosen is None else torch.from_numpy(chosen)
        if rows is not None:
            classes = classes[rows]
            if is_resident:
                pixels, rows = pixels[rows], None
        elif not is_resident:
            rows = torch.arange(len(classes))
        return ImageSplit(
            pixels.to(device) if is_resident else pixels,
            classes.to(device),
            scale,
            shift,
            rows,
            torch.arange(len(classes)) if chosen is None else torch.from_numpy(chosen),
            augmentation,
            memory_format,
        )

    return Splits(
        train=split(dataset.train_images, dataset.train_labels, cut.train, spec.augmentation),
        val=split(dataset.train_images, dataset.train_labels, cut.val),
        test=split(dataset.test_images, dataset.test_labels, None),
    )


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The values on the device. From the CPU to a GPU they go by pinned memory, which neither waits for the other for:
    https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html.
    """
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def epoch_batches(
    num_rows: int, batch_size: int, seed: int, epoch: int, device: torch.device
) -> list[Tensor]:
    """The epoch's row numbers, shuffled by its seed alone and cut into batches (B,) int64 on the device, the last of
    which may be shorter.

    A last batch of one row joins the batch before it: batch norm cannot train on a single image.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "shuffle"))
    batches = list(torch.randperm(num_rows, generator=generator).to(device).split(batch_size))  # type: ignore[no-untyped-call]
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
