"""The compact form every worker shares: uint8 arrays in .npy files, memory-mapped, checksummed, written once.

<prepared>/<name>/train-images.npy   (N, C, H, W) uint8
<prepared>/<name>/train-labels.npy   (N,) int64          and the same for test
<prepared>/<name>/manifest.json      counts, SHA-256 of each file and of all of them together

People's own data sets lie in the same form under <imported>/<name>/, with all their facts in the manifest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lab_models.common.errors import DatasetUnavailable
from lab_models.common.files import (
    exclusive,
    require_room,
    sha256_of,
    sync_folder,
    write_atomically,
)
from lab_models.datasets.built_in import KNOWN_BY_CONTENT
from lab_models.datasets.catalog import BUILT_IN, CONTENT, MANIFEST, DatasetInfo, notes_on, of_copy
from lab_models.datasets.statistics import mean_and_std

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

ROUNDED = 5e-4
"""Published means and deviations have four digits, and are of float32 sums."""
ROUGHLY = 0.015
"""As far as those of the same images differ from one person's code to another's; those of other sets differ by more."""

ARRAYS = ("train-images", "train-labels", "test-images", "test-labels")


@dataclass(frozen=True)
class RawDataset:
    """A data set as read from its source: images (N, C, H, W) uint8, labels (N,) int64."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@dataclass(frozen=True)
class PreparedDataset:
    """A data set on disk, memory-mapped copy-on-write; `sha256` names its exact content, `info` has the counts of what
    is there.

    `notes` say what a reader of its results must know.
    """

    info: DatasetInfo
    sha256: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    notes: tuple[str, ...] = ()


def open_prepared(
    info: DatasetInfo,
    prepared: Path,
    read: Callable[[], RawDataset],
    *,
    partial: bool = False,
    min_free_bytes: int = 0,
) -> PreparedDataset:
    """The prepared data set, made from `read()` first if it is absent or damaged.

    `partial`: fewer images than were published will do, as long as there are some. Several processes may call this at
    once: one prepares, the others wait. Raises DatasetUnavailable, or StorageFull where it would leave less than
    `min_free_bytes`.
    """
    folder = prepared / info.name
    manifest = _verified_manifest(folder)
    if manifest is None:
        prepared.mkdir(parents=True, exist_ok=True)
        with exclusive(prepared / f".{info.name}.lock"):
            manifest = _verified_manifest(folder)
            if manifest is None:
                manifest = _prepare(info, folder, read(), partial, min_free_bytes)
    return _mapped(info, folder, manifest)


def open_imported(info: DatasetInfo, imported: Path) -> PreparedDataset:
    """Somebody's own data set, its files checked against their sums; raises DatasetUnavailable when they are
    damaged.
    """
    folder = imported / info.name
    manifest = _verified_manifest(folder)
    dataset = None if manifest is None else _mapped(info, folder, manifest)
    if (
        dataset is None
        or dataset.train_images.shape[1:] != info.shape
        or dataset.test_images.shape[1:] != info.shape
    ):
        raise DatasetUnavailable(
            f"the files of the imported data set {info.name!r} are damaged or gone",
            hint=f"remove it with DELETE /datasets/{info.name} and import it again",
        )
    return dataset


