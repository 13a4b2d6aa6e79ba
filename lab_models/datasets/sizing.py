"""What the images of an import become: their own size, or one that is asked for; none is enlarged or shrunk in silence.
Nothing here loads torch.
"""

from dataclasses import dataclass
from typing import Literal

from lab_models.common.validation import FieldError
from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.decoding import Ground, Size, UndecodableImage, upright_size
from lab_models.datasets.layout import Layout
from lab_models.datasets.refusals import (
    MOST_ERRORS,
    BadFile,
    ImportRefused,
    UnreadableFile,
    printable,
    refuse_bad_files,
)

LARGEST_COMMON_SIDE = 224
DEFAULT_SIDE = 32
LARGEST_SIDE = 512


@dataclass(frozen=True)
class Wanted:
    """What the images shall become: `size` as (height, width) and 1 or 3 channels; None leaves it to the images.

    Images that are smaller than the size are refused unless `enlarge` is set. `background` is what lies under
    transparent images: None for black, or white where black leaves most of them without content. `stretch` makes the
    largest value of all images white. `skip_bad` leaves files out that cannot be read, up to one in a hundred.
    """

    size: Size | None = None
    channels: Literal[1, 3] | None = None
    enlarge: bool = False
    background: Ground | None = None
    stretch: bool = False
    skip_bad: bool = False


@dataclass
class ImageSizes:
    """The images' own sizes by their headers: how many have each, and the first by name that has; `bad` are those whose
    header says none.
    """

    counts: dict[Size, int]
    examples: dict[Size, str]
    bad: list[BadFile]

    def num_smaller(self, size: Size) -> int:
        """How many images would be enlarged."""
        return sum(count for own, count in self.counts.items() if _is_enlarged(own, size))

    def shrunk(self, size: Size) -> str | None:
        """A sentence on images of which little is left; None where none is more than shrunk to half its side."""
        largest = max(self.counts, key=lambda own: own.height * own.width)
        if largest.height <= 2 * size.height and largest.width <= 2 * size.width:
            return None
        return (
            f"images of up to {largest.height}x{largest.width} pixels were scaled to {size.height}x{size.width};"
            " `size` (lab data import --size) chooses another"
        )

    @property
    def num_pixels(self) -> int:
        """Of all images together."""
        return sum(count * own.height * own.width for own, count in self.counts.items())


def wanted(
    size: int | tuple[int, int] | None,
    channels: Literal[1, 3] | None,
    enlarge: bool = False,
    *,
    background: Ground | None = None,
    stretch: bool = False,
    skip_bad: bool = False,
) -> Wanted:
    """Checked wishes; raises ImportRefused."""
    if enlarge and size is None:
        raise ImportRefused(
            "there is nothing to enlarge to",
            [
                FieldError(
                    "/enlarge",
                    "needs a size: images are enlarged to no other than one that is asked for",
                )
            ],
        )
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and not all(1 <= side <= LARGEST_SIDE for side in sides):
        raise ImportRefused(
            "images of this size are not made",
            [FieldError("/size", f"must lie between 1 and {LARGEST_SIDE} pixels")],
        )
    return Wanted(
        None if sides is None else Size(*sides), channels, enlarge, background, stretch, skip_bad
    )


def own_sizes(files: ImageFiles, layout: Layout, most_bad: int = MOST_ERRORS) -> ImageSizes:
    """By the headers alone; of bad files one more than `most_bad`."""
    found = ImageSizes({}, {}, [])
    for name, _ in (*layout.train, *layout.test):
        try:
            with files.open(name) as file:
                size = upright_size(file)
        except (UnreadableFile, UndecodableImage) as error:
            found.bad.append(BadFile(name, str(error)))
            if len(found.bad) > most_bad:
                break
        else:
            found.counts[size] = found.counts.get(size, 0) + 1
            found.examples.setdefault(size, printable(name))
    return found


def chosen(wanted: Wanted, own: ImageSizes) -> Size:
    """The size that was asked for, if it enlarges nothing or may. A few files without a size are left to decoding,
    which names all bad ones at once.
    """
    if wanted.size is None or len(own.bad) > MOST_ERRORS:
        refuse_bad_files([bad.error for bad in own.bad])
        return _natural_size(own)
    if not wanted.enlarge:
        _refuse_to_enlarge(own, wanted.size)
    return wanted.size


def _natural_size(own: ImageSizes) -> Size:
    """The size that all images have, if they do and it is not large; else a square, no larger than one that some image
    can fill.
    """
    common = next(iter(own.counts)) if len(own.counts) == 1 else None
    if common is not None and max(common.height, common.width) <= LARGEST_COMMON_SIDE:
        return common
    side = min(DEFAULT_SIDE, max(min(size.height, size.width) for size in own.counts))
    return Size(side, side)


def _is_enlarged(own: Size, size: Size) -> bool:
    return own.height < size.height or own.width < size.width


def _refuse_to_enlarge(own: ImageSizes, size: Size) -> None:
    smaller = [one for one in own.counts if _is_enlarged(one, size)]
    if not smaller:
        return
    smallest = min(smaller, key=lambda one: one.height * one.width)
    side = min(min(one.height, one.width) for one in own.counts)
    count, total = own.num_smaller(size), sum(own.counts.values())
    raise ImportRefused(
        f"{count:,} of {total:,} images are smaller than {size.height}x{size.width} pixels and would be enlarged",
        [
            FieldError(
                "/size",
                f"is larger than the images: {own.examples[smallest]} has {smallest.height}x{smallest.width} pixels",
            )
        ],
        hint=(
            f"no image is enlarged by a size of up to {side}; `enlarge=true` (lab data import --enlarge) enlarges them,"
            " which counts in full"
        ),
    )
