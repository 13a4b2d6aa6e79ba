"""How a picture is answered: in three formats, with an ETag of what it shows, so that an unchanged one is neither drawn nor sent again."""

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Response

from app.api.passes import Compute
from app.plots.style import FORMATS

PLOT_VERSION = 2  # grows with the drawing code, so that a browser's copy of the old picture is not kept


class Extension(StrEnum):
    """Formats of a picture."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


IfNoneMatch = Annotated[str | None, Header()]

PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in FORMATS.values()}},
    304: {"description": "The picture the caller has is the current one"},
}


def picture(shown: Any, draw: Callable[[], bytes], extension: Extension, if_none_match: str | None) -> Any:
    """304 when the caller has the picture, else its drawing, which is a pass of its own. `shown` is everything that it depends on, as JSON."""
    etag = f'"{hashlib.sha256(json.dumps([PLOT_VERSION, extension, shown]).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    return Compute(lambda: Response(draw(), media_type=FORMATS[extension.value], headers=headers))
