"""CIFAR from Parquet files: found in every layout, refused when not whole, the same pixels as were put in."""

import dataclasses
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.catalog import CIFAR10, CIFAR100, Catalog, DatasetInfo
from lab_models.datasets.parquet import read_parquet
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.presence import find_shards
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.datasets.statistics import mean_and_std
from tests.lab_models.conftest import PROJECT, data_folders

NAMES = list(CIFAR10.class_names)


def pictures(count: int, seed: int = 0, shape: tuple[int, ...] = (32, 32, 3)) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, *shape), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_shard(
    path: Path,
    contents: Sequence[bytes | None],
    labels: Sequence[int | None],
    names: Sequence[str] | None = NAMES,
    columns: tuple[str, str] = ("img", "label"),
) -> None:
    """One file as the hub writes it, in row groups of three."""
    images = pa.array(
        [{"bytes": content, "path": None} for content in contents],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table(
        {
            columns[0]: images,
            columns[1]: pa.array(labels, pa.int64()),
            "coarse_label": pa.array([0] * len(labels), pa.int64()),
        }
    )
    if names is not None:
        features = {
            columns[0]: {"_type": "Image"},
            columns[1]: {"names": list(names), "_type": "ClassLabel"},
        }
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def write_set(
    folder: Path, train: np.ndarray, labels: np.ndarray, parts: int = 2, **options: Any
) -> None:
    """`train` in so many files, and its first four images as test."""
    for part, rows in enumerate(np.array_split(np.arange(len(train)), parts)):
        write_shard(
            folder / f"train-{part:05d}-of-{parts:05d}.parquet",
            [png(train[row]) for row in rows],
            labels[rows].tolist(),
            **options,
        )
    write_shard(
        folder / "test-00000-of-00001.parquet",
        [png(image) for image in train[:4]],
        labels[:4].tolist(),
        **options,
    )


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A folder of eleven images in three files, four of them test as well."""
    folder = tmp_path / "datasets" / "cifar10"
    write_set(folder, pictures(11), np.arange(11) % 10, parts=3)
    return folder


@pytest.mark.parametrize("below", ["", "data", "plain_text", "cifar10"])
@pytest.mark.parametrize("image_column", ["img", "image"])
def test_pixels_and_labels_are_those_of_the_files_in_their_order(
    below: str, image_column: str, tmp_path: Path
) -> None:
    images, labels = pictures(11), np.arange(11) % 10
    write_set(
        tmp_path / "datasets" / "cifar10" / below,
        images,
        labels,
        parts=3,
        columns=(image_column, "label"),
    )
    dataset = open_dataset(CIFAR10, data_folders(tmp_path))
    assert np.array_equal(dataset.train_images, images.transpose(0, 3, 1, 2))
    assert np.array_equal(dataset.train_labels, labels)
    assert np.array_equal(dataset.test_images, images[:4].transpose(0, 3, 1, 2))
    assert dataset.test_labels.tolist() == [0, 1, 2, 3]


def test_the_first_searched_folder_that_has_shards_is_taken(tmp_path: Path, cifar: Path) -> None:
    (tmp_path / "empty" / "cifar10").mkdir(parents=True)
    assert find_shards("cifar10", (tmp_path / "nowhere", tmp_path / "empty", cifar.parent)) == cifar
    assert find_shards("cifar100", (cifar.parent,)) is None


def test_a_partial_copy_is_taken_with_its_true_counts_and_says_so(
    tmp_path: Path, cifar: Path
) -> None:
    folders = data_folders(tmp_path)
    assert Catalog(folders.imported, folders.prepared).get("cifar10") == CIFAR10
    for _ in range(2):
        dataset = open_dataset(CIFAR10, folders)
        assert (dataset.info.num_train, dataset.info.num_test) == (11, 4)
        assert dataset.notes[0].startswith(
            "this copy of cifar10 holds 11 of 50,000 training images and 4 of 10,000 test images"
        )
    catalog = Catalog(folders.imported, folders.prepared)
    assert catalog.get("cifar10") == dataclasses.replace(CIFAR10, num_train=11, num_test=4)
    assert catalog.sha256("cifar10") == dataset.sha256
    assert Catalog(folders.imported).get("cifar10") == CIFAR10


def test_of_two_labels_the_class_is_taken_and_a_slip_in_the_hubs_names_is_known(
    tmp_path: Path,
) -> None:
    names = ["cra" if name == "crab" else name for name in CIFAR100.class_names]
    write_set(
        tmp_path / "datasets" / "cifar100",
        pictures(5),
        np.array([99, 26, 3, 50, 0]),
        names=names,
        columns=("img", "fine_label"),
    )
    assert open_dataset(CIFAR100, data_folders(tmp_path)).train_labels.tolist() == [
        99,
        26,
        3,
        50,
        0,
    ]


def test_files_without_class_names_are_taken_by_their_numbers(tmp_path: Path) -> None:
    write_set(tmp_path / "cifar10", pictures(5), np.arange(5), names=None)
    assert read_parquet(CIFAR10, tmp_path / "cifar10").train_labels.tolist() == [0, 1, 2, 3, 4]


def refused(info: DatasetInfo, folder: Path) -> str:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(info, data_folders(folder))
    assert not (folder / "prepared" / info.name).exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("train-00001-of-00003.parquet", "lacks train-00001-of-00003.parquet"),
        ("train-00002-of-00003.parquet", "lacks train-00002-of-00003.parquet"),
        ("test-00000-of-00001.parquet", "has no file test-….parquet"),
    ],
)
def test_a_missing_file_is_named(name: str, complaint: str, tmp_path: Path, cifar: Path) -> None:
    (cifar / name).unlink()
    assert complaint in refused(CIFAR10, tmp_path)


def test_files_of_two_sets_in_one_folder_are_refused(tmp_path: Path, cifar: Path) -> None:
    write_shard(cifar / "train-00003-of-00004.parquet", [png(pictures(1)[0])], [0])
    assert "mixes train files of 00003 and of 00004 parts" in refused(CIFAR10, tmp_path)


@pytest.mark.parametrize(
    ("shard", "complaint"),
    [
        ({"names": NAMES[::-1]}, "class names of .* are others"),
        (
            {"columns": ("picture", "label")},
            "has columns picture, label, coarse_label; expected img or image",
        ),
        ({"columns": ("img", "target")}, "has columns img, target, coarse_label"),
        (
            {"contents": [b"no image at all"]},
            r"row 0 of .*train-00000-of-00003.parquet is not an image of the formats PNG",
        ),
        ({"contents": [png(pictures(1)[0])[:200]]}, "row 0 of .* is damaged"),
        (
            {"contents": [png(pictures(1, shape=(31, 32, 3))[0])]},
            r"has shape \(3, 31, 32\), expected \(3, 32, 32\)",
        ),
        ({"contents": [None]}, "row 0 of .* has no image bytes"),
        ({"labels": [None]}, "row 0 of .* has no image bytes or no label"),
        ({"labels": [10]}, r"labels outside 0\.\.9"),
        ({"labels": [-1]}, r"labels outside 0\.\.9"),
    ],
    ids=[
        "class names",
        "no image",
        "no label",
        "not an image",
        "cut image",
        "wrong size",
        "no bytes",
        "null label",
        "large label",
        "negative label",
    ],
)
def test_a_file_of_the_wrong_content_is_refused(
    shard: dict[str, Any], complaint: str, tmp_path: Path, cifar: Path
) -> None:
    content = {"contents": [png(pictures(1)[0])], "labels": [0]} | shard
    write_shard(cifar / "train-00000-of-00003.parquet", **content)
    assert re.search(complaint, refused(CIFAR10, tmp_path))


def test_more_images_than_were_published_are_another_data_set(tmp_path: Path, cifar: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="expected 10 images"):
        open_dataset(dataclasses.replace(CIFAR10, num_train=10), data_folders(tmp_path))


@pytest.mark.parametrize(
    "damage", [b"", b"PAR1", b"\0" * 500], ids=["empty", "head alone", "zeros"]
)
def test_a_damaged_file_is_named(damage: bytes, tmp_path: Path, cifar: Path) -> None:
    (cifar / "test-00000-of-00001.parquet").write_bytes(damage)
    assert "test-00000-of-00001.parquet cannot be read" in refused(CIFAR10, tmp_path)


def test_damage_within_a_file_is_named(tmp_path: Path, cifar: Path) -> None:
    path = cifar / "train-00000-of-00003.parquet"
    content = bytearray(path.read_bytes())
    content[60:3000] = b"\xff" * 2940
    path.write_bytes(content)
    assert "train-00000-of-00003.parquet" in refused(CIFAR10, tmp_path)


def real(name: str, folder: Path) -> PreparedDataset:
    """The set from LAB_DATA_DIR or beside the project; skips where there is none."""
    named = [Path(part) for part in os.environ.get("LAB_DATA_DIR", "").split(os.pathsep) if part]
    roots = tuple(named or [PROJECT.parent / "shared" / "data"])
    if find_shards(name, roots) is None:
        pytest.skip(f"{name} files not found: set LAB_DATA_DIR")
    folders = DataFolders(
        search=roots,
        download=folder / "download",
        prepared=folder / "prepared",
        imported=folder / "imported",
    )
    info = Catalog(folders.imported).get(name)
    assert info is not None
    return open_dataset(info, folders)


@pytest.mark.costly
@pytest.mark.slow
def test_constants_of_cifar10_are_those_of_its_training_images(tmp_path: Path) -> None:
    dataset = real("cifar10", tmp_path)
    mean, std = mean_and_std(dataset.train_images)
    assert tuple(round(value, 4) for value in mean) == CIFAR10.mean
    assert tuple(round(value, 4) for value in std) == CIFAR10.std
    assert dataset.train_images.shape == (50_000, 3, 32, 32)
    assert np.bincount(dataset.train_labels).tolist() == [5000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10
    assert dataset.notes == ()


@pytest.mark.costly
@pytest.mark.slow
def test_constants_of_cifar100_are_those_of_its_training_images(tmp_path: Path) -> None:
    """To four digits over a whole copy; over a part of it, as near as chance allows."""
    dataset = real("cifar100", tmp_path)
    whole = len(dataset.train_labels) == CIFAR100.num_train
    assert whole == (dataset.notes == ())
    tolerance = 0.00005 if whole else 0.003
    mean, std = mean_and_std(dataset.train_images)
    assert mean == pytest.approx(CIFAR100.mean, abs=tolerance)
    assert std == pytest.approx(CIFAR100.std, abs=tolerance)
    assert set(dataset.train_labels.tolist()) == set(range(100))
