"""Augmentation: whole batches, drawn per (seed, epoch, row), equal to the same change made image by image."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import functional as reference

from lab_models.datasets.augmentation import Views, cut_out, draw_views, moved, rotated
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.preparation import PreparedDataset
from lab_models.specs import AugmentationSpec, DatasetSpec
from tests.lab_models.conftest import EXAMPLES

CPU = torch.device("cpu")
SHAPE = (3, 9, 12)


def images(count: int = 20, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.randint(
        1, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def views_of(seed: int = 0, epoch: int = 1, count: int = 20, **spec: object) -> Views:
    views = draw_views(AugmentationSpec.model_validate(spec), count, SHAPE, seed, epoch, CPU)
    assert views is not None
    return views


def all_moved(views: Views, pixels: Tensor) -> Tensor:
    rows = torch.arange(len(pixels))
    return moved(pixels, rows, rows, views)


def test_no_augmentation_draws_nothing() -> None:
    assert draw_views(AugmentationSpec(), 20, SHAPE, 0, 1, CPU) is None


@pytest.mark.parametrize("kind", ["crop_padding", "shift"])
def test_a_move_is_a_window_of_the_image_padded_with_black(kind: str) -> None:
    views = views_of(**{kind: 3, "horizontal_flip": True})
    assert views.down is not None
    assert views.right is not None
    assert views.mirrored is not None
    assert views.mirrored.any()
    assert not views.mirrored.all()
    pixels = images()
    padded = torch.nn.functional.pad(pixels, (3, 3, 3, 3))
    for i, result in enumerate(all_moved(views, pixels)):
        top, left = 3 + int(views.down[i]), 3 + int(views.right[i])
        window = padded[i, :, top : top + 9, left : left + 12]
        assert torch.equal(result, window.flip(-1) if views.mirrored[i] else window)


def test_a_flip_alone_mirrors_about_half_of_the_images() -> None:
    views = views_of(count=400, horizontal_flip=True)
    pixels = images(400)
    result = all_moved(views, pixels)
    assert views.mirrored is not None
    assert 150 < int(views.mirrored.sum()) < 250
    assert torch.equal(result[views.mirrored], pixels[views.mirrored].flip(-1))
    assert torch.equal(result[~views.mirrored], pixels[~views.mirrored])


def test_every_move_within_reach_occurs_equally_often() -> None:
    views = views_of(count=5000, shift=2)
    for drawn in (views.down, views.right):
        assert drawn is not None
        values, counts = drawn.unique(return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 850


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 9, 12), (1, 8, 20)])
def test_rotation_is_torchvisions(shape: tuple[int, int, int]) -> None:
    pixels = torch.nn.functional.avg_pool2d(
        torch.rand(6, *shape, generator=torch.Generator().manual_seed(1)), 3, stride=1, padding=1
    )
    angles = torch.tensor([-30.0, -10.0, 0.0, 5.0, 45.0, 90.0])
    views = Views(None, None, None, angles * math.pi / 180, None, None, 0)
    result = rotated(pixels, torch.arange(6), views)
    for i, angle in enumerate(angles.tolist()):
        expected = reference.rotate(
            pixels[i], angle, interpolation=reference.InterpolationMode.BILINEAR
        )
        torch.testing.assert_close(result[i], expected, atol=2e-4, rtol=1e-3)


def test_angles_stay_within_the_limit_and_use_it() -> None:
    angle = views_of(count=3000, rotation=10.0).angle
    assert angle is not None
    degrees = angle * 180 / math.pi
    assert float(degrees.abs().max()) <= 10.0 + 1e-4
    assert float(degrees.min()) < -9.5
    assert float(degrees.max()) > 9.5
    assert abs(float(degrees.mean())) < 0.5


@EXAMPLES
@given(side=st.integers(1, 8), seed=st.integers(0, 100))
def test_cutout_sets_one_square_to_the_mean_color(side: int, seed: int) -> None:
    views = views_of(seed, cutout=side)
    result = cut_out(torch.ones(20, *SHAPE), torch.arange(20), views)
    for i, image in enumerate(result):
        assert torch.equal(image[0], image[1])
        hole = np.argwhere(image[0].numpy() == 0)
        assert len(hole) > 0, "its center lies within the image"
        heights, widths = hole[:, 0], hole[:, 1]
        assert (int(heights.max() - heights.min()) + 1) * (
            int(widths.max() - widths.min()) + 1
        ) == len(hole), i
        assert max(heights.max() - heights.min(), widths.max() - widths.min()) + 1 <= side


def test_views_depend_on_seed_epoch_and_row_and_on_nothing_else() -> None:
    spec = {"crop_padding": 4, "horizontal_flip": True, "cutout": 4, "rotation": 5.0}
    state = torch.get_rng_state()
    first = views_of(0, 1, **spec)
    torch.rand(3)
    again, other_epoch, other_seed = (
        views_of(0, 1, **spec),
        views_of(0, 2, **spec),
        views_of(1, 1, **spec),
    )
    torch.set_rng_state(state)
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("down", "right", "mirrored", "angle", "cut_top", "cut_left"):
        mine = getattr(first, name)
        assert torch.equal(mine, getattr(again, name))
        assert not torch.equal(mine, getattr(other_epoch, name))
        assert not torch.equal(mine, getattr(other_seed, name))


def test_a_batch_sees_the_views_of_its_own_rows(digits: PreparedDataset) -> None:
    train = device_splits(
        digits,
        DatasetSpec.model_validate({"augmentation": {"shift": 2, "rotation": 20.0, "cutout": 3}}),
        CPU,
    ).train
    views = train.views(0, 1)
    assert views is not None
    rows = torch.tensor([5, 700, 31])
    together = train.batch(rows, views)
    for i, row in enumerate(rows):
        alone = train.batch(row[None], views)
        torch.testing.assert_close(together.images[i], alone.images[0])
        assert together.labels[i] == alone.labels[0]


def test_val_and_test_are_never_augmented(digits: PreparedDataset) -> None:
    plain = device_splits(digits, DatasetSpec(), CPU)
    augmented = device_splits(
        digits, DatasetSpec.model_validate({"augmentation": "shift_rotate"}), CPU
    )
    assert augmented.train.views(0, 1) is not None
    assert augmented.val.views(0, 1) is None
    assert augmented.test.views(0, 1) is None
    for ours, theirs in ((augmented.val, plain.val), (augmented.test, plain.test)):
        assert torch.equal(
            next(iter(ours.in_order(500))).images, next(iter(theirs.in_order(500))).images
        )


@pytest.mark.parametrize(
    "augmentation",
    ["none", "shift_rotate", {"crop_padding": 2, "horizontal_flip": True, "cutout": 3}],
)
def test_memory_mapped_splits_give_the_same_batches_as_resident_ones(
    digits: PreparedDataset, augmentation: object
) -> None:
    spec = DatasetSpec.model_validate({"augmentation": augmentation, "train_limit": 300})
    resident, mapped = (
        device_splits(digits, spec, CPU, resident_bytes=limit) for limit in (10**9, 0)
    )
    assert mapped.train.rows is not None
    assert mapped.train.images.untyped_storage().nbytes() >= digits.train_images.nbytes, (
        "the file itself, not a copy of the rows"
    )
    rows = torch.tensor([3, 299, 0, 17])
    for seed in (0, 1):
        ours, theirs = (
            splits.train.batch(rows, splits.train.views(seed, 2)) for splits in (resident, mapped)
        )
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
    for part in ("val", "test"):
        for ours, theirs in zip(
            getattr(resident, part).in_order(100), getattr(mapped, part).in_order(100), strict=True
        ):
            assert torch.equal(ours.images, theirs.images)


def test_oblong_color_images_work_in_channels_last(digits: PreparedDataset) -> None:
    info = DatasetInfo("oblong", "", (3, 9, 12), ("a", "b"), 40, 4, (0.5,) * 3, (0.25,) * 3, "", "")
    pixels, labels = images(40).numpy(), np.arange(40, dtype=np.int64) % 2
    dataset = PreparedDataset(info, "0" * 64, pixels, labels, pixels[:4], labels[:4])
    spec = DatasetSpec.model_validate(
        {
            "augmentation": {
                "crop_padding": 2,
                "horizontal_flip": True,
                "rotation": 10.0,
                "cutout": 3,
            }
        }
    )
    plain, last = (
        device_splits(dataset, spec, CPU, memory_format=kind).train
        for kind in (torch.contiguous_format, torch.channels_last)
    )
    rows = torch.arange(8)
    ours = last.batch(rows, last.views(0, 1)).images
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours, plain.batch(rows, plain.views(0, 1)).images)
