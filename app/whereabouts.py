"""Where a service's home is when nobody names one: the nearest `.lab` from the current folder upwards, as git finds a
repository.
"""

import os
from dataclasses import dataclass
from pathlib import Path

HOME = ".lab"
MARKS = (".in-use.lock", "lab.sqlite3")
"""What a home has as soon as a service, or a command that may make one, has used it."""
ENV_FILE = ".env"


@dataclass(frozen=True)
class Whereabouts:
    """What was found from a folder upwards: the home; or None, and then `here` is where one would be made.

    `foreign` are homes that were passed over, because they belong to another user of this machine: who owns a home says
    what runs in it.
    """

    start: Path
    looked_in: tuple[Path, ...]
    foreign: tuple[Path, ...]
    home: Path | None

    @property
    def above(self) -> Path | None:
        """The folder that the home lies in where that is not the current one."""
        return None if self.home is None or self.home.parent == self.start else self.home.parent


def find_home(start: Path | None = None) -> Whereabouts:
    """Look for a home from the current folder upwards, within its file system.

    A `.lab` in the current folder is always the home, even an empty one: whoever goes there means it. One further up
    must have been used as a home, and be this user's own.
    """
    start = (start or Path.cwd()).absolute()
    looked_in: list[Path] = []
    foreign: list[Path] = []
    for folder in (start, *start.parents):
        if not _on_one_disk(start, folder):
            break
        looked_in.append(folder)
        candidate = folder / HOME
        if folder == start and candidate.is_dir():
            return Whereabouts(start, tuple(looked_in), (), candidate)
        if folder == start or not _is_home(candidate):
            continue
        if is_own(candidate):
            return Whereabouts(start, tuple(looked_in), tuple(foreign), candidate)
        foreign.append(candidate)
    return Whereabouts(start, tuple(looked_in), tuple(foreign), None)


def is_own(path: Path) -> bool:
    """Whether it, and what it leads to if it is a link, belongs to this user."""
    try:
        return path.lstat().st_uid == path.stat().st_uid == os.geteuid()
    except OSError:
        return False


def env_files(found: Whereabouts | None = None) -> tuple[Path, ...]:
    """The `.env` files that are read, the one that wins first: the current folder's, then the one beside a home that
    was found above it, if it is this user's own.
    """
    found = found or find_home()
    beside = None if found.above is None else found.above / ENV_FILE
    own = () if beside is None or not is_own(beside) else (beside,)
    return tuple(path for path in (found.start / ENV_FILE, *own) if path.is_file())


def _is_home(folder: Path) -> bool:
    try:
        return any((folder / mark).exists() for mark in MARKS)
    except OSError:  # a folder that this user may not look into
        return False


def _on_one_disk(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_dev == other.stat().st_dev
    except OSError:
        return False
