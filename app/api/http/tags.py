"""Whoever asks again and again is told in a line that nothing has changed: answers by GET carry a weak tag, the hash of
their content, and If-None-Match is answered by 304.
"""

import hashlib
from typing import Final

from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

TAGGED: Final = frozenset({"application/json", "text/csv"})
MOST_BYTES: Final = 1024 * 1024
"""What is longer has no tag: to hash it takes the event loop's time."""


def tagged(request: Request, response: Response) -> Response:
    """The answer with its tag, or 304 where the caller has it; one that has a tag or no content of its own stays."""
    if (
        request.method != "GET"
        or response.status_code != 200
        or isinstance(response, StreamingResponse | FileResponse)
        or response.headers.get("content-type", "").partition(";")[0] not in TAGGED
        or "etag" in response.headers
        or len(response.body) > MOST_BYTES
    ):
        return response
    tag = tag_of(bytes(response.body))
    if has(request, tag):
        return unchanged(tag)
    response.headers["ETag"] = tag
    response.headers.setdefault("Cache-Control", "no-cache")
    return response


def tag_of(content: bytes) -> str:
    """The weak tag of an answer."""
    return f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'


def has(request: Request, tag: str) -> bool:
    """Whether the caller says that they have it."""
    asked = request.headers.get("if-none-match")
    if asked is None:
        return False
    opaque = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (opaque, "*") for one in asked.split(","))


def unchanged(tag: str) -> Response:
    """304 with the tag."""
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "no-cache"})
