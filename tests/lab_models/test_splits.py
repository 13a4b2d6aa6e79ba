"""Cuts into train and val: whole, disjoint, proportional, and the same for ever."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.splits import SplitRows, num_train_val, split_train_val, steps_per_epoch
from tests.lab_models.conftest import EXAMPLES


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Labels, and arguments that leave neither side empty."""
    labels = np.array(draw(st.lists(st.integers(0, 4), min_size=4, max_size=200)))
    fraction = draw(
        st.floats(0.01, 0.9).filter(lambda value: 0 < round(value * len(labels)) < len(labels))
    )
    limit = draw(st.none() | st.integers(1, 250))
    return labels, {
        "val_fraction": fraction,
        "stratified": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31 - 1)),
        "train_limit": limit,
    }


def checksum(split: SplitRows) -> str:
    return hashlib.sha256(split.train.tobytes() + split.val.tobytes()).hexdigest()


@EXAMPLES
@given(cuts())
def test_train_and_val_are_sorted_disjoint_and_of_the_promised_sizes(
    cut: tuple[Any, dict[str, Any]],
) -> None:
    labels, arguments = cut
    split = split_train_val(labels, **arguments)
    assert (len(split.train), len(split.val)) == num_train_val(
        len(labels), val_fraction=arguments["val_fraction"], train_limit=arguments["train_limit"]
    )
    assert not set(split.train) & set(split.val)
    for side in (split.train, split.val):
        assert side.dtype == np.int64
        assert (np.diff(side) > 0).all()
        assert len(side) > 0
        assert 0 <= side[0] <= side[-1] < len(labels)


@EXAMPLES
@given(cuts())
def test_without_a_limit_every_row_is_in_train_or_val_and_a_limit_leaves_val_as_it_is(
    cut: tuple[Any, dict[str, Any]],
) -> None:
    labels, arguments = cut
    limited, whole = (
        split_train_val(labels, **arguments),
        split_train_val(labels, **arguments | {"train_limit": None}),
    )
    assert sorted([*whole.train, *whole.val]) == list(range(len(labels)))
    assert set(limited.train) <= set(whole.train)
    assert np.array_equal(limited.val, whole.val)


@EXAMPLES
@given(cuts())
def test_a_stratified_cut_is_within_one_image_of_each_class_share(
    cut: tuple[Any, dict[str, Any]],
) -> None:
    labels, arguments = cut
    arguments["stratified"] = True
    whole, limited = (
        split_train_val(labels, **arguments | {"train_limit": None}),
        split_train_val(labels, **arguments),
    )
    for label in np.unique(labels):
        of_class = (labels == label).sum()
        assert abs((labels[whole.val] == label).sum() - of_class * len(whole.val) / len(labels)) < 1
        left = (labels[whole.train] == label).sum()
        assert (
            abs(
                (labels[limited.train] == label).sum()
                - left * len(limited.train) / len(whole.train)
            )
            < 1
        )


@EXAMPLES
@given(cuts())
def test_the_same_seed_gives_the_same_cut(cut: tuple[Any, dict[str, Any]]) -> None:
    labels, arguments = cut
    assert checksum(split_train_val(labels, **arguments)) == checksum(
        split_train_val(labels.copy(), **arguments)
    )


@pytest.mark.parametrize("stratified", [True, False])
def test_ten_seeds_give_ten_cuts(stratified: bool) -> None:
    labels = np.arange(100) % 5
    assert (
        len(
            {
                checksum(
                    split_train_val(labels, val_fraction=0.2, stratified=stratified, seed=seed)
                )
                for seed in range(10)
            }
        )
        == 10
    )


def test_a_cut_that_is_not_stratified_does_miss_the_shares() -> None:
    labels = np.repeat([0, 1], [90, 10])
    shares = {
        int(
            (
                labels[split_train_val(labels, val_fraction=0.2, stratified=False, seed=seed).val]
                == 1
            ).sum()
        )
        for seed in range(10)
    }
    assert shares - {2}


def test_cuts_are_what_they_always_were() -> None:
    labels = np.arange(1000) % 7
    arguments: dict[str, Any] = {"val_fraction": 0.15, "seed": 3}
    assert {
        "stratified": checksum(split_train_val(labels, stratified=True, **arguments)),
        "random": checksum(split_train_val(labels, stratified=False, **arguments)),
        "limited": checksum(split_train_val(labels, stratified=True, train_limit=77, **arguments)),
    } == {
        "stratified": "03bce8369223a2b9209846f595f03418f4348e9e99f5365beb0b095affb0b55b",
        "random": "995a5a7046146cfab9aea7f668ba0088cfa699dcab88ddc1c7fcf5bdf1473562",
        "limited": "b52efd4e78982bf200c70755d82c5aaa388ee11ec65da2cb69e15f36e4187c36",
    }


def test_the_default_cut_of_digits_is_what_it_always_was(digits: PreparedDataset) -> None:
    split = split_train_val(digits.train_labels, val_fraction=0.2, stratified=True, seed=0)
    assert (len(split.train), len(split.val)) == (1150, 287)
    assert checksum(split) == "b0abb5ae6ee273b90c7f475d0036e039a8c3f084789f1d43b76b70b63555bc44"


@pytest.mark.parametrize("fraction", [0.01, 0.9])
def test_a_cut_with_an_empty_side_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="images for val"):
        split_train_val(np.zeros(1, dtype=np.int64), val_fraction=fraction, stratified=True, seed=0)


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps"),
    [
        (100, 50, 2),
        (101, 50, 2),
        (102, 50, 3),
        (1, 50, 1),
        (49, 50, 1),
        (51, 50, 1),
        (5, 2, 2),
        (1150, 64, 18),
        (48_000, 64, 750),
    ],
)
def test_a_last_batch_of_one_counts_as_part_of_the_batch_before(
    rows: int, batch_size: int, steps: int
) -> None:
    assert steps_per_epoch(rows, batch_size) == steps
