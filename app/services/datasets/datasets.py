"""Data sets: what there is, people's own ones taken in, counted by owner, and removed."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlmodel import Session

from app.errors import (
    Conflict,
    Forbidden,
    NotFound,
    TooManyDatasets,
    TooManyImports,
    UnusableImages,
)
from app.roles import Role
from app.services.datasets import dataset_locks
from app.services.datasets.in_use import LeftBehind, left_behind, refuse_in_use
from app.services.disk import storing
from app.services.owners.keys import Caller
from app.services.owners.limits import refuse_full_disk_quota
from app.services.owners.usage import DiskUsage, dataset_bytes, usage_of
from app.services.quotas import QuotaKind, Quotas
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.tables import LOCAL
from lab_models.common.files import require_room
from lab_models.datasets import importing, sizing
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.importing import Importer
from lab_models.datasets.naming_hints import name_hint
from lab_models.datasets.refusals import ImportLimits, ImportRefused
from lab_models.datasets.sizing import Wanted

UNPACKED_PER_UPLOADED = 5
MOST_LISTED = 5


@dataclass(frozen=True)
class Share:
    """What an importer may have of the disk, as it was when the import began: their quotas, and bytes of their runs'
    files.
    """

    quotas: Quotas
    artifacts: int


def catalog(settings: Settings) -> Catalog:
    """Every data set of this service, with the counts of what was prepared."""
    return Catalog(settings.imported_folder, settings.prepared_folder)


def get(settings: Settings, name: str) -> DatasetInfo:
    """The data set, or NotFound."""
    known = catalog(settings)
    info = known.get(name)
    if info is None:
        hint = name_hint(name, [one.name for one in known.all()])
        raise NotFound(f"there is no data set {name!r}" + (f"; {hint}" if hint else ""))
    return info


def owner_of(info: DatasetInfo) -> str | None:
    """Whose data set this is; None for a built-in one. What was imported before owners were noted belongs to
    `local`.
    """
    return (info.owner or LOCAL) if info.imported else None


def wanted(size: int | None, channels: Literal[1, 3] | None, enlarge: bool, **more: Any) -> Wanted:
    """What the images of an import shall become, as `sizing.wanted`; raises UnusableImages for wishes that do not fit
    together.
    """
    with _rendered():
        return sizing.wanted(size, channels, enlarge, **more)


@contextmanager
def turn_of(settings: Settings, caller: Caller, name: str) -> Iterator[None]:
    """Hold the caller's one import at a time, across all processes; raises UnusableImages for a bad name, Conflict for
    a used one, TooManyImports.

    The name stays free for others until `import_zip`: whoever is first to have sent a whole zip gets it. Admins may
    import several data sets at a time, and so may everybody where no keys are asked for: there `local` is any number of
    people.
    """
    with _rendered():
        importing.refuse_name(name, settings.imported_folder)
        with (
            nullcontext()
            if is_unbound(caller)
            else importing.owners_turn(caller.owner, settings.imported_folder)
        ):
            yield


def is_unbound(caller: Caller) -> bool:
    """Whether quotas of data sets do not hold for the caller: admins run the service; the disk's own guard holds for
    them as well.
    """
    return caller.role is Role.ADMIN


def share_of(session: Session, settings: Settings, caller: Caller) -> Share:
    """How much of the disk the caller may have, and what of it their runs take."""
    usage = usage_of(session, settings, caller.owner)[0]
    return Share(usage.quotas, usage.disk.artifacts)


def refuse_early(settings: Settings, caller: Caller, share: Share, num_bytes: int) -> None:
    """What can be said before an upload of so many bytes is received: raises TooManyDatasets, DiskQuotaUsedUp,
    StorageFull.
    """
    _refuse_over_quota(settings, caller, share, 0)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _rendered():
        require_room(settings.home, num_bytes, settings.min_free_bytes)


@contextmanager
def upload_file(settings: Settings) -> Iterator[BinaryIO]:
    """A file for an upload, beside the data sets and without a name, so that nothing of it outlives this process."""
    folder = settings.home / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    with _rendered(), tempfile.TemporaryFile(dir=folder) as file:
        yield file


def receive(settings: Settings, file: BinaryIO, content: bytes) -> None:
    """Keep a part of an upload; raises StorageFull before the disk is."""
    with _rendered():
        require_room(settings.home, len(content), settings.min_free_bytes)
        file.write(content)
        file.flush()


def import_zip(
    settings: Settings, caller: Caller, share: Share, name: str, file: BinaryIO, wanted: Wanted
) -> DatasetInfo:
    """Make a data set of a zip; takes as long as its images take to decode. Raises UnusableImages, Conflict,
    TooManyDatasets, DiskQuotaUsedUp, StorageFull, StoreOutOfReach.
    """
    limits = ImportLimits(
        max_images=settings.max_images,
        max_unpacked_bytes=UNPACKED_PER_UPLOADED * settings.max_upload_bytes,
        min_free_bytes=settings.min_free_bytes,
    )
    importer = Importer(
        caller.owner,
        partial(_refuse_over_quota, settings, caller, share),
        file_store(settings).keep_dataset,
    )
    with _rendered(), importing.reserved(name, settings.imported_folder):
        return importing.import_reserved(
            file, name, settings.imported_folder, wanted, limits, importer
        )


def take_away(
    session: Session, settings: Settings, caller: Caller, name: str
) -> tuple[Path, LeftBehind]:
    """Take an imported data set away, its owner's or by an admin; its files are `throw_away`'s, which may take a while.
    Beside them what it leaves behind.

    Raises NotFound, Forbidden, or Conflict for a built-in one and while an unfinished experiment needs it, and
    StoreOutOfReach.
    """
    if catalog(settings).has_built_in(name):
        raise Conflict(f"{name!r} is a built-in data set and cannot be removed")
    if not importing.is_imported(name, settings.imported_folder):
        raise _not_imported(name)
    info = catalog(settings).get(name)
    # one that is damaged no longer says whose it is
    owner = LOCAL if info is None else owner_of(info)
    if owner is not None and not caller.may_change(owner):
        raise Forbidden(
            f"the data set {name!r} belongs to {owner}: a key of theirs removes it, or one with the role 'admin'"
        )
    dataset_locks.have_alone(session, name)
    refuse_in_use(session, caller, name)
    left = left_behind(session, name)
    file_store(settings).remove_dataset(
        name
    )  # while the name is still taken: nothing of a later one is met
    try:
        with _rendered():
            return importing.take_away(name, settings.imported_folder), left
    except LookupError as error:
        raise _not_imported(name) from error


def throw_away(folder: Path) -> None:
    """Remove the files of a data set that was taken away; what cannot be removed goes with the next import."""
    shutil.rmtree(folder, ignore_errors=True)


def _not_imported(name: str) -> NotFound:
    return NotFound(f"there is no imported data set {name!r}; GET /datasets lists all")


def _refuse_over_quota(settings: Settings, caller: Caller, share: Share, num_bytes: int) -> None:
    """Raises TooManyDatasets or DiskQuotaUsedUp where another data set, of so many bytes, is more than the caller may
    have.
    """
    if share.quotas.of[QuotaKind.DISK].limit is not None:
        usage = DiskUsage(dataset_bytes(settings, caller.owner)[caller.owner], share.artifacts)
        refuse_full_disk_quota(share.quotas, usage, num_bytes)
    if is_unbound(caller):
        return
    known = catalog(settings)
    taken = {
        info.name: known.disk_bytes(info.name)
        for info in known.imported()
        if owner_of(info) == caller.owner
    }
    most_bytes, most_sets = settings.max_dataset_bytes_per_owner, settings.max_datasets_per_owner
    total = sum(taken.values())
    if most_sets and len(taken) >= most_sets:
        raise TooManyDatasets(
            f"{caller.owner} has {len(taken):,} data sets, of {most_sets:,}"
            f" (LAB_MAX_DATASETS_PER_OWNER).{_remedy(taken)}"
        )
    if most_bytes and (total + num_bytes > most_bytes or total >= most_bytes):
        would = (
            f"this import would write up to {num_bytes:,} bytes, and the" if num_bytes else "the"
        )
        counted = (
            f"{would} data sets of {caller.owner} take {total:,} of {most_bytes:,} bytes"
            " (LAB_MAX_DATASET_BYTES_PER_OWNER)"
        )
        smaller = "" if not num_bytes else " A smaller `size` or `channels=1` takes less."
        raise TooManyDatasets(f"{counted[0].upper()}{counted[1:]}.{_remedy(taken)}{smaller}")


def _remedy(taken: Mapping[str, int]) -> str:
    """What takes how much, the largest first, and how it goes."""
    if not taken:
        return ""
    largest = sorted(taken, key=lambda name: (-taken[name], name))
    listed = ", ".join(f"{name} {taken[name]:,}" for name in largest[:MOST_LISTED])
    more = f" and {len(largest) - MOST_LISTED:,} more" if len(largest) > MOST_LISTED else ""
    return f" Remove some with DELETE /datasets/{{name}} or `lab data remove NAME`: {listed} bytes{more}."


@contextmanager
def _rendered() -> Iterator[None]:
    """The lab's refusals as the service's."""
    try:
        with storing("the upload"):
            yield
    except ImportRefused as error:
        raise UnusableImages(error.sentence, error.errors) from error
    except importing.NameTaken as error:
        raise Conflict(error.sentence) from error
    except importing.ImportUnderWay as error:
        raise TooManyImports(error.sentence) from error
