"""The data sets this lab knows: the built-in ones and those imported. Nothing here loads torch or any image."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lab_models.datasets.built_in import BUILT_IN as BUILT_IN
from lab_models.datasets.built_in import CIFAR10 as CIFAR10
from lab_models.datasets.built_in import CIFAR100 as CIFAR100
from lab_models.datasets.built_in import CONTENT as CONTENT
from lab_models.datasets.built_in import DIGITS as DIGITS
from lab_models.datasets.built_in import KNOWN_BY_CONTENT
from lab_models.datasets.built_in import MNIST as MNIST
from lab_models.datasets.built_in import spoken_name as spoken_name
from lab_models.datasets.facts import INFO
from lab_models.datasets.facts import DatasetInfo as DatasetInfo

MANIFEST = "manifest.json"
DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")

log = logging.getLogger("lab.datasets")


class Catalog:
    """The built-in data sets and those imported into a folder.

    Given the folder of prepared data sets, a built-in one has the counts of what was prepared, which may be less than
    was published.
    """

    def __init__(self, imported: Path, prepared: Path | None = None) -> None:
        self._imported = imported
        self._prepared = prepared

    def has_built_in(self, name: str) -> bool:
        """Whether the name is a built-in data set's, and not that of somebody's own, imported before there was one that
        is built in.
        """
        return name in BUILT_IN and (
            name in KNOWN_BY_CONTENT or not (self._imported / name / MANIFEST).is_file()
        )

    def get(self, name: str) -> DatasetInfo | None:
        """Facts of a data set by its name; None for a name that is none."""
        if not self.has_built_in(name):
            return _imported_info(self._imported, name)
        manifest = self._manifest(name)
        return BUILT_IN[name] if manifest is None else of_copy(BUILT_IN[name], manifest)

    def all(self) -> tuple[DatasetInfo, ...]:
        """Every data set, in the order it is shown: the built-in ones, then the imported ones by name."""
        built_in = (self.get(name) for name in BUILT_IN if self.has_built_in(name))
        return tuple(info for info in (*built_in, *self.imported()) if info is not None)

    def imported(self) -> tuple[DatasetInfo, ...]:
        """The imported ones, by name."""
        names = (
            sorted(path.name for path in self._imported.iterdir())
            if self._imported.is_dir()
            else []
        )
        found = (self.get(name) for name in names if not self.has_built_in(name))
        return tuple(info for info in found if info is not None)

    def sha256(self, name: str) -> str | None:
        """Names the exact content; None while a built-in data set is not prepared, or for a name that is none."""
        manifest = self._manifest(name)
        sha256 = None if manifest is None else manifest.get("sha256")
        return sha256 if isinstance(sha256, str) else None

    def disk_bytes(self, name: str) -> int:
        """What the files of a data set take; 0 while a built-in one is not prepared, or for a name that is none."""
        folder = self._folder(name)
        try:
            return 0 if folder is None else sum(file.stat().st_size for file in folder.iterdir())
        except OSError:  # not there, or just being removed
            return 0

    def _manifest(self, name: str) -> dict[str, Any] | None:
        folder = self._folder(name)
        return None if folder is None else _read_manifest(folder)

    def _folder(self, name: str) -> Path | None:
        parent = self._prepared if self.has_built_in(name) else self._imported
        return None if parent is None or not DATASET_NAME.fullmatch(name) else parent / name


def of_copy(info: DatasetInfo, manifest: Mapping[str, Any]) -> DatasetInfo:
    """The facts of one copy, by its manifest: its counts, and its own mean and std where it is not what was published;
    what the manifest does not say stays as published.
    """
    num_train, num_test = manifest.get("num_train"), manifest.get("num_test")
    if isinstance(num_train, int) and isinstance(num_test, int):
        info = replace(info, num_train=num_train, num_test=num_test)
    own = manifest.get("own_statistics")
    if not isinstance(own, Mapping):
        return info
    return replace(
        info,
        mean=tuple(own["mean"]),
        std=tuple(own["std"]),
        statistics_source="computed over this copy's training images",
        noticed=(
            *info.noticed,
            *(
                [_OTHER_CONTENT.format(name=info.name)]
                if manifest.get("is_other_content", True)
                else []
            ),
        ),
    )


_OTHER_CONTENT: Final = (
    "this copy of {name} has the published names and numbers of images, but other content: its scores are not"
    " comparable with published ones, and its own mean and std are used"
)


def partial_copy(info: DatasetInfo) -> str | None:
    """A sentence on what a copy of a built-in data set lacks; None when it lacks nothing."""
    published = None if info.imported else BUILT_IN.get(info.name)
    if published is None or (info.num_train, info.num_test) == (
        published.num_train,
        published.num_test,
    ):
        return None
    return (
        f"this copy of {info.name} holds {info.num_train:,} of {published.num_train:,} training images and"
        f" {info.num_test:,} of {published.num_test:,} test images: its scores are not comparable with published ones"
    )


def notes_on(info: DatasetInfo) -> tuple[str, ...]:
    """What a reader of any score on this data set must know, a sentence each."""
    partial = partial_copy(info)
    return info.noticed if partial is None else (partial, *info.noticed)


def _imported_info(imported: Path, name: str) -> DatasetInfo | None:
    manifest = _read_manifest(imported / name) if DATASET_NAME.fullmatch(name) else None
    if manifest is None:
        return None
    try:
        info = INFO.validate_python(manifest.get("info"))
        if info.name != name or not info.imported:
            raise ValueError(f"it describes {info.name!r}")
    except ValueError as error:
        log.warning(
            "%s is damaged and its data set is left out: %s", imported / name / MANIFEST, error
        )
        return None
    return info


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a prepared or imported folder says of itself, its files unchecked; None where there is none or it is
    damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", folder / MANIFEST, error)
        return None
    return manifest if isinstance(manifest, dict) else None
