"""How a picture is answered: in three formats, with an ETag of what it shows, so that an unchanged one is neither read,
drawn nor sent again.
"""

import hashlib
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Response

from app.api.http.drawings import Draw
from app.api.http.passes import Compute
from app.plots.drawing import FORMATS

PLOT_VERSION = (
    6  # grows with the drawing code, so that a browser's copy of the old picture is not kept
)


class PictureFormat(StrEnum):
    """Formats of a picture."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


IfNoneMatch = Annotated[str | None, Header()]

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller has is current"}
}
PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in FORMATS.values()}},
    304: {"description": "The picture the caller has is the current one"},
}


def picture(
    shown: Any,
    figure: Callable[[], Any],
    extension: PictureFormat,
    if_none_match: str | None,
    *,
    is_computed: bool = False,
) -> Any:
    """304 when the caller has the picture; else `figure` is read and then drawn, for all who want it at once.

    `shown` is everything that the picture depends on, as JSON: which one it is, what was asked for, and a revision of
    what it is drawn from. A figure that takes seconds to compute is made in a pass of its own.
    """
    headers = revalidated(extension, shown)
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)

    def drawn() -> Draw:
        return Draw(
            figure(),
            extension.value,
            headers["ETag"],
            lambda picture: Response(picture, media_type=FORMATS[extension.value], headers=headers),
        )

    return Compute(drawn) if is_computed else drawn()


def revalidated(*shown: Any) -> dict[str, str]:
    """The headers of an answer that may be kept and is asked for again with its ETag; `shown` as for `picture`."""
    return {
        "ETag": f'"{hashlib.sha256(json.dumps([PLOT_VERSION, shown]).encode()).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",
    }


def is_current(headers: dict[str, str], if_none_match: str | None) -> bool:
    """Whether the caller has the answer of these headers."""
    return if_none_match is not None and headers["ETag"] in {
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    }
