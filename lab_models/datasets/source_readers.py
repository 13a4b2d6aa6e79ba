"""From published files to arrays, and the files themselves from where they were published, by torchvision's addresses
and MD5 sums.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab_models.common.files import exclusive
from lab_models.datasets.idx import read_idx
from lab_models.datasets.preparation import RawDataset
from lab_models.datasets.source_files import SOURCE_FILES

STL10_SHAPE = (3, 96, 96)


def read_source(name: str, files: Sequence[Path]) -> RawDataset:
    """The data set from its files, in the order of `SOURCE_FILES`; raises OSError, ValueError and whatever else damaged
    files are answered with.
    """
    if name == "svhn":
        return _svhn(files)
    if name == "stl10":
        return _stl10(files)
    images, labels, test_images, test_labels = map(read_idx, files)
    if name.startswith("emnist_"):
        # as MATLAB kept them: a column after the other
        images, test_images = images.transpose(0, 2, 1), test_images.transpose(0, 2, 1)
    first = 1 if name == "emnist_letters" else 0
    return RawDataset(
        images[:, None],
        labels.astype(np.int64) - first,
        test_images[:, None],
        test_labels.astype(np.int64) - first,
    )


def fetch_source(name: str, download: Path) -> None:
    """Download the data set's files to where `SOURCE_FILES` finds them; raises as torchvision does."""
    # a second of imports that only a download needs
    from torchvision.datasets import KMNIST, FashionMNIST

    if name in ("fashion_mnist", "kmnist"):
        {"fashion_mnist": FashionMNIST, "kmnist": KMNIST}[name](download, download=True)
    elif name == "svhn":
        _fetch_svhn(download)
    elif name == "stl10":
        _fetch_stl10(download)
    else:
        _fetch_emnist(name, download)


def _svhn(files: Sequence[Path]) -> RawDataset:
    # only this data set is in MATLAB's form
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    arrays: list[Any] = []
    for path in files:
        try:
            found = loadmat(path, variable_names=("X", "y"))
        except (MatReadError, IndexError) as error:
            raise ValueError(f"{path.name} is no file of MATLAB's: {error}") from error
        if found["X"].dtype != np.uint8:
            raise ValueError(f"{path.name} holds no bytes")
        # (32, 32, 3, N) -> (N, 3, 32, 32)
        arrays.append(np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)))
        # the digit 0 is class 10 there
        arrays.append(found["y"].astype(np.int64).reshape(-1) % 10)
    return RawDataset(*arrays)


def _stl10(files: Sequence[Path]) -> RawDataset:
    arrays: list[Any] = []
    for images, labels in (files[:2], files[2:]):
        pixels = np.fromfile(images, np.uint8).reshape(-1, *STL10_SHAPE)
        # a column after the other
        arrays.append(np.ascontiguousarray(pixels.transpose(0, 1, 3, 2)))
        arrays.append(np.fromfile(labels, np.uint8).astype(np.int64) - 1)
    return RawDataset(*arrays)


def _fetch_svhn(download: Path) -> None:
    from torchvision.datasets import SVHN
    from torchvision.datasets.utils import download_url

    for part in ("train", "test"):
        url, filename, md5 = SVHN.split_list[part]
        download_url(url, download / "svhn", filename, md5)


def _fetch_stl10(download: Path) -> None:
    """Without the 100,000 unlabeled images, which are nearly all of the archive."""
    from torchvision.datasets import STL10
    from torchvision.datasets.utils import download_url

    download_url(STL10.url, download, STL10.filename, STL10.tgz_md5)
    folder, archive = download / STL10.base_folder, download / STL10.filename
    folder.mkdir(exist_ok=True)
    wanted = {f"{STL10.base_folder}/{name}" for name in SOURCE_FILES["stl10"].names}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in wanted and member.isfile():
                _take_out(tar.extractfile(member), download / member.name)
    archive.unlink()


def _fetch_emnist(name: str, download: Path) -> None:
    """The archive stays: it holds the other splits as well."""
    from torchvision.datasets import EMNIST
    from torchvision.datasets.utils import download_url

    raw = download / "EMNIST" / "raw"
    (raw / "gzip").mkdir(parents=True, exist_ok=True)
    # another split may be wanted at the same time
    with exclusive(raw / ".gzip.lock"):
        download_url(EMNIST.url, raw, "gzip.zip", EMNIST.md5)
    with zipfile.ZipFile(raw / "gzip.zip") as archive:
        for file in SOURCE_FILES[name].names:
            with archive.open(f"gzip/{file}.gz") as packed:
                _take_out(packed, raw / "gzip" / f"{file}.gz")


def _take_out(source: Any, path: Path) -> None:
    """Under its name only when it is whole."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("wb") as file:
        shutil.copyfileobj(source, file)
    beside.replace(path)
