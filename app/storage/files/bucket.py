"""A bucket of an object store that speaks S3 as the place for files; the home keeps copies.

A put is whole or absent, as a rename is. What is fetched is checked by its SHA-256 before it gets its name.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from app.errors import Misconfigured, StoreOutOfReach
from app.storage.files.folder import Folder
from app.storage.files.store import StoredFile
from lab_models.common.files import exclusive, require_room, sha256_of, sync_folder

CARRYING_THREADS = 8
CHUNK_BYTES = 1 << 20
CONNECT_SECONDS, READ_SECONDS, RETRY_SECONDS, RETRIES = 3, 20, 5, 2
"""How soon a bucket counts as out of reach: whoever carries for a run asks again, and a request is told to."""
MOST_CACHED_BYTES = 4 << 30
"""Of copies that were fetched to be read; those asked for longest ago go first."""
MANIFEST = "manifest.json"
LOG_SUFFIX = ".txt"

Result = TypeVar("Result")

log = logging.getLogger("lab.files")


class Damaged(OSError):
    """What the bucket has under a name is not what was put there."""


class Bucket:
    """See `FileStore`. Credentials, region and endpoint come from the AWS_… variables of the environment."""

    is_apart = True

    def __init__(
        self, home: Path, url: str, min_free_bytes: int, most_cached: int = MOST_CACHED_BYTES
    ) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            raise Misconfigured(
                "LAB_STORE needs the Python package 'obstore': pip install 'training-lab[s3]'"
            ) from error
        self._home, self._min_free_bytes, self._most_cached = home, min_free_bytes, most_cached
        self._api: Any = obstore
        self._faults: tuple[type[Exception], ...] = (BaseError,)
        self._here = Folder(home)
        self._url = url
        try:
            self._store: Any = from_url(
                url,
                client_options={
                    "allow_http": True,  # what the endpoint says decides
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "read_timeout": timedelta(seconds=READ_SECONDS),
                    "timeout": timedelta(hours=1),
                },
                retry_config={
                    "max_retries": RETRIES,
                    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                },
            )
        except BaseError as error:
            raise Misconfigured(
                f"LAB_STORE is {url}, which cannot be used: {_first(error)}"
            ) from error

    def path_of(self, run_id: str, path: str, sha256: str) -> Path | None:
        """The file in the home, where it may be from before there was a bucket; else a copy, fetched once."""
        found = self._here.path_of(run_id, path, sha256)
        if found is not None:
            return found
        copy = self._home / "cache" / run_id / path
        if copy.is_file():
            os.utime(copy)
            return copy
        try:
            self._fetch(_of_run(run_id, path), copy, sha256)
        except FileNotFoundError:
            return None
        except Damaged as error:
            log.error("%s", error)
            return None
        self._keep_few(copy)
        return copy

    def copy_run(self, source_id: str, files: Sequence[tuple[str, int]], run_id: str) -> None:
        """Copies that the bucket makes itself."""

        def copied(file: tuple[str, int]) -> None:
            relative, size_bytes = file
            source = _of_run(source_id, relative)
            if self._asked(lambda: self._api.head(self._store, source))["size"] != size_bytes:
                raise Damaged(f"{source} is not whole")
            self._asked(lambda: self._api.copy(self._store, source, _of_run(run_id, relative)))

        _all_at_once(copied, files)

    def settle(self, run_ids: Iterable[str]) -> None:
        """They are durable."""

    def remove_runs(self, run_ids: Iterable[str]) -> None:
        """What cannot be removed goes with `lab gc`."""
        for run_id in run_ids:
            self._here.remove_runs([run_id])
            shutil.rmtree(self._home / "cache" / run_id, ignore_errors=True)
            try:
                self.remove_names([file.name for file in self.listed(f"runs/{run_id}/")])
            except StoreOutOfReach as error:
                log.warning("the files of run %s stay until `lab gc`: %s", run_id, error)

    def remove(self, run_id: str, paths: Iterable[str]) -> None:
        """Here and there."""
        names = list(paths)
        self._here.remove(run_id, names)
        self.remove_names([_of_run(run_id, path) for path in names])

    def keep(self, run_id: str, paths: Iterable[str]) -> None:
        """Put them."""
        _all_at_once(
            lambda path: self._put(_of_run(run_id, path), self._home / _of_run(run_id, path)),
            list(paths),
        )

    def bring(self, run_id: str, path: str, sha256: str) -> bool:
        """Fetch it, unless it is there whole."""
        found = self._here.path_of(run_id, path, sha256)
        if found is not None and sha256_of(found) == sha256:
            return True
        try:
            self._fetch(_of_run(run_id, path), self._home / _of_run(run_id, path), sha256)
        except FileNotFoundError:
            return False
        except Damaged as error:
            log.error("%s", error)
            return False
        return True

    def clear(self, run_id: str) -> None:
        """All but logs."""
        for file in (self._home / "runs" / run_id).rglob("*"):
            if file.is_file() and file.suffix != LOG_SUFFIX:
                file.unlink(missing_ok=True)

    def keep_dataset(self, name: str, folder: Path) -> None:
        """The arrays, and when they are there the manifest, which makes them a data set."""
        arrays = [path for path in folder.iterdir() if path.name != MANIFEST]
        _all_at_once(lambda path: self._put(_of_dataset(name, path.name), path), arrays)
        self._put(_of_dataset(name, MANIFEST), folder / MANIFEST)

    def bring_dataset(self, name: str) -> None:
        """Fetch it where the manifest there is another one than here; beside, then renamed: whole or absent."""
        imported = self._home / "imported"
        imported.mkdir(parents=True, exist_ok=True)
        with exclusive(imported / f".{name}.lock"):
            try:
                manifest = self._asked(
                    lambda: bytes(self._api.get(self._store, _of_dataset(name, MANIFEST)).bytes())
                )
            except FileNotFoundError:
                return
            here = imported / name
            if (here / MANIFEST).is_file() and (here / MANIFEST).read_bytes() == manifest:
                return
            beside = imported / f".{name}.tmp"
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            for file, sha256 in json.loads(manifest)["files"].items():
                self._fetch(_of_dataset(name, file), beside / file, sha256)
            (beside / MANIFEST).write_bytes(manifest)
            shutil.rmtree(here, ignore_errors=True)
            beside.replace(here)
            sync_folder(imported)

    def remove_dataset(self, name: str) -> None:
        """The manifest first: half a data set is none."""
        self.remove_names([_of_dataset(name, MANIFEST)])
        self.remove_names([file.name for file in self.listed(f"imported/{name}/")])

    def remove_names(self, names: Sequence[str]) -> None:
        """What is not there is no fault."""
        if names:
            self._asked(lambda: self._api.delete(self._store, list(names)))

    def listed(self, below: str) -> Iterator[StoredFile]:
        """In the bucket's order."""
        pages = self._asked(lambda: iter(self._api.list(self._store, below)))
        while (page := self._asked(lambda: next(pages, None))) is not None:
            for found in page:
                yield StoredFile(found["path"], found["size"], found["last_modified"])

    def _put(self, name: str, path: Path) -> None:
        self._asked(lambda: self._api.put(self._store, name, path))

    def _fetch(self, name: str, path: Path, sha256: str) -> None:
        """Raises FileNotFoundError and Damaged."""
        found = self._asked(lambda: self._api.get(self._store, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        require_room(path.parent, found.meta["size"], self._min_free_bytes)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        digest = hashlib.sha256()
        try:
            with temporary.open("wb") as file:
                pieces = iter(found.stream(min_chunk_size=CHUNK_BYTES))
                while (piece := self._asked(lambda: next(pieces, None))) is not None:
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise Damaged(
                    f"{name} in {self._url} is damaged: its SHA-256 is not the recorded one"
                )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _keep_few(self, newest: Path) -> None:
        """Remove copies that are too much, and never the one that was just made."""
        left = self._most_cached
        files = [path for path in (self._home / "cache").rglob("*") if path.is_file()]
        ages = []
        for path in files:
            try:
                found = path.stat()
            except FileNotFoundError:  # somebody else's turn to remove
                continue
            ages.append((path != newest, -found.st_mtime, found.st_size, path))
        for _, _, size_bytes, path in sorted(ages):
            left -= size_bytes
            if left < 0 and path != newest:
                path.unlink(missing_ok=True)

    def _asked(self, question: Callable[[], Result]) -> Result:
        """What the bucket answers. Raises FileNotFoundError for what it does not have, StoreOutOfReach else."""
        try:
            return question()
        except self._faults as error:
            raise StoreOutOfReach(
                f"{self._url} (LAB_STORE) does not answer: {_first(error)}"
            ) from error


def _of_run(run_id: str, path: str) -> str:
    return f"runs/{run_id}/{path}"


def _of_dataset(name: str, file: str) -> str:
    return f"imported/{name}/{file}"


def _first(error: Exception) -> str:
    """The sentence of an error that goes on with its sources; keys do not stand in it."""
    return str(error).strip().split("\n", maxsplit=1)[0][:300]


def _all_at_once(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    with ThreadPoolExecutor(CARRYING_THREADS) as pool:
        list(pool.map(work, items))
