"""What a place for files can do.

A file's name is its path below the home, in either place. It never changes once a row points to it, so a copy with the
right SHA-256 is the file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

Sizes = Sequence[tuple[str, int]]
"""Files of a run: each one's path below the run's folder, and its size."""


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in a bucket."""

    name: str
    size_bytes: int
    changed_at: datetime


class FileStore(Protocol):
    """Files of runs by run and path below the run's folder, and data sets by name.

    Everything but `remove…` raises StoreOutOfReach where a bucket does not answer; a folder raises OSError as the disk
    does.
    """

    @property
    def is_apart(self) -> bool:
        """Whether files must be carried: what is written in the home is not there yet, what lies there is a copy."""

    def path_of(self, run_id: str, path: str, sha256: str) -> Path | None:
        """A file on this machine's disk, to be read; None when it is gone, or damaged in the bucket."""

    def copy_run(self, source_id: str, files: Sizes, run_id: str) -> None:
        """The files of a run once more as those of another; raises OSError where one of them is not there whole."""

    def settle(self, run_ids: Iterable[str]) -> None:
        """Make copies durable."""

    def remove_runs(self, run_ids: Iterable[str]) -> None:
        """Remove all files of runs; never raises."""

    def remove(self, run_id: str, paths: Iterable[str]) -> None:
        """Remove files of a run; raises OSError or StoreOutOfReach."""

    def keep(self, run_id: str, paths: Iterable[str]) -> None:
        """Carry files of a run from the home to where they lie for good."""

    def bring(self, run_id: str, path: str, sha256: str) -> bool:
        """Carry a file of a run into the run's folder in the home; whether it is there."""

    def clear(self, run_id: str) -> None:
        """Remove what a home has of a run that lies elsewhere for good; logs stay."""

    def keep_dataset(self, name: str, folder: Path) -> None:
        """Carry an imported data set, which lies whole in this folder, to where it lies for good."""

    def bring_dataset(self, name: str) -> None:
        """Have an imported data set in the home as it is where it lies for good; nothing where there is none."""

    def remove_dataset(self, name: str) -> None:
        """Remove what lies elsewhere than in the home of an imported data set."""

    def remove_names(self, names: Sequence[str]) -> None:
        """Remove files that lie elsewhere than in the home, by their names."""

    def listed(self, below: str) -> Iterator[StoredFile]:
        """What lies elsewhere than in the home below this name."""
