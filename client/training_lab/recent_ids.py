"""The newest ids for a shell that completes: asked of the service, and kept for seconds in the user's cache folder.

Whoever presses Tab waits for this, so what is kept is printed without loading anything that speaks HTTP; and a shell is
never told of a fault.
"""

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training_lab.errors import LabError, Unusable
from training_lab.keys import key_with_source, url_for
from training_lab.user_folders import user_folder

KEPT_SECONDS: Final = 5.0
NEWEST: Final = 20
"""Of experiments, and as many of studies."""
TIMEOUT_SECONDS: Final = 2.0
LATEST: Final = ("@last\tyour newest experiment", "@last-study\tyour newest study")


def print_ids() -> int:
    """A line for each: the id, a tab, and what it is. Always status 0."""
    with contextlib.suppress(LabError, OSError, UnicodeError):
        sys.stdout.write("".join(f"{line}\n" for line in recent_ids()))
    return 0


def recent_ids() -> list[str]:
    """As they were answered at most five seconds ago; none where no service answers. Raises LabError where it is not
    known which service is meant.
    """
    url = url_for(None)
    try:
        path = cache_path(url, key_with_source(url)[0])
    except Unusable:  # no home folder: nothing is kept
        return list(_asked(url))
    kept = _kept(path)
    if kept is not None:
        return kept
    found: list[str] = []
    with contextlib.suppress(LabError):
        found = list(_asked(url))
    with contextlib.suppress(OSError):
        _keep(path, found)
    return found


def cache_path(url: str, key: str | None) -> Path:
    """Where the ids that this key sees of this service are kept."""
    folder = user_folder("XDG_CACHE_HOME", ".cache")
    name = hashlib.sha256(f"{url} {key or ''}".encode()).hexdigest()[:16]
    return folder / "lab" / f"ids-{name}"


def _kept(path: Path) -> list[str] | None:
    try:
        age = time.time() - path.stat().st_mtime
        return path.read_text(encoding="utf-8").splitlines() if 0 <= age < KEPT_SECONDS else None
    except (OSError, UnicodeError):
        return None


def _keep(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
    beside.replace(path)


def _asked(url: str) -> Iterator[str]:
    from training_lab.lab import Lab  # late: what is kept needs no HTTP

    with Lab(url, timeout=TIMEOUT_SECONDS, retries=0) as lab:
        yield from LATEST
        for path in ("/experiments", "/studies"):
            for row in lab.get(path, limit=NEWEST)["data"]:
                said = f"{row.get('status', '')} {row.get('name') or ''}".strip()
                yield f"{row['id']}\t{''.join(one if one.isprintable() else '?' for one in said)}"
