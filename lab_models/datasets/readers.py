"""From a source (scikit-learn, Parquet, torchvision) to the prepared form; the only place that touches the network."""

import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lab_models.common.errors import DatasetUnavailable
from lab_models.common.files import require_room
from lab_models.datasets.catalog import DIGITS, DatasetInfo
from lab_models.datasets.idx import MNIST_FILES, find_mnist, read_idx
from lab_models.datasets.preparation import (
    PreparedDataset,
    RawDataset,
    open_imported,
    open_prepared,
)
from lab_models.datasets.presence import (
    DOWNLOADED_BYTES,
    cifar_root,
    find_shards,
    refusal_note,
    with_own,
)
from lab_models.datasets.source_files import SOURCE_FILES
from lab_models.datasets.source_readers import fetch_source, read_source
from lab_models.datasets.splits import split_train_val

DOWNLOAD_TIMEOUT_SECONDS = 20.0
DATA_SETTING = "LAB_DATA_DIR (where the service runs in containers: LAB_DATA, in .env)"
DIGITS_TEST_SEED = 0
ALWAYS_WHOLE = ("digits", "mnist")
"""Of the others a part of what was published will do."""
# answers to damaged files
UNREADABLE = (
    *(AssertionError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError),
    zlib.error,
)


@dataclass(frozen=True)
class DataFolders:
    """Where data sets lie: `search` is looked through in order, `download` takes what must be fetched, `prepared` the
    compact form.

    `imported` holds people's own data sets. Nothing is written that would leave less than `min_free_bytes` on the disk.
    """

    search: tuple[Path, ...]
    download: Path
    prepared: Path
    imported: Path
    min_free_bytes: int = 0


def open_dataset(info: DatasetInfo, folders: DataFolders) -> PreparedDataset:
    """The data set, memory-mapped, prepared on first use; raises DatasetUnavailable with what to do."""
    if info.imported:
        return open_imported(info, folders.imported)
    return open_prepared(
        info,
        folders.prepared,
        _reader(info, folders),
        partial=info.name not in ALWAYS_WHOLE,
        min_free_bytes=folders.min_free_bytes,
    )


def read_digits() -> RawDataset:
    """scikit-learn's 1,797 digits; grey levels 0..16 become round(255 v / 16), which loses nothing."""
    # a second of imports that only this data set's first use pays
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, *DIGITS.shape)
    labels = target.astype(np.int64)
    cut = split_train_val(
        labels, val_fraction=DIGITS.num_test / len(labels), stratified=True, seed=DIGITS_TEST_SEED
    )
    return RawDataset(images[cut.train], labels[cut.train], images[cut.val], labels[cut.val])


def read_mnist(folders: DataFolders) -> RawDataset:
    """MNIST from its four files in the first searched folder that holds them, else torchvision's download of them.

    Raises DatasetUnavailable, and StorageFull where the download has no room.
    """
    files = find_mnist((*with_own(folders.search, "mnist"), folders.download))
    if files is not None:
        try:
            return _mnist_arrays(files)
        except UNREADABLE as error:
            remedy = "remove that folder, or put the four idx files there"
            raise _unreadable("MNIST", files[0].parent, error, remedy) from error
    # torchvision's import takes a second, and only a download needs it
    from torchvision.datasets import MNIST

    _require_room_for_download("mnist", folders)
    try:
        with _downloading("mnist", folders):
            MNIST(folders.download, download=True)
            return _mnist_arrays(find_mnist([folders.download]) or ())
    except UNREADABLE as error:
        raise _not_here("MNIST", folders, error, "the four idx files, packed or not") from error


def _mnist_arrays(files: Sequence[Path]) -> RawDataset:
    if len(files) != len(MNIST_FILES):
        raise OSError("the four idx files are not there after the download")
    images, labels, test_images, test_labels = map(read_idx, files)
    return RawDataset(
        images[:, None], labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64)
    )


def read_published(name: str, folders: DataFolders) -> RawDataset:
    """One of `SOURCE_FILES` from its files in a data folder, else from a download of them. Raises as `read_mnist`
    does.
    """
    source = SOURCE_FILES[name]
    files = source.find((*folders.search, folders.download))
    if files is not None:
        try:
            return read_source(name, files)
        except UNREADABLE as error:
            remedy = f"remove these files, or put whole ones there: {source.hint}"
            raise _unreadable(name, files[0].parent, error, remedy) from error
    _require_room_for_download(name, folders)
    try:
        with _downloading(name, folders):
            fetch_source(name, folders.download)
            found = source.find([folders.download])
            if found is None:
                raise OSError("its files are not there after the download")
            return read_source(name, found)
    except UNREADABLE as error:
        raise _not_here(name, folders, error, source.hint) from error


