"""Batches: every image once an epoch, in an order that the seed and the epoch decide, normalised by the catalog's
constants.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab_models.datasets.batches import Splits, device_splits, epoch_batches
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.splits import steps_per_epoch
from lab_models.specs import DatasetSpec
from tests.lab_models.conftest import EXAMPLES

CPU = torch.device("cpu")
sizes = (st.integers(1, 300), st.integers(1, 80))


@pytest.fixture(scope="module")
def splits(digits: PreparedDataset) -> Splits:
    return device_splits(digits, DatasetSpec(), CPU)


@EXAMPLES
@given(*sizes)
def test_every_row_comes_exactly_once_an_epoch(num_rows: int, batch_size: int) -> None:
    rows = torch.cat(epoch_batches(num_rows, batch_size, 0, 1, CPU))
    assert sorted(rows.tolist()) == list(range(num_rows))


@EXAMPLES
@given(*sizes)
def test_there_are_as_many_batches_as_promised(num_rows: int, batch_size: int) -> None:
    assert len(epoch_batches(num_rows, batch_size, 0, 1, CPU)) == steps_per_epoch(
        num_rows, batch_size
    )


def test_batches_of_one_image_stay_single() -> None:
    assert [len(batch) for batch in epoch_batches(5, 1, 0, 1, CPU)] == [1] * 5
    assert steps_per_epoch(5, 1) == 5


@pytest.mark.parametrize(
    ("num_rows", "lengths"),
    [(9, [4, 5]), (10, [4, 4, 2]), (8, [4, 4]), (5, [5]), (4, [4]), (1, [1])],
)
def test_a_last_batch_of_one_joins_the_batch_before(num_rows: int, lengths: list[int]) -> None:
    assert [len(batch) for batch in epoch_batches(num_rows, 4, 0, 1, CPU)] == lengths


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    def order(seed: int, epoch: int, batch_size: int = 10) -> list[int]:
        return torch.cat(epoch_batches(100, batch_size, seed, epoch, CPU)).tolist()

    before, state = order(0, 1), torch.get_rng_state()
    torch.rand(5)
    assert order(0, 1) == before == order(0, 1, batch_size=64)
    assert len({tuple(order(seed, epoch)) for seed in range(5) for epoch in range(1, 6)}) == 25
    torch.set_rng_state(state)
    order(0, 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_normalised_by_the_constants_of_their_data_set(
    splits: Splits, digits: PreparedDataset
) -> None:
    mean, std = digits.info.mean[0], digits.info.std[0]
    rows = torch.tensor([5, 0, 700])
    batch = splits.train.batch(rows)
    pixels = splits.train.images[rows].double()
    torch.testing.assert_close(
        batch.images, ((pixels / 255 - mean) / std).float(), rtol=1e-6, atol=1e-6
    )
    assert (batch.images.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(batch.labels, splits.train.labels[rows])


def test_normalised_training_images_have_mean_0_and_deviation_1(splits: Splits) -> None:
    everything = torch.cat(
        [batch.images for split in (splits.train, splits.val) for batch in split.in_order(500)]
    )
    assert abs(everything.mean().item()) < 5e-4
    assert abs(everything.std().item() - 1) < 5e-4


def test_reading_in_order_gives_every_image_once_as_stored(splits: Splits) -> None:
    batches = list(splits.test.in_order(100))
    assert [len(batch.labels) for batch in batches] == [100, 100, 100, 60]
    assert torch.equal(torch.cat([batch.labels for batch in batches]), splits.test.labels)
    assert torch.equal(
        torch.cat([batch.images for batch in batches]), splits.test.batch(torch.arange(360)).images
    )


def test_batches_leave_the_stored_images_unchanged(splits: Splits, digits: PreparedDataset) -> None:
    splits.test.batch(torch.arange(10)).images.zero_()
    next(splits.test.in_order(10)).images.zero_()
    assert np.array_equal(splits.test.images.numpy(), digits.test_images)


def test_the_three_splits_have_their_sizes_and_a_limit_thins_train_alone(
    splits: Splits, digits: PreparedDataset
) -> None:
    limited = device_splits(digits, DatasetSpec(train_limit=100), CPU)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (1150, 287, 360)
    assert (len(limited.train), len(limited.val), len(limited.test)) == (100, 287, 360)
    assert torch.equal(limited.val.images, splits.val.images)


def test_train_and_val_are_cut_from_the_training_file_with_labels_that_fit(
    splits: Splits, digits: PreparedDataset
) -> None:
    def pairs(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted(
            (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
        )

    cut = [
        pairs(split.images.numpy(), split.labels.numpy()) for split in (splits.train, splits.val)
    ]
    assert sorted(cut[0] + cut[1]) == pairs(digits.train_images, digits.train_labels)
