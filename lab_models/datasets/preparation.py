"""The compact form every worker shares: uint8 arrays in .npy files, memory-mapped, checksummed, written once.

<prepared>/<name>/train-images.npy   (N, C, H, W) uint8
<prepared>/<name>/train-labels.npy   (N,) int64          and the same for test
<prepared>/<name>/manifest.json      SHA-256 of each file and of all of them together
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lab_models.datasets.catalog import DatasetInfo
from lab_models.errors import DatasetUnavailable
from lab_models.files import sha256_of, sync_folder, write_atomically

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

ARRAYS = ("train-images", "train-labels", "test-images", "test-labels")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RawDataset:
    """A data set as read from its source: images (N, C, H, W) uint8, labels (N,) int64."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@dataclass(frozen=True)
class PreparedDataset:
    """A data set on disk, memory-mapped copy-on-write; `sha256` names its exact content."""

    info: DatasetInfo
    sha256: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def open_prepared(info: DatasetInfo, prepared: Path, read: Callable[[], RawDataset]) -> PreparedDataset:
    """The prepared data set, made from `read()` first if it is absent or damaged.

    Several processes may call this at once: one prepares, the others wait. Raises DatasetUnavailable.
    """
    folder = prepared / info.name
    manifest = _verified_manifest(folder)
    if manifest is None:
        prepared.mkdir(parents=True, exist_ok=True)
        with _exclusive(prepared / f".{info.name}.lock"):
            manifest = _verified_manifest(folder)
            if manifest is None:
                manifest = _prepare(info, folder, read())
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in ARRAYS}
    return PreparedDataset(info, manifest["sha256"], arrays["train-images"], arrays["train-labels"], arrays["test-images"], arrays["test-labels"])


def _prepare(info: DatasetInfo, folder: Path, raw: RawDataset) -> dict[str, Any]:
    _check(info, raw)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        manifest = _write(info, temporary, raw)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)
    return manifest


def _write(info: DatasetInfo, folder: Path, raw: RawDataset) -> dict[str, Any]:
    folder.mkdir(parents=True)
    arrays = (raw.train_images, raw.train_labels, raw.test_images, raw.test_labels)
    sums = {}
    for name, array in zip(ARRAYS, arrays, strict=True):
        path = folder / f"{name}.npy"
        with path.open("wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        sums[f"{name}.npy"] = sha256_of(path)
    manifest = {"name": info.name, "files": sums, "sha256": _combined(sums)}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


def _check(info: DatasetInfo, raw: RawDataset) -> None:
    expected = {"train": (info.num_train, raw.train_images, raw.train_labels), "test": (info.num_test, raw.test_images, raw.test_labels)}
    for split, (count, images, labels) in expected.items():
        if images.shape != (count, *info.shape) or labels.shape != (count,):
            raise DatasetUnavailable(
                f"{info.name}: the {split} part has images {images.shape} and labels {labels.shape}, expected {count} images of {info.shape}",
                hint="the source files are incomplete or of another data set; remove them and fetch them again",
            )
        if labels.min() < 0 or labels.max() >= info.num_classes:
            raise DatasetUnavailable(f"{info.name}: the {split} part has labels outside 0..{info.num_classes - 1}")


def _verified_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest if every file's bytes are those that were written, else None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        whole = all(sha256_of(folder / f"{name}.npy") == manifest["files"][f"{name}.npy"] for name in ARRAYS)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole and manifest["sha256"] == _combined(manifest["files"]) else None


def _combined(sums: dict[str, str]) -> str:
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
