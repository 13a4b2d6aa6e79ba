"""The files that pages load: styles and scripts of our own, and the two libraries as their packages bring them.

All stand under one address that has the hash of all of them in it, so that a browser keeps them for ever and a module
finds its neighbors by their names.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from app.api.http.documentation import FOLDER, FOR_EVER, MEDIA_TYPES
from app.api.http.page_addresses import STATIC
from app.errors import NotFound

FILES: Final = {
    "lab.css": "pages",
    "theme.js": "pages",
    "lab.js": "pages",
    "charts.js": "pages",
    "numbers.js": "pages",
    "live.js": "pages",
    "list.js": "pages",
    "log.js": "pages",
    "wall.js": "pages",
    "keys.js": "pages",
    "htmx.min.js": "vendor",
    "uPlot.iife.min.js": "vendor",
    "uPlot.min.css": "vendor",
}
"""Names, and the folders in which they lie."""


router = APIRouter(include_in_schema=False)


@router.get(f"{STATIC}/{{version}}/{{name}}")
async def read_asset(version: str, name: str) -> Response:
    """A file as it is now; one that is asked for by an old page's address is not kept."""
    if name not in FILES:
        raise NotFound(f"pages have no file {name!r}")
    kept = FOR_EVER if version == assets_version() else "no-cache"
    return Response(
        _content(name),
        media_type=MEDIA_TYPES[Path(name).suffix],
        headers={"Cache-Control": kept},
    )


def asset(name: str) -> str:
    """Where a page finds a file."""
    return f"{STATIC}/{assets_version()}/{name}"


@cache
def assets_version() -> str:
    """The beginning of the SHA-256 of all files."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(_content(name))
    return digest.hexdigest()[:12]


@cache
def _content(name: str) -> bytes:
    return (FOLDER / FILES[name] / name).read_bytes()
