"""Single images of a data set as it lies on disk, read without opening the whole."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lab_models.common.errors import DatasetUnavailable
from lab_models.common.files import sha256_of
from lab_models.datasets.catalog import MANIFEST

Split = Literal["train", "test"]


class NoSuchRow(IndexError):
    """The split has only `count` images."""

    def __init__(self, count: int) -> None:
        super().__init__(f"must be below {count:,}")
        self.count = count


@dataclass(frozen=True)
class StoredImage:
    """`pixels` (C, H, W) uint8, and the class that the data set gives it."""

    pixels: npt.NDArray[np.uint8]
    label: int


def stored_image(folder: Path, split: Split, row: int, *, sha256: str | None) -> StoredImage:
    """Image number `row` of the prepared or imported data set in `folder`, whose content must be the one that `sha256`
    names.

    Of train, val not yet cut off. Raises NoSuchRow, or DatasetUnavailable with the reason.
    """
    images, labels = stored_split(folder, split, sha256=sha256)
    if row >= len(labels):
        raise NoSuchRow(len(labels))
    return StoredImage(np.array(images[row]), int(labels[row]))


def stored_split(
    folder: Path, split: Split, *, sha256: str | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """All images (N, C, H, W) and labels (N,) of the split, memory-mapped; otherwise as `stored_image`, of which it
    raises DatasetUnavailable.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["sha256"] != sha256:
            raise DatasetUnavailable(
                "it has other images here than those that the run was trained on"
            )
        images, labels = (
            _mapped(folder / f"{split}-{part}.npy", manifest["files"])
            for part in ("images", "labels")
        )
    except FileNotFoundError as error:
        raise DatasetUnavailable("it is not prepared on this machine") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetUnavailable("its files are damaged") from error
    return images, labels


def _mapped(path: Path, sums: dict[str, str]) -> npt.NDArray[Any]:
    facts = path.stat()
    if _sha256(path, facts.st_ino, facts.st_size, facts.st_mtime_ns) != sums[path.name]:
        raise ValueError(f"{path.name} is damaged")
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@lru_cache(maxsize=64)
def _sha256(path: Path, inode: int, size: int, mtime_ns: int) -> str:  # noqa: ARG001
    """A file's sum, computed again only when the file is another one."""
    return sha256_of(path)
