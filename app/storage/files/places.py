"""Which place for files the settings name."""

from functools import cache
from pathlib import Path

from app.settings import Settings
from app.storage.files.folder import Folder
from app.storage.files.store import FileStore


def file_store(settings: Settings) -> FileStore:
    """The place that the settings name, one for each process. Raises Misconfigured."""
    return _store_at(settings.home.absolute(), settings.store, settings.min_free_bytes)


@cache
def _store_at(home: Path, url: str, min_free_bytes: int) -> FileStore:
    if not url:
        return Folder(home)
    from app.storage.files.bucket import Bucket  # it loads a library that only a bucket needs

    return Bucket(home, url, min_free_bytes)
