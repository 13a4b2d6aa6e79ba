"""The home itself as the place for files: they are written where they stay."""

import logging
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path, PurePosixPath

from app.storage.files.store import StoredFile
from lab_models.common.files import link_or_copy, sync_folder

SYNC_THREADS = 8
"""Folders are made durable in parallel: a disk takes much the same time for eight as for one."""

log = logging.getLogger("lab.files")


class Folder:
    """See `FileStore`. Nothing is carried anywhere."""

    is_apart = False

    def __init__(self, home: Path) -> None:
        self._runs = home / "runs"

    def path_of(self, run_id: str, path: str, sha256: str) -> Path | None:  # noqa: ARG002
        """The regular file, or None. Neither the run's folder nor anything below it may be a link: nothing here makes
        one.
        """
        wanted = PurePosixPath(path)
        if wanted.is_absolute() or not wanted.parts or ".." in wanted.parts:
            return None
        steps = list(accumulate(wanted.parts, Path.joinpath, initial=self._runs / run_id))
        try:
            modes = [step.lstat().st_mode for step in steps]
        except (OSError, ValueError):
            # not there, a loop, a name too long for any file, or one with NUL
            return None
        return steps[-1] if all(map(stat.S_ISDIR, modes[:-1])) and stat.S_ISREG(modes[-1]) else None

    def copy_run(self, source_id: str, files: Sequence[tuple[str, int]], run_id: str) -> None:
        """Second names for the files, without a second copy where the file system can."""
        for relative, size_bytes in files:
            original, path = self._runs / source_id / relative, self._runs / run_id / relative
            if original.stat().st_size != size_bytes:
                raise OSError(f"{original} is not whole")
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(original, path)

    def settle(self, run_ids: Iterable[str]) -> None:
        """Sync the folders."""
        folders = [
            folder
            for run_id in run_ids
            for folder in {path.parent for path in (self._runs / run_id).rglob("*")}
        ]
        if folders:
            with ThreadPoolExecutor(SYNC_THREADS) as pool:
                list(pool.map(sync_folder, [self._runs, *folders]))

    def remove_runs(self, run_ids: Iterable[str]) -> None:
        """Remove the runs' folders."""
        for run_id in run_ids:
            folder = self._runs / run_id
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                log.warning(
                    "%s could not be removed altogether; its run is deleted, and nothing needs what is left",
                    folder,
                )

    def remove(self, run_id: str, paths: Iterable[str]) -> None:
        """Unlink them."""
        for path in paths:
            (self._runs / run_id / path).unlink(missing_ok=True)

    def keep(self, run_id: str, paths: Iterable[str]) -> None:
        """They are there."""

    def bring(self, run_id: str, path: str, sha256: str) -> bool:
        """It is there, or will never be."""
        return self.path_of(run_id, path, sha256) is not None

    def clear(self, run_id: str) -> None:
        """Nothing lies elsewhere."""

    def keep_dataset(self, name: str, folder: Path) -> None:
        """It is there."""

    def bring_dataset(self, name: str) -> None:
        """It is there."""

    def remove_dataset(self, name: str) -> None:
        """Nothing lies elsewhere."""

    def remove_names(self, names: Sequence[str]) -> None:
        """Nothing lies elsewhere."""

    def listed(self, below: str) -> Iterator[StoredFile]:  # noqa: ARG002
        """Nothing lies elsewhere."""
        return iter(())