def read_cifar(info: DatasetInfo, folders: DataFolders) -> RawDataset:
    """CIFAR-10 or CIFAR-100: Parquet shards in a searched folder, else torchvision's folder in one, else torchvision's
    download. Raises as `read_mnist` does.
    """
    # like torchvision's, an import that only preparation needs
    from lab_models.datasets.parquet import read_parquet

    shards = find_shards(info.name, (*folders.search, folders.download))
    return read_parquet(info, shards) if shards is not None else _torchvision_cifar(info, folders)


def _torchvision_cifar(info: DatasetInfo, folders: DataFolders) -> RawDataset:
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[info.name]
    # a broken download is mended by downloading again
    own = (root for root in with_own(folders.search, info.name) if root != folders.download)
    root = cifar_root(info.name, own)
    if root is not None:
        try:
            return _cifar_arrays(info, kind, root, download=False)
        except UNREADABLE as error:
            remedy = "remove that folder, or put torchvision's files there"
            raise _unreadable(info.name, root / kind.base_folder, error, remedy) from error
    _require_room_for_download(info.name, folders)
    try:
        with _downloading(info.name, folders):
            return _cifar_arrays(info, kind, folders.download, download=True)
    except UNREADABLE as error:
        files = f"{info.name}/train-00000-of-….parquet and the like, or torchvision's {kind.base_folder}"
        raise _not_here(info.name, folders, error, files) from error


def _cifar_arrays(info: DatasetInfo, kind: Any, root: Path, *, download: bool) -> RawDataset:
    """torchvision unpickles only files whose MD5 sums are those of the published ones."""
    arrays = []
    for part in (
        kind(root, train=True, download=download),
        kind(root, train=False, download=download),
    ):
        if tuple(part.classes) != info.class_names:
            raise ValueError(f"its class names are others than those of {info.name}")
        # (N, 32, 32, 3) -> (N, 3, 32, 32)
        arrays += [
            np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)),
            np.array(part.targets, np.int64),
        ]
    return RawDataset(*arrays)


def _reader(info: DatasetInfo, folders: DataFolders) -> Callable[[], RawDataset]:
    match info.name:
        case "digits":
            return read_digits
        case "mnist":
            return partial(read_mnist, folders)
        case "cifar10" | "cifar100":
            return partial(read_cifar, info, folders)
        case name if name in SOURCE_FILES:
            return partial(read_published, name, folders)
        case _:
            raise DatasetUnavailable(f"no reader for data set {info.name!r}")


def _unreadable(what: str, folder: Path, error: Exception, remedy: str) -> DatasetUnavailable:
    return DatasetUnavailable(
        f"{what}: {folder} cannot be read: {error or type(error).__name__}", hint=remedy
    )


def _not_here(what: str, folders: DataFolders, error: Exception, files: str) -> DatasetUnavailable:
    searched = ", ".join(str(root) for root in folders.search)
    return DatasetUnavailable(
        f"{what} is in none of the data folders ({searched}) and could not be downloaded: {error}",
        hint=(
            f"connect to the network once, or set {DATA_SETTING} to a folder that holds {files}; 'digits' needs neither"
        ),
    )


def _require_room_for_download(name: str, folders: DataFolders) -> None:
    folders.download.mkdir(parents=True, exist_ok=True)
    require_room(folders.download, DOWNLOADED_BYTES[name], folders.min_free_bytes)


@contextmanager
def _downloading(name: str, folders: DataFolders) -> Iterator[None]:
    """A download, with a note where it fails, so that whoever submits the next run hears of it before."""
    note = refusal_note(name, folders.download)
    try:
        with socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
            yield
    except UNREADABLE as error:
        # of a list of what was tried, the last line is the reason
        *_, reason = str(error).strip().splitlines() or [type(error).__name__]
        with suppress(OSError):
            note.write_text(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {reason}\n")
        raise
    note.unlink(missing_ok=True)


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Within the block, a server that says nothing for so long counts as gone."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
