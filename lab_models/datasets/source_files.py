"""Where the published files of data sets lie and what they are called, by names alone. Nothing here loads torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab_models.datasets.idx import find_together


@dataclass(frozen=True)
class SourceFiles:
    """Names of files, all of which lie in one of the folders below a folder of data; `hint` names both for people. Idx
    files may be packed. `download_bytes` is what a download takes at most, packed and unpacked.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    hint: str
    download_bytes: int

    def find(self, roots: Iterable[Path]) -> tuple[Path, ...] | None:
        """The files, in the order of their names, in the first place that has them all."""
        return find_together(self.names, self.folders, roots)


def _idx(train: str, test: str) -> tuple[str, ...]:
    return tuple(
        f"{part}-{kind}-ubyte" for part in (train, test) for kind in ("images-idx3", "labels-idx1")
    )


def _like_mnist(folder: str, name: str, download_bytes: int) -> SourceFiles:
    """The files are called as MNIST's are, so that only a folder says whose they are."""
    own = (f"{name}/{folder}/raw", f"{name}/raw", name, name.replace("_", "-"))
    return SourceFiles(
        _idx("train", "t10k"),
        (f"{folder}/raw", folder, *own),
        f"{folder}/raw/train-images-idx3-ubyte.gz and its three others",
        download_bytes,
    )


def _emnist(split: str) -> SourceFiles:
    return SourceFiles(
        _idx(f"emnist-{split}-train", f"emnist-{split}-test"),
        (
            *("EMNIST/raw", "EMNIST/raw/gzip", "EMNIST/gzip", "EMNIST"),
            *("emnist/EMNIST/raw", "emnist/gzip", "emnist", "gzip", "."),
        ),
        f"EMNIST/raw/emnist-{split}-train-images-idx3-ubyte.gz and its three others",
        650_000_000,
    )


SOURCE_FILES: Final = {
    "fashion_mnist": _like_mnist("FashionMNIST", "fashion_mnist", 90_000_000),
    "kmnist": _like_mnist("KMNIST", "kmnist", 80_000_000),
    **{f"emnist_{split}": _emnist(split) for split in ("balanced", "letters", "digits")},
    "svhn": SourceFiles(
        ("train_32x32.mat", "test_32x32.mat"),
        ("svhn", "SVHN", "."),
        "svhn/train_32x32.mat and svhn/test_32x32.mat",
        250_000_000,
    ),
    "stl10": SourceFiles(
        ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"),
        ("stl10_binary", "stl10/stl10_binary", "STL10/stl10_binary", "stl10"),
        "stl10_binary/ with train_X.bin, train_y.bin, test_X.bin and test_y.bin",
        3_100_000_000,
    ),
}
"""By data set; those of MNIST and CIFAR are found in more forms, see `presence`."""
