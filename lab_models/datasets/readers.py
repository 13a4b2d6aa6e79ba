"""From a source (scikit-learn, torchvision) to raw arrays; the only place that touches files of foreign formats or the network."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab_models.datasets.catalog import DIGITS, DatasetInfo
from lab_models.datasets.preparation import PreparedDataset, RawDataset, open_prepared
from lab_models.datasets.splits import split_train_val
from lab_models.errors import DatasetUnavailable

DOWNLOAD_TIMEOUT_SECONDS = 20.0
DIGITS_TEST_SEED = 0
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
UNREADABLE = (AssertionError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError)  # torchvision's answers to damaged idx files


@dataclass(frozen=True)
class DataFolders:
    """Where data sets lie: `search` is looked through in order, `download` takes what must be fetched, `prepared` the compact form."""

    search: tuple[Path, ...]
    download: Path
    prepared: Path


def open_dataset(info: DatasetInfo, folders: DataFolders) -> PreparedDataset:
    """The data set, memory-mapped, prepared on first use; raises DatasetUnavailable with what to do."""
    match info.name:
        case "digits":
            return open_prepared(info, folders.prepared, read_digits)
        case "mnist":
            return open_prepared(info, folders.prepared, lambda: read_mnist(folders))
        case _:
            raise DatasetUnavailable(f"no reader for data set {info.name!r}")


def read_digits() -> RawDataset:
    """scikit-learn's 1,797 digits; grey levels 0..16 become round(255 v / 16), which loses nothing."""
    from sklearn.datasets import load_digits  # a second of imports that only this data set's first use pays

    pixels, target = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, *DIGITS.shape)
    labels = target.astype(np.int64)
    cut = split_train_val(labels, val_fraction=DIGITS.num_test / len(labels), stratified=True, seed=DIGITS_TEST_SEED)
    return RawDataset(images[cut.train], labels[cut.train], images[cut.val], labels[cut.val])


def read_mnist(folders: DataFolders) -> RawDataset:
    """MNIST through torchvision: the first searched folder that holds `MNIST/raw`, else a download."""
    from torchvision.datasets import MNIST  # torchvision's import takes a second, and only preparation needs it

    for root in (*folders.search, folders.download):
        if all((root / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES):
            try:
                return _mnist_arrays(MNIST(root, train=True), MNIST(root, train=False))
            except UNREADABLE as error:
                raise DatasetUnavailable(
                    f"MNIST: {root / 'MNIST' / 'raw'} cannot be read: {error or type(error).__name__}",
                    hint="remove that folder, or put the four idx files there",
                ) from error
    try:
        with _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
            return _mnist_arrays(MNIST(folders.download, train=True, download=True), MNIST(folders.download, train=False, download=True))
    except UNREADABLE as error:
        searched = ", ".join(str(root) for root in folders.search)
        raise DatasetUnavailable(
            f"MNIST is in none of the data folders ({searched}) and could not be downloaded: {error}",
            hint="connect to the network once, or set LAB_DATA_DIR to a folder that holds MNIST/raw with the four idx files; 'digits' needs neither",
        ) from error


def _mnist_arrays(train: object, test: object) -> RawDataset:
    arrays = []
    for part in (train, test):
        arrays += [part.data.numpy()[:, None], part.targets.numpy().astype(np.int64)]  # type: ignore[attr-defined]
    return RawDataset(*arrays)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
