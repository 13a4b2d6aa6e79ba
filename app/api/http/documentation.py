"""The description of the API, `/openapi.json`, and the page for trying it out, `/docs`: Swagger UI as the package
brings it.

So it works without the internet and runs no program of strangers. All of this is answered in the event loop, from
memory.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response

from app.api.http.passes import passes_of
from app.api.http.pictures import IfNoneMatch, is_current
from app.errors import NotFound

FOLDER: Final = Path(__file__).parents[2] / "static"
PAGE: Final = "/docs"
DESCRIPTION: Final = "/openapi.json"
MEDIA_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FILES: Final = {"swagger-ui-bundle.js": "swagger-ui", "swagger-ui.css": "swagger-ui", "docs.js": ""}
"""What the page loads, by name, and the folder in which it lies."""

PATHS: Final = frozenset({DESCRIPTION, PAGE, *(f"{PAGE}/{name}" for name in FILES)})
"""Everything that is served here."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src"
    " 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""The page's own: it loads from this service and speaks to this service; `blob:` shows the pictures that came as
answers.
"""

FOR_EVER: Final = "public, max-age=31536000, immutable"
"""What names a file with its hash, as pages do: a new one has a new address."""

HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>training-lab</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{swagger-ui.css}">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the description itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="{swagger-ui-bundle.js}"></script>
<script src="{docs.js}"></script>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get(DESCRIPTION)
async def read_description(request: Request) -> Response:
    """The OpenAPI document, written down at its first request, in a thread, for all who ask."""
    lanes, description = passes_of(request), request.app.state.description
    document: bytes = await description.get(
        lambda: lanes.go(lanes.computing, "all", lambda: _document(request.app))
    )
    return Response(document, media_type="application/json")


@router.get(PAGE)
async def read_page() -> Response:
    """The page; its addresses are relative, so that it also works behind a proxy that adds a prefix."""
    return Response(
        _page(), media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"}
    )


@router.get(f"{PAGE}/{{name}}")
async def read_file(name: str, if_none_match: IfNoneMatch = None) -> Response:
    """One of the files that the page loads."""
    if name not in FILES:
        raise NotFound(f"{PAGE} has no file {name!r}")
    headers = {"ETag": f'"{_sha256(name)}"', "Cache-Control": FOR_EVER}
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(_content(name), media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


def _document(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _content(name: str) -> bytes:
    return (FOLDER / FILES[name] / name).read_bytes()


@cache
def _sha256(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()


@cache
def _page() -> str:
    page = HTML
    for name in FILES:
        page = page.replace(f"{{{name}}}", f"{PAGE.removeprefix('/')}/{name}?{_sha256(name)[:16]}")
    return page
