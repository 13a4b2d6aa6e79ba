"""What the catalog says of each data set against the images themselves, and what is said when they cannot be had."""

import dataclasses
import hashlib
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from lab_models.datasets.catalog import DIGITS, MNIST, all_datasets, dataset_info
from lab_models.datasets.preparation import PreparedDataset, RawDataset
from lab_models.datasets.readers import DataFolders, open_dataset, read_digits
from lab_models.errors import DatasetUnavailable
from tests.lab_models.conftest import data_folders, files_below

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="module")
def mnist(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("mnist")
    return open_dataset(MNIST, DataFolders(search=(folder / "nothing", mnist_root), download=folder / "download", prepared=folder / "prepared"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> str:
    """torchvision's real download code, pointed at a port of this machine where nobody listens; returns its address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
    return mirror


def mean_and_std(images: np.ndarray) -> tuple[float, float]:
    """Exact, by counting grey levels: over all pixels, which lie in [0, 1]."""
    counts = np.bincount(images.reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    mean = (counts * levels).sum() / counts.sum()
    return float(mean), float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))


def test_every_data_set_is_found_by_its_name() -> None:
    assert [info.name for info in all_datasets()] == ["digits", "mnist"]
    assert all(dataset_info(info.name) is info and info.num_classes == 10 and info.source and info.statistics_source for info in all_datasets())
    with pytest.raises(KeyError):
        dataset_info("minst")


def test_constants_of_digits_are_those_of_its_training_images(digits: PreparedDataset) -> None:
    mean, std = mean_and_std(digits.train_images)
    assert ((round(mean, 4),), (round(std, 4),)) == (DIGITS.mean, DIGITS.std)
    assert digits.train_images.shape == (DIGITS.num_train, *DIGITS.shape)
    assert digits.test_images.shape == (DIGITS.num_test, *DIGITS.shape)


def test_digits_are_those_of_scikit_learn_each_once_and_grey_for_grey(digits: PreparedDataset) -> None:
    pixels, target = load_digits(return_X_y=True)
    theirs = sorted((*row, label) for row, label in zip(np.rint(pixels).astype(int).tolist(), target.tolist(), strict=True))
    images, labels = np.concatenate([digits.train_images, digits.test_images]), np.concatenate([digits.train_labels, digits.test_labels])
    levels = np.rint(images.reshape(len(images), -1) * (16 / 255)).astype(int)
    assert sorted((*row, label) for row, label in zip(levels.tolist(), labels.tolist(), strict=True)) == theirs


def test_the_test_part_of_digits_is_stratified_and_what_it_always_was(digits: PreparedDataset) -> None:
    counts = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    assert np.abs(np.bincount(digits.test_labels) - counts * 360 / 1797).max() < 1
    content = b"".join(array.tobytes() for array in (digits.train_images, digits.train_labels, digits.test_images, digits.test_labels))
    assert hashlib.sha256(content).hexdigest() == "6a009a142edf9ee64ba4b078eda96bb6432ed5bbde8e819bb91b6ffdbfe97bba"


@pytest.mark.mnist
def test_constants_of_mnist_are_those_of_its_training_images(mnist: PreparedDataset) -> None:
    mean, std = mean_and_std(mnist.train_images)
    assert ((round(mean, 4),), (round(std, 4),)) == (MNIST.mean, MNIST.std)


@pytest.mark.mnist
def test_mnist_has_its_published_numbers_of_each_digit(mnist: PreparedDataset) -> None:
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert np.bincount(mnist.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.mnist
def test_once_prepared_mnist_needs_its_source_no_more(mnist: PreparedDataset, tmp_path: Path) -> None:
    prepared = Path(str(mnist.train_images.filename)).parents[1]  # type: ignore[attr-defined]
    again = open_dataset(MNIST, DataFolders(search=(), download=tmp_path / "download", prepared=prepared))
    assert again.sha256 == mnist.sha256
    assert files_below(tmp_path) == []


def test_mnist_without_files_and_network_says_what_to_do(tmp_path: Path, no_network: str) -> None:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(MNIST, data_folders(tmp_path))
    error = caught.value
    assert error.code == "dataset_unavailable"
    assert "could not be downloaded" in str(error)
    assert str(tmp_path / "datasets") in str(error)
    assert no_network in str(error)
    assert "LAB_DATA_DIR" in (error.hint or "")
    assert not (tmp_path / "prepared" / "mnist").exists()
    assert socket.getdefaulttimeout() is None


def test_a_failed_download_is_tried_again_by_the_next_run(tmp_path: Path, no_network: str) -> None:
    for _ in range(2):
        with pytest.raises(DatasetUnavailable, match="could not be downloaded") as caught:
            open_dataset(MNIST, data_folders(tmp_path))
        assert "LAB_DATA_DIR" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"<html>not found</html>",
        b"\0\0\x0a\x01\0\0\0\x01\0",
        b"\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c\0\0\0\x1c",
        b"\0\0\x08\x01\0\0\0\x03\0\1\2",
        b"\0" * 64,
    ],
    ids=["empty", "one byte", "a web page", "unknown type", "header alone", "three labels", "zeros"],
)
def test_damaged_mnist_files_are_called_so(content: bytes, tmp_path: Path, no_network: str) -> None:
    raw = tmp_path / "datasets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES:
        (raw / name).write_bytes(content)
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(MNIST, data_folders(tmp_path))
    assert caught.value.hint
    assert not (tmp_path / "prepared" / "mnist").exists()


@pytest.mark.mnist
def test_mnist_with_one_file_cut_short_or_missing_is_unavailable(mnist_root: Path, tmp_path: Path, no_network: str) -> None:
    raw = tmp_path / "datasets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES[1:]:
        (raw / name).symlink_to(mnist_root / "MNIST" / "raw" / name)
    with pytest.raises(DatasetUnavailable):
        open_dataset(MNIST, data_folders(tmp_path))
    with (mnist_root / "MNIST" / "raw" / IDX_FILES[0]).open("rb") as source:
        (raw / IDX_FILES[0]).write_bytes(source.read(100_000))
    with pytest.raises(DatasetUnavailable):
        open_dataset(MNIST, data_folders(tmp_path))
    shutil.rmtree(raw)


def test_a_data_set_without_a_reader_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="no reader"):
        open_dataset(dataclasses.replace(DIGITS, name="letters"), data_folders(tmp_path))


def test_digits_are_read_alike_each_time() -> None:
    one, other = read_digits(), read_digits()
    for field in dataclasses.fields(RawDataset):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
