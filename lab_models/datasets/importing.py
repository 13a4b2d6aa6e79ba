"""Somebody's own images, from a folder or a zip to a data set that trains like any other. Nothing here loads torch.

<imported>/<name>/    the four arrays and the manifest with all facts; written beside, flushed, renamed: whole or absent
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from lab_models.common.errors import LabError, StorageFull
from lab_models.common.files import FULL_DISK, HeldByAnother, exclusive, require_room, sync_folder
from lab_models.common.validation import FieldError
from lab_models.datasets.archives import open_files
from lab_models.datasets.bounds import (
    bytes_beside,
    bytes_written,
    refuse_too_many,
    refuse_too_much,
)
from lab_models.datasets.catalog import BUILT_IN, DATASET_NAME, DatasetInfo
from lab_models.datasets.containers import images_in
from lab_models.datasets.decoding import Ground, Size
from lab_models.datasets.labeling import laid_out
from lab_models.datasets.preparation import ARRAYS, seal
from lab_models.datasets.refusals import ImportLimits, ImportRefused
from lab_models.datasets.sizing import Wanted, wanted
from lab_models.datasets.statistics import mean_and_std
from lab_models.datasets.taking_in import TakenIn, look_through, take_in

FORGOTTEN_SECONDS = 3600.0
"""Locks of processes that were killed are taken away after so long: whoever opens one now may be about to lock it."""

Source = Path | BinaryIO


class NameTaken(LabError):
    """There is a data set of this name already, or one is just being made or removed."""

    code = "name_taken"


class ImportUnderWay(LabError):
    """The owner imports another data set right now."""

    code = "import_under_way"


@dataclass(frozen=True)
class Importer:
    """Who imports: the data set's owner, and what is asked before anything is written, given how many bytes it will
    take at most; it raises to refuse. `keep` is told name and folder when all is written, before the name counts.
    """

    owner: str | None = None
    admit: Callable[[int], None] = lambda _: None
    keep: Callable[[str, Path], None] = lambda *_: None


ANYBODY = Importer()


def import_images(
    source: Source,
    name: str,
    imported: Path,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    enlarge: bool = False,
    background: Ground | None = None,
    stretch: bool = False,
    skip_bad: bool = False,
    owner: str | None = None,
    limits: ImportLimits | None = None,
) -> DatasetInfo:
    """Make a data set of a folder's or a zip's images, laid out as `layout.arrange` says, under `<imported>/<name>/`.

    `size`: side or (height, width) in pixels; by default the images' own if all have the same and it is at most
    224x224, else 32x32, or less where no image has as much. A given size that would enlarge an image is refused without
    `enlarge`. `channels`: by default 1 if every image is grey, else 3. `background`, `stretch` and `skip_bad` as in
    `Wanted`. Raises ImportRefused, NameTaken or StorageFull.
    """
    with reserved(name, imported):
        return import_reserved(
            source,
            name,
            imported,
            wanted(
                size,
                channels,
                enlarge,
                background=background,
                stretch=stretch,
                skip_bad=skip_bad,
            ),
            limits or ImportLimits(),
            Importer(owner),
        )


@contextmanager
def reserved(name: str, imported: Path) -> Iterator[None]:
    """Keep a name for one import, across all processes; raises ImportRefused for a bad name, NameTaken for a used
    one.
    """
    refuse_name(name, imported)
    imported.mkdir(parents=True, exist_ok=True)
    with _locked(name, imported):
        refuse_name(name, imported)
        yield


def refuse_name(name: str, imported: Path) -> None:
    """Raises ImportRefused for what is no name, NameTaken for one that a data set has."""
    if not DATASET_NAME.fullmatch(name):
        raise ImportRefused(
            f"{name[:100]!r} is no name for a data set",
            [
                FieldError(
                    "/name",
                    "must be 1 to 60 of a-z, 0-9, _ and -, and begin with a letter or digit",
                )
            ],
        )
    if name in BUILT_IN:
        raise NameTaken(f"{name!r} is a built-in data set", hint="choose another name")
    if (imported / name).exists():
        raise NameTaken(
            f"there is a data set {name!r} already", hint="remove it first, or choose another name"
        )


@contextmanager
def owners_turn(owner: str, imported: Path) -> Iterator[None]:
    """One import of an owner at a time, across all processes; raises ImportUnderWay while another goes on."""
    imported.mkdir(parents=True, exist_ok=True)
    try:
        # a data set's lock has no second dot
        with exclusive(imported / f".{owner}.owner.lock", wait=False):
            yield
    except HeldByAnother as error:
        raise ImportUnderWay(
            f"{owner} imports another data set right now", hint="wait until that is done"
        ) from error


def import_reserved(
    source: Source,
    name: str,
    imported: Path,
    wanted: Wanted,
    limits: ImportLimits,
    importer: Importer = ANYBODY,
) -> DatasetInfo:
    """What `import_images` does once the name is reserved. Raises ImportRefused or StorageFull."""
    _sweep(imported)
    temporary = imported / f".{name}.tmp"
    try:
        with (
            open_files(source, limits, imported) as stored,
            images_in(stored, limits, imported) as images,
        ):
            files, layout = laid_out(images)
            refuse_too_many(layout, limits)
            seen = look_through(files, layout, wanted)
            size = seen.size
            refuse_too_much(seen.layout, seen.own, size, limits)
            importer.admit(bytes_written(layout, size, wanted))
            require_room(
                imported,
                bytes_written(layout, size, wanted) + bytes_beside(layout, size, wanted),
                limits.min_free_bytes,
            )
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            taken = take_in(files, seen, temporary, wanted)
        info = _describe(name, taken, temporary, size, seen.own.num_smaller(size), importer.owner)
        seal(temporary, {"name": name, "info": asdict(info)})
        importer.keep(name, temporary)
        temporary.replace(imported / name)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise StorageFull(
                f"importing {name!r} failed: {error.strerror}",
                hint="free disk space under LAB_HOME, then import again",
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(imported)
    return info


def is_imported(name: str, imported: Path) -> bool:
    """Whether there is an imported data set of this name, be it damaged."""
    return DATASET_NAME.fullmatch(name) is not None and (imported / name).is_dir()


def remove_imported(name: str, imported: Path) -> None:
    """Remove an imported data set; processes that have it open keep what they have. Raises NameTaken while it is being
    made, LookupError if absent.
    """
    shutil.rmtree(take_away(name, imported))


def take_away(name: str, imported: Path) -> Path:
    """Take an imported data set from its place at once; what is left is to remove the folder that is returned. Raises
    as `remove_imported` does.
    """
    if not is_imported(name, imported):
        raise LookupError(name)
    with _locked(name, imported):
        if not (imported / name).is_dir():
            raise LookupError(name)
        # of its own name, so that another may be imported while this one goes
        gone = imported / f".{name}.{secrets.token_hex(4)}.tmp"
        (imported / name).replace(gone)
        sync_folder(imported)
        return gone


@contextmanager
def _locked(name: str, imported: Path) -> Iterator[None]:
    try:
        with exclusive(imported / f".{name}.lock", wait=False):
            yield
    except HeldByAnother as error:
        raise NameTaken(
            f"{name!r} is being imported or removed right now", hint="wait until that is done"
        ) from error


def _sweep(imported: Path) -> None:
    """Take away what imports left whose process was killed: temporary folders that nobody holds the lock of, and old
    locks.
    """
    for folder in imported.glob(".*.tmp"):
        try:
            with _locked(folder.name[1:-4], imported):
                shutil.rmtree(folder, ignore_errors=True)
        except NameTaken:
            continue
    for lock in imported.glob(".*.lock"):
        try:
            if time.time() - lock.stat().st_mtime > FORGOTTEN_SECONDS:
                with exclusive(lock, wait=False):  # who leaves takes the file away
                    pass
        except (HeldByAnother, FileNotFoundError):
            continue


def _describe(
    name: str, taken: TakenIn, folder: Path, size: Size, num_enlarged: int, owner: str | None
) -> DatasetInfo:
    layout = taken.layout
    images = np.load(folder / f"{ARRAYS[0]}.npy", mmap_mode="r", allow_pickle=False)
    mean, std = mean_and_std(images)
    channels = images.shape[1]
    count = len(layout.train) + len(layout.test)
    enlarged = f"; {num_enlarged:,} of them were smaller and were enlarged" if num_enlarged else ""
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
        source=f"imported from {count:,} image files{enlarged}{layout.remarks}",
        imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        owner=owner,
        noticed=taken.notices,
        ground=taken.rendition.ground,
        peak=taken.rendition.peak,
        num_val=layout.num_val,
    )
