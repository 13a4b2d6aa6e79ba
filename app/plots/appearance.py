"""How a picture is to look, whatever it shows: its colors, its size and its title."""

from dataclasses import dataclass
from enum import StrEnum


class Theme(StrEnum):
    """For what it stands on: white paper, or a dark page."""

    LIGHT = "light"
    DARK = "dark"


class PictureSize(StrEnum):
    """How wide a picture may be: `small` for a column of text or a phone, its panels one below the other; `medium` for
    a page; `large` as medium with twice the pixels, for print.
    """

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True)
class Appearance:
    """What whoever asks for a picture may choose.

    `title` stands in place of the picture's own, None leaves that; an empty one leaves title and subtitle out.
    `follows_viewer`: an SVG has the colors of both themes, and shows those that its viewer prefers.
    """

    theme: Theme = Theme.LIGHT
    size: PictureSize = PictureSize.MEDIUM
    title: str | None = None
    follows_viewer: bool = False


USUAL = Appearance()
