"""What lies in a bucket and is needed by nothing: found as in the home, by rows and age."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from sqlmodel import Session, col, select

from app.services.upkeep.leftovers import FORGOTTEN, YOUNG, Finder, Kind, Leftover, is_over
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.files.store import StoredFile
from app.storage.tables import Artifact, Checkpoint, Run, utc_now

RUNS, IMPORTED = "runs", "imported"


def listed(settings: Settings) -> list[StoredFile]:
    """All files; to be had before the rows are looked at. Raises StoreOutOfReach."""
    files = file_store(settings)
    return [file for folder in (RUNS, IMPORTED) for file in files.listed(f"{folder}/")]


def found(
    session: Session, settings: Settings, finder: Finder, files: Iterable[StoredFile]
) -> Iterator[Leftover]:
    """What of them may go, by run or data set."""
    for owner, theirs in groupby(sorted(files, key=_named), key=_owner):
        folder, name = owner.split("/")
        run = session.get(Run, name) if folder == RUNS else None
        loose = loose_files(session, settings, run, list(theirs))
        if loose:
            yield Leftover(Kind.STORED, owner, sum(file.size_bytes for file in loose))
        # of one that has a folder here the finder has said it
        is_here = (settings.runs_folder / name).is_dir()
        if run is not None and not is_here and finder.is_past_resuming(run):
            yield from finder.checkpoints_of(session, run)


def remove(session: Session, settings: Settings, owner: str) -> None:
    """Remove what may go of a run, under its lock, or of a data set. Raises StoreOutOfReach."""
    store, (folder, name) = file_store(settings), owner.split("/")
    run = None
    if folder == RUNS:
        wanted = select(Run).where(col(Run.id) == name).with_for_update()
        run = session.exec(wanted).one_or_none()
    names = [
        file.name for file in loose_files(session, settings, run, list(store.listed(f"{owner}/")))
    ]
    store.remove_names(names)


def loose_files(
    session: Session, settings: Settings, run: Run | None, files: list[StoredFile]
) -> list[StoredFile]:
    """Those that no row and no data set points to, and that nobody may just be writing."""
    if run is not None:
        needed = {
            f"{RUNS}/{run.id}/{path}"
            for table in (Artifact, Checkpoint)
            for path in session.exec(select(table.path).where(col(table.run_id) == run.id))
        }
        return [
            file
            for file in files
            if file.name not in needed
            and is_over(run, _attempt(file))
            and _is_older(file.changed_at, YOUNG)
        ]
    if not files:
        return []
    if _owner(files[0]).startswith(f"{IMPORTED}/"):
        is_needed = (settings.imported_folder / Path(_owner(files[0])).name).is_dir()
        young = any(not _is_older(file.changed_at, FORGOTTEN) for file in files)
        return [] if is_needed or young else files
    return [] if any(not _is_older(file.changed_at, YOUNG) for file in files) else files


def _named(file: StoredFile) -> str:
    return file.name


def _owner(file: StoredFile) -> str:
    """`runs/run_…` or `imported/name`."""
    return "/".join(file.name.split("/")[:2])


def _attempt(file: StoredFile) -> int:
    """Which attempt has written it; one that is long over for what has no attempt's name."""
    number = file.name.split("/")[2].removeprefix("attempt-")
    return int(number) if number.isdecimal() else 0


def _is_older(when: datetime, age: timedelta) -> bool:
    return utc_now() - when > age
