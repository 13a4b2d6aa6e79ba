"""What takes up disk and is needed by nothing: listed with sizes, and removed on request, while the service runs.

What decides about a run's files is read again under the run's lock: no attempt can begin while they are removed.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from sqlmodel import col, select

from app.errors import StoreOutOfReach
from app.services.experiments import artifacts
from app.services.upkeep import stored
from app.services.upkeep.leftovers import Finder, Kind, Leftover
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.places import file_store
from app.storage.tables import Run
from lab_models.common.files import exclusive

log = logging.getLogger("lab.collection")


@dataclass(frozen=True)
class Collected:
    """What was found, and of that what could not be removed; a dry run removes nothing and fails at nothing."""

    found: tuple[Leftover, ...]
    failed: tuple[Leftover, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of what was found and not failed at."""
        return sum(item.size_bytes for item in self.found) - sum(
            item.size_bytes for item in self.failed
        )


def collect(database: Database, settings: Settings, *, dry_run: bool) -> Collected:
    """Find what is needed by nothing, and remove it unless it is a dry run. Never raises for a file that cannot be
    removed; raises StoreOutOfReach where a bucket cannot be listed.
    """
    finder = Finder(settings)
    in_bucket = stored.listed(settings)
    everything = list(finder.find(database))
    with database.reading() as session:
        everything += stored.found(session, settings, finder, in_bucket)
    found = tuple(sorted(everything, key=lambda item: (item.kind, item.path)))
    if dry_run:
        return Collected(found)
    failed = tuple(item for item in found if not remove(item, finder, database, settings))
    return Collected(found, failed)


def remove(item: Leftover, finder: Finder, database: Database, settings: Settings) -> bool:
    """Whether it is gone, or turned out to be needed."""
    path = settings.home.absolute() / item.path
    try:
        match item.kind:
            case Kind.RUN_FOLDER | Kind.TEMPORARY:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            case Kind.ARCHIVE:
                _remove_archive(path)
            case Kind.ATTEMPT_FILES | Kind.CHECKPOINTS:
                _remove_of_run(item, path, finder, database, settings)
            case Kind.STORED:
                with database.writing() as session:
                    stored.remove(session, settings, item.path)
            case _:
                assert_never(item.kind)
    except (OSError, StoreOutOfReach) as error:
        log.warning("%s could not be removed: %s", path, error)
        return False
    return True


def _remove_of_run(
    item: Leftover, path: Path, finder: Finder, database: Database, settings: Settings
) -> None:
    """Under the run's lock, and what is needed found again. Checkpoints: rows first, files after the commit."""
    run_id = path.relative_to(settings.runs_folder).parts[0]
    dropped: list[str] = []
    with database.writing() as session:
        run = session.exec(select(Run).where(col(Run.id) == run_id).with_for_update()).one_or_none()
        if run is None:
            return
        if item.kind is Kind.ATTEMPT_FILES:
            for file in finder.of_attempt(session, run, path):
                file.unlink(missing_ok=True)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        elif finder.is_past_resuming(run):
            dropped = artifacts.drop_checkpoints(session, run_id)
    file_store(settings).remove(run_id, dropped)


def _remove_archive(path: Path) -> None:
    """Under the lock that readers and writers of it take; raises BlockingIOError while one of them has that."""
    with exclusive(path.with_suffix(".lock"), wait=False):
        path.unlink(missing_ok=True)
