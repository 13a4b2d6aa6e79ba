"""Which image belongs to train and which to val: a pure function of labels, fraction and seed.

`numpy.random.RandomState` is used because NumPy froze its stream (NEP 19), so a split never changes with a version.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import DatasetSpec

Indices = npt.NDArray[np.int64]
SAMPLE_SEED = 0
"""Whatever the run's: all runs on one cut of a data set are looked at on the same images."""


@dataclass(frozen=True)
class SplitRows:
    """Sorted, disjoint row numbers of the training file."""

    train: Indices
    val: Indices


def split_as_asked(
    labels: npt.NDArray[np.integer], spec: DatasetSpec, info: DatasetInfo
) -> SplitRows:
    """The rows of the training file that a spec trains on and chooses by; raises DatasetUnavailable where it asks for a
    validation split that the data set does not have.
    """
    if spec.val == "cut":
        return split_train_val(
            labels,
            val_fraction=spec.val_fraction,
            stratified=spec.stratified,
            seed=spec.split_seed,
            train_limit=spec.train_limit,
        )
    if not info.num_val:
        raise DatasetUnavailable(*no_published_val(info))
    rows = np.arange(len(labels))
    train, val = rows[: -info.num_val], rows[-info.num_val :]
    if spec.train_limit is not None and spec.train_limit < len(train):
        random = np.random.RandomState(spec.split_seed)
        train, _ = _take(labels, train, spec.train_limit, spec.stratified, random)
    return SplitRows(train=train, val=val)


def no_published_val(info: DatasetInfo) -> tuple[str, str]:
    """That the data set has none, and what to do."""
    return (
        f"{info.name} has no validation split of its own",
        "leave 'val' out: val is cut from train then; `GET /datasets` says as num_val which data sets have one",
    )


def num_rows_as_asked(spec: DatasetSpec, info: DatasetInfo) -> tuple[int, int]:
    """How many rows `split_as_asked` gives to train and to val; no val where there is none."""
    if spec.val == "cut":
        return num_train_val(
            info.num_train, val_fraction=spec.val_fraction, train_limit=spec.train_limit
        )
    num_train = info.num_train - info.num_val
    return min(num_train, spec.train_limit or num_train), info.num_val


def split_train_val(
    labels: npt.NDArray[np.integer],
    *,
    val_fraction: float,
    stratified: bool,
    seed: int,
    train_limit: int | None = None,
) -> SplitRows:
    """Cut `round(val_fraction * n)` rows off as val, by class proportions if stratified; `train_limit` thins train
    alone.

    Raises ValueError when either side would be empty.
    """
    num_val = round(val_fraction * len(labels))
    if not 0 < num_val < len(labels):
        raise ValueError(
            f"val_fraction {val_fraction} leaves {num_val} of {len(labels)} images for val"
        )
    val, train = _take(
        labels, np.arange(len(labels)), num_val, stratified, np.random.RandomState(seed)
    )
    if train_limit is not None and train_limit < len(train):
        train, _ = _take(labels, train, train_limit, stratified, np.random.RandomState(seed))
    return SplitRows(train=train, val=val)


def sample_rows(labels: npt.NDArray[np.integer], count: int) -> Indices:
    """`count` rows by class proportions, the same at every call, sorted; all of them where there are no more."""
    rows = np.arange(len(labels))
    if count >= len(rows):
        return rows
    chosen, _ = _take(labels, rows, count, True, np.random.RandomState(SAMPLE_SEED))
    return chosen


def num_train_val(
    num_rows: int, *, val_fraction: float, train_limit: int | None = None
) -> tuple[int, int]:
    """How many rows `split_train_val` gives to train and to val."""
    num_val = round(val_fraction * num_rows)
    return min(num_rows - num_val, train_limit or num_rows), num_val


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Optimizer steps of one epoch: a last batch of a single row joins the batch before it."""
    full, rest = divmod(num_rows, batch_size)
    return full + (1 if rest > 1 or (rest == 1 and full == 0) else 0)


def _take(
    labels: npt.NDArray[np.integer],
    rows: Indices,
    count: int,
    stratified: bool,
    random: np.random.RandomState,
) -> tuple[Indices, Indices]:
    """`count` of `rows` at random, and the rest; both sorted."""
    if not stratified:
        chosen = random.permutation(rows)[:count]
    else:
        classes, sizes = np.unique(labels[rows], return_counts=True)
        chosen = np.concatenate(
            [
                random.permutation(rows[labels[rows] == label])[:share]
                for label, share in zip(classes, _proportional_shares(sizes, count), strict=True)
            ]
        )
    chosen = np.sort(chosen).astype(np.int64)
    return chosen, np.setdiff1d(rows, chosen).astype(np.int64)


def _proportional_shares(sizes: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """Whole numbers that add up to `count`, proportional to `sizes` by largest remainder (ties to the first class)."""
    exact = sizes * (count / sizes.sum())
    shares: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    missing = count - int(shares.sum())
    largest_remainders = np.argsort(-(exact - shares), kind="stable")[:missing]
    shares[largest_remainders] += 1
    return shares