def seal(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of a folder that holds the four arrays: the facts, and the SHA-256 of each file and of all."""
    sums = {f"{name}.npy": sha256_of(folder / f"{name}.npy") for name in ARRAYS}
    manifest = facts | {"files": sums, "sha256": _combined(sums, facts)}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """One array as .npy, on disk when this returns."""
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _mapped(info: DatasetInfo, folder: Path, manifest: dict[str, Any]) -> PreparedDataset:
    images, labels, test_images, test_labels = (
        np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in ARRAYS
    )
    counts = {"num_train": len(labels), "num_test": len(test_labels)}
    info = of_copy(info, {**manifest, **counts})
    return PreparedDataset(
        info,
        manifest["sha256"],
        images,
        labels,
        test_images,
        test_labels,
        notes=notes_on(info),
    )


def _prepare(
    info: DatasetInfo, folder: Path, raw: RawDataset, partial: bool, min_free_bytes: int
) -> dict[str, Any]:
    _check(info, raw, partial)
    arrays: tuple[npt.NDArray[Any], ...] = (
        raw.train_images,
        raw.train_labels,
        raw.test_images,
        raw.test_labels,
    )
    require_room(folder.parent, sum(array.nbytes for array in arrays), min_free_bytes)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, array in zip(ARRAYS, arrays, strict=True):
            write_array(temporary / f"{name}.npy", array)
        manifest = seal(
            temporary,
            {
                "name": info.name,
                "num_train": len(raw.train_labels),
                "num_test": len(raw.test_labels),
                **_own_statistics(info, raw),
            },
        )
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)
    return manifest


def content_sum(raw: RawDataset) -> str:
    """SHA-256 of a data set's images with their labels, train and test apart, the same in whatever order they lie."""
    whole = hashlib.sha256()
    for images, labels in (
        (raw.train_images, raw.train_labels),
        (raw.test_images, raw.test_labels),
    ):
        rows = np.ascontiguousarray(images).reshape(len(images), -1)
        sums = sorted(
            hashlib.sha256(int(label).to_bytes(8, "little") + row.tobytes()).digest()
            for row, label in zip(rows, labels, strict=True)
        )
        whole.update(len(sums).to_bytes(8, "little") + b"".join(sums))
    return whole.hexdigest()


def _own_statistics(info: DatasetInfo, raw: RawDataset) -> dict[str, Any]:
    """Mean and std of a copy that is not what was published under its name; nothing for one that is, or that may be
    since it is a part.
    """
    published = BUILT_IN.get(info.name)
    if published is None or len(raw.train_labels) != published.num_train:
        return {}
    known = CONTENT.get(info.name)
    if (
        known is not None
        and len(raw.test_labels) == published.num_test
        and content_sum(raw) == known
    ):
        return {}
    mean, std = mean_and_std(raw.train_images)
    given = (*published.mean, *published.std)
    own = {"own_statistics": {"mean": mean, "std": std}}
    if info.name not in KNOWN_BY_CONTENT:
        is_other = not np.allclose((*mean, *std), given, rtol=0, atol=ROUGHLY)
        return {**own, "is_other_content": is_other}
    if known is None and np.allclose((*mean, *std), given, rtol=0, atol=ROUNDED):
        return {}
    return own


def _check(info: DatasetInfo, raw: RawDataset, partial: bool) -> None:
    expected = {
        "train": (info.num_train, raw.train_images, raw.train_labels),
        "test": (info.num_test, raw.test_images, raw.test_labels),
    }
    for split, (published, images, labels) in expected.items():
        count = len(labels) if partial and 0 < len(labels) <= published else published
        if images.shape != (count, *info.shape) or labels.shape != (count,):
            raise DatasetUnavailable(
                f"{info.name}: the {split} part has images {images.shape} and labels {labels.shape}, expected {count}"
                f" images of {info.shape}",
                hint="the source files are incomplete or of another data set; remove them and fetch them again",
            )
        if labels.min() < 0 or labels.max() >= info.num_classes:
            raise DatasetUnavailable(
                f"{info.name}: the {split} part has labels outside 0..{info.num_classes - 1}"
            )


def _verified_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest if every file's bytes are those that were written, else None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        whole = all(
            sha256_of(folder / f"{name}.npy") == manifest["files"][f"{name}.npy"] for name in ARRAYS
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (
        manifest if whole and manifest["sha256"] == _combined(manifest["files"], manifest) else None
    )


def _combined(sums: dict[str, str], facts: Mapping[str, Any]) -> str:
    """Of the files, and of where val begins in train, where the data set says that."""
    num_val = facts.get("info", {}).get("num_val", 0)
    said = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    return hashlib.sha256((said + (f"val {num_val}\n" if num_val else "")).encode()).hexdigest()
