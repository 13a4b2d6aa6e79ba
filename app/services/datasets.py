"""Data sets: what there is, people's own ones taken in and removed."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal

from sqlmodel import Session, col, select

from app.errors import Conflict, NotFound, StorageFull, UnusableImages
from app.services import dataset_locks
from app.settings import Settings
from app.states import LEGAL_MOVES
from app.tables import Experiment, Run
from lab_models import errors as lab_errors
from lab_models.datasets import importing
from lab_models.datasets.archives import ImportLimits, ImportRefused
from lab_models.datasets.catalog import BUILT_IN, Catalog, DatasetInfo
from lab_models.validation import did_you_mean

UNPACKED_PER_UPLOADED = 5
MOST_NAMED = 3


def catalog(settings: Settings) -> Catalog:
    """Every data set of this service, with the counts of what was prepared."""
    return Catalog(settings.imported_folder, settings.prepared_folder)


def get(settings: Settings, name: str) -> DatasetInfo:
    """The data set, or NotFound."""
    known = catalog(settings)
    info = known.get(name)
    if info is None:
        hint = did_you_mean(name, [one.name for one in known.all()])
        raise NotFound(f"there is no data set {name!r}" + (f"; {hint}" if hint else ""))
    return info


@contextmanager
def reserved(settings: Settings, name: str) -> Iterator[None]:
    """Keep a name for one import; raises UnusableImages for a bad name, Conflict for a used one."""
    with _rendered(), importing.reserved(name, settings.imported_folder):
        yield


@contextmanager
def upload_file(settings: Settings) -> Iterator[BinaryIO]:
    """A file for an upload, beside the data sets and without a name, so that nothing of it outlives this process."""
    folder = settings.home / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    with _rendered(), tempfile.TemporaryFile(dir=folder) as file:
        yield file


def import_zip(settings: Settings, name: str, file: BinaryIO, size: int | None, channels: Literal[1, 3] | None) -> DatasetInfo:
    """Make a data set of a zip under a reserved name; takes as long as its images take to decode. Raises UnusableImages, StorageFull."""
    limits = ImportLimits(max_images=settings.max_images, max_unpacked_bytes=UNPACKED_PER_UPLOADED * settings.max_upload_bytes)
    with _rendered():
        return importing.import_reserved(file, name, settings.imported_folder, importing.wanted(size, channels), limits)


def remove(session: Session, settings: Settings, name: str) -> None:
    """Take an imported data set away; raises NotFound, or Conflict for a built-in one and while an unfinished experiment needs it."""
    if name in BUILT_IN:
        raise Conflict(f"{name!r} is a built-in data set and cannot be removed")
    dataset_locks.have_alone(session, name)
    users = _unfinished_users(session, name)
    if users:
        more = f" and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
        raise Conflict(f"{name!r} is used by {', '.join(users[:MOST_NAMED])}{more}, not finished yet; cancel first, or wait")
    try:
        with _rendered():
            importing.remove_imported(name, settings.imported_folder)
    except LookupError as error:
        raise NotFound(f"there is no imported data set {name!r}; GET /datasets lists all") from error


def _unfinished_users(session: Session, name: str) -> list[str]:
    """Ids of the experiments that have work left and name the data set anywhere in their spec, the oldest first."""
    unfinished = select(Run.experiment_id).where(col(Run.status).in_([status for status, moves in LEGAL_MOVES.items() if moves]))
    statement = select(Experiment.id, Experiment.spec).where(col(Experiment.id).in_(unfinished)).order_by(col(Experiment.created_at), col(Experiment.id))
    return [experiment_id for experiment_id, spec in session.exec(statement) if _names_dataset(spec, name)]


def _names_dataset(part: object, name: str) -> bool:
    if isinstance(part, list):
        return any(_names_dataset(item, name) for item in part)
    if not isinstance(part, dict):
        return False
    dataset = part.get("dataset")
    return (isinstance(dataset, dict) and dataset.get("name") == name) or any(_names_dataset(item, name) for item in part.values())


@contextmanager
def _rendered() -> Iterator[None]:
    """The lab's refusals as the service's."""
    try:
        yield
    except ImportRefused as error:
        raise UnusableImages(_sentence(error), error.errors) from error
    except importing.NameTaken as error:
        raise Conflict(_sentence(error)) from error
    except lab_errors.StorageFull as error:
        raise StorageFull(_sentence(error)) from error
    except OSError as error:
        if error.errno in importing.FULL_DISK:
            raise StorageFull(f"the upload could not be kept: {error.strerror}") from error
        raise


def _sentence(error: lab_errors.LabError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)
