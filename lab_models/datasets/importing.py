"""Somebody's own images, from a folder or a zip to a data set that trains like any other. Nothing here loads torch.

<imported>/<name>/    the four arrays and the manifest with all facts; written beside, flushed, renamed: whole or absent
"""

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from lab_models.datasets.archives import MOST_ERRORS, ImageFiles, ImportLimits, ImportRefused, UnreadableFile, open_files, printable, refuse_bad_files
from lab_models.datasets.catalog import BUILT_IN, DATASET_NAME, DatasetInfo
from lab_models.datasets.decoding import Size, UndecodableImage, upright_size
from lab_models.datasets.layout import Layout, arrange
from lab_models.datasets.preparation import ARRAYS, seal
from lab_models.datasets.unpacking import mean_and_std, write_splits
from lab_models.errors import LabError, StorageFull
from lab_models.files import sync_folder
from lab_models.validation import FieldError

LARGEST_COMMON_SIDE = 224
DEFAULT_SIDE = 32
LARGEST_SIDE = 512
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Source = Path | BinaryIO


class NameTaken(LabError):
    """There is a data set of this name already, or one is just being made or removed."""

    code = "name_taken"


@dataclass(frozen=True)
class Wanted:
    """What the images shall become: `size` as (height, width) and 1 or 3 channels; None leaves it to the images."""

    size: Size | None = None
    channels: Literal[1, 3] | None = None


def import_images(
    source: Source,
    name: str,
    imported: Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    limits: ImportLimits | None = None,
) -> DatasetInfo:
    """Make a data set of a folder's or a zip's images, laid out as `layout.arrange` says, under `<imported>/<name>/`.

    `size`: side or (height, width) in pixels; by default the images' own if all have the same and it is at most 224x224,
    else 32x32. `channels`: by default 1 if every image is grey, else 3. Raises ImportRefused, NameTaken or StorageFull.
    """
    with reserved(name, imported):
        return import_reserved(source, name, imported, wanted(size, channels), limits or ImportLimits())


def wanted(size: int | tuple[int, int] | None, channels: Literal[1, 3] | None) -> Wanted:
    """Checked wishes; raises ImportRefused."""
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise ImportRefused("images of this size are not made", [FieldError("/size", f"must lie between 1 and {LARGEST_SIDE} pixels")])
    return Wanted(None if sides is None else Size(*sides), channels)


@contextmanager
def reserved(name: str, imported: Path) -> Iterator[None]:
    """Keep a name for one import, across all processes; raises ImportRefused for a bad name, NameTaken for a used one."""
    if not DATASET_NAME.fullmatch(name):
        raise ImportRefused(
            f"{name[:100]!r} is no name for a data set", [FieldError("/name", "must be 1 to 60 of a-z, 0-9, _ and -, and begin with a letter or digit")]
        )
    if name in BUILT_IN:
        raise NameTaken(f"{name!r} is a built-in data set", hint="choose another name")
    imported.mkdir(parents=True, exist_ok=True)
    with _locked(name, imported):
        if (imported / name).exists():
            raise NameTaken(f"there is a data set {name!r} already", hint="remove it first, or choose another name")
        yield


def import_reserved(source: Source, name: str, imported: Path, wanted: Wanted, limits: ImportLimits) -> DatasetInfo:
    """What `import_images` does once the name is reserved."""
    _sweep(imported)
    temporary = imported / f".{name}.tmp"
    try:
        with open_files(source, limits) as files:
            layout = arrange(files.names)
            size = wanted.size or _common_size(files, layout)
            _refuse_too_much(layout, size, limits)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            write_splits(files, layout, temporary, size, wanted.channels)
        info = _describe(name, layout, temporary, size)
        seal(temporary, {"name": name, "info": asdict(info)})
        temporary.replace(imported / name)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise StorageFull(f"importing {name!r} failed: {error.strerror}", hint="free disk space under LAB_HOME, then import again") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(imported)
    return info


def remove_imported(name: str, imported: Path) -> None:
    """Take an imported data set away; processes that have it open keep what they have. Raises NameTaken while it is being made, LookupError if absent."""
    if not DATASET_NAME.fullmatch(name) or not (imported / name).is_dir():
        raise LookupError(name)
    with _locked(name, imported):
        if not (imported / name).is_dir():
            raise LookupError(name)
        temporary = imported / f".{name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        (imported / name).replace(temporary)
        sync_folder(imported)
        shutil.rmtree(temporary)


@contextmanager
def _locked(name: str, imported: Path) -> Iterator[None]:
    with (imported / f".{name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NameTaken(f"{name!r} is being imported or removed right now", hint="wait until that is done") from error
        yield


def _sweep(imported: Path) -> None:
    """Take away what imports left whose process was killed: temporary folders that nobody holds the lock of."""
    for folder in imported.glob(".*.tmp"):
        try:
            with _locked(folder.name[1:-4], imported):
                shutil.rmtree(folder, ignore_errors=True)
        except NameTaken:
            continue


def _common_size(files: ImageFiles, layout: Layout) -> Size:
    """The size that all images have, if they do and it is not large; judged by their headers."""
    sizes, errors = set(), []
    for name, _ in (*layout.train, *layout.test):
        try:
            with files.open(name) as file:
                sizes.add(upright_size(file))
        except (UnreadableFile, UndecodableImage) as error:
            errors.append(FieldError(printable(name), str(error)))
            if len(errors) > MOST_ERRORS:
                break
    refuse_bad_files(errors)
    common = sizes.pop() if len(sizes) == 1 else None
    return common if common is not None and max(common.height, common.width) <= LARGEST_COMMON_SIDE else Size(DEFAULT_SIDE, DEFAULT_SIDE)


def _refuse_too_much(layout: Layout, size: Size, limits: ImportLimits) -> None:
    count = len(layout.train) + len(layout.test)
    if count > limits.max_images:
        raise ImportRefused(f"{count:,} images are more than {limits.max_images:,}")
    num_bytes = count * 3 * size.height * size.width
    if num_bytes > limits.max_array_bytes:
        raise ImportRefused(
            f"{count:,} images of {size.height}x{size.width} pixels take {num_bytes:,} bytes, more than {limits.max_array_bytes:,}",
            hint="choose a smaller size",
        )


def _describe(name: str, layout: Layout, folder: Path, size: Size) -> DatasetInfo:
    images = np.load(folder / f"{ARRAYS[0]}.npy", mmap_mode="r", allow_pickle=False)
    mean, std = mean_and_std(images)
    channels = images.shape[1]
    cut = "; it has no test folder, so a fixed stratified fifth of it serves as test" if layout.test_is_cut else ""
    return DatasetInfo(
        name=name,
        title=f"{name}, {size.height}x{size.width} {'grey' if channels == 1 else 'RGB'}, imported",
        shape=(channels, size.height, size.width),
        class_names=layout.class_names,
        num_train=len(layout.train),
        num_test=len(layout.test),
        mean=mean,
        std=std,
        statistics_source=f"computed over the {len(layout.train):,} training images at the import",
        source=f"imported from {len(layout.train) + len(layout.test):,} image files{cut}",
        imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
