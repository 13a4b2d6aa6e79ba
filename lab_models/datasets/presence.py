"""Whether a data set's files are here, by a look at names: no file is read, no network asked. Readers find files by the
same rules.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab_models.datasets.catalog import MANIFEST, DatasetInfo
from lab_models.datasets.idx import find_mnist
from lab_models.datasets.source_files import SOURCE_FILES

Here = Literal["yes", "download", "missing"]

DOWNLOADED_BYTES = {
    "mnist": 70_000_000,
    "cifar10": 360_000_000,
    "cifar100": 360_000_000,
    **{name: files.download_bytes for name, files in SOURCE_FILES.items()},
}
"""What downloads take at most, packed and unpacked."""
CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
"""As torchvision calls them."""
SHARD = re.compile(
    r"(?P<split>train|test)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?\.parquet"
)


@dataclass(frozen=True)
class Presence:
    """`yes`; `download`, by the first run that needs it, of at most so many bytes; or `missing`, and why."""

    here: Here
    download_bytes: int = 0
    reason: str = ""


def presence(
    info: DatasetInfo, search: tuple[Path, ...], download: Path, prepared: Path
) -> Presence:
    """Of a data set that the catalog knows. A built-in one is `missing` when it could not be downloaded the last time
    that somebody needed it.
    """
    if info.imported or info.name == "digits" or (prepared / info.name / MANIFEST).is_file():
        return Presence("yes")
    if _source(info.name, search, download) is not None:
        return Presence("yes")
    size = DOWNLOADED_BYTES[info.name]
    try:
        return Presence("missing", size, refusal_note(info.name, download).read_text().strip())
    except OSError:
        return Presence("download", size)


def refusal_note(name: str, download: Path) -> Path:
    """Where it is noted that a download has failed, until one succeeds."""
    return download / f".{name}-not-downloaded"


def with_own(search: Iterable[Path], name: str) -> Iterator[Path]:
    """Every searched folder, and the data set's own within it."""
    for searched in search:
        yield from (searched, searched / name)


def find_shards(name: str, roots: Iterable[Path]) -> Path | None:
    """The first folder that holds Parquet shards of the data set, in one of the hub's layouts."""
    for root in roots:
        for folder in (
            root / name,
            *(root / name / below for below in ("data", "plain_text", name)),
        ):
            if folder.is_dir() and any(SHARD.fullmatch(path.name) for path in folder.iterdir()):
                return folder
    return None


def cifar_root(name: str, roots: Iterable[Path]) -> Path | None:
    """The first folder that holds torchvision's."""
    return next((root for root in roots if (root / CIFAR_FOLDERS[name]).is_dir()), None)


def _source(name: str, search: tuple[Path, ...], download: Path) -> object:
    try:
        if name == "mnist":
            return find_mnist((*with_own(search, name), download))
        if name in SOURCE_FILES:
            return SOURCE_FILES[name].find((*search, download))
        own = (*with_own(search, name), download)
        return find_shards(name, (*search, download)) or cifar_root(name, own)
    except OSError:  # a folder that this user may not look into
        return None
