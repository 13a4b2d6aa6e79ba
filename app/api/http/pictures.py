"""How a figure or a table is answered: in its formats, with an ETag of what it shows, so that an unchanged one is
neither read, drawn nor sent again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Response

from app.api.http.drawings import Draw
from app.api.http.passes import Compute
from app.plots.appearance import USUAL, Appearance, PictureSize, Theme
from app.plots.drawing import FORMATS
from app.services.analyses.exhibits import Exhibit, Shown

PLOT_VERSION = 11
"""Grows with the drawing code, so that a browser's copy of the old picture is not kept."""


class PictureFormat(StrEnum):
    """Formats of a picture."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


MOST_TITLE: Final = 300


def _appearance(
    theme: Annotated[Theme, Query(description="For white paper, or for a dark page")] = Theme.LIGHT,
    size: Annotated[
        PictureSize,
        Query(
            description=(
                "`small`: at most 700 pixels wide, panels below each other; `medium`: at most 1,400; `large`: as medium"
                " with twice the pixels a side"
            )
        ),
    ] = PictureSize.MEDIUM,
    title: Annotated[
        str | None,
        Query(
            description="In place of the picture's own title; empty: neither title nor subtitle",
            max_length=MOST_TITLE,
        ),
    ] = None,
) -> Appearance:
    return Appearance(theme, size, title)


TheAppearance = Annotated[Appearance, Depends(_appearance)]
"""What every route of a picture lets its caller choose."""

IfNoneMatch = Annotated[str | None, Header()]

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller has is current"}
}
PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in FORMATS.values()}},
    304: {"description": "The picture the caller has is the current one"},
}


def picture(
    exhibit: Exhibit[Any],
    extension: PictureFormat,
    appearance: Appearance,
    if_none_match: str | None,
    *,
    is_computed: bool = False,
) -> Any:
    """304 when the caller has the picture; else its figure is read and then drawn, for all who want it at once. A
    figure that takes seconds to compute is made in a pass of its own.
    """

    def drawn(figure: Any, headers: dict[str, str]) -> Draw:
        return Draw(
            figure,
            extension.value,
            headers["ETag"],
            lambda picture: Response(picture, media_type=FORMATS[extension.value], headers=headers),
            appearance,
        )

    form = form_of(extension, appearance)
    return exhibited(exhibit, form, if_none_match, drawn, is_computed=is_computed)


def drawings_of(
    exhibit: Exhibit[Any], extensions: Sequence[PictureFormat]
) -> dict[PictureFormat, Draw]:
    """The exhibit's usual picture in several formats, the same as `picture` answers; its figure is read once, now."""
    figure = exhibit.read()
    return {
        one: Draw(
            figure, one.value, _headers(exhibit, form_of(one, USUAL))["ETag"], lambda done: done
        )
        for one in extensions
    }


def form_of(extension: str, appearance: Appearance) -> str:
    """What tells the answers of one exhibit apart."""
    return json.dumps([extension, appearance.theme, appearance.size, appearance.title])


def exhibited(
    exhibit: Exhibit[Shown],
    form: str,
    if_none_match: str | None,
    answer: Callable[[Shown, dict[str, str]], Any],
    *,
    is_computed: bool = False,
) -> Any:
    """304 when the caller has the exhibit in that form; else what `answer` makes of it once it is read, given the
    headers that let it be kept and asked for again with its ETag.
    """
    headers = _headers(exhibit, form)
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)

    def answered() -> Any:
        return answer(exhibit.read(), headers)

    return Compute(answered) if is_computed else answered()


def _headers(exhibit: Exhibit[Any], form: str) -> dict[str, str]:
    shown = json.dumps([PLOT_VERSION, form, exhibit.fingerprint()])
    return {
        "ETag": f'W/"{hashlib.sha256(shown.encode()).hexdigest()[:32]}"',  # packed or not
        "Cache-Control": "no-cache",
    }


def is_current(headers: dict[str, str], if_none_match: str | None) -> bool:
    """Whether the caller has the answer of these headers."""
    return if_none_match is not None and headers["ETag"].removeprefix("W/") in {
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    }
