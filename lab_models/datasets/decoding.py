"""From an image file's bytes to uint8 pixels: any mode, any size, one meaning. Nothing here loads torch.

Alpha is composed on black or white, palettes are resolved, 16-bit grey is scaled to 8 bits, EXIF orientation is
applied, of animations and of files with several pages the first one counts.
"""

import io
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from lab_models.datasets.beginnings import HEAD_BYTES, TIFF, phones_format

Pixels = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
MAX_PIXELS = 65_000_000
"""A photograph of 64 megapixels passes; its 260 MB while it is decoded is what one thread may need."""
DRAFT_GAP = 2
"""JPEGs are decoded at no less than this many times the wanted size, as Pillow's own thumbnails are."""
ORIENTATION_TAG, TURNED = 0x0112, (5, 6, 7, 8)
SIXTEEN_BITS = 65535

# what has more pixels than are read is refused with a sentence
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# What Pillow's decoders raise on damaged files, found by changing bytes at random (tests do so again).
UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class UndecodableImage(ValueError):
    """The bytes are no image that can be read; the message says why."""


Ground = Literal["black", "white"]


@dataclass(frozen=True)
class Size:
    """Height and width in pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class Rendition:
    """How values become pixels, the same for all images of a data set: what lies under transparent ones, and which
    share of an image's own range, above 0 and at most 1, is made white.
    """

    ground: Ground = "black"
    peak: float = 1.0


AS_THEY_ARE = Rendition()


def upright_size(file: IO[bytes]) -> Size:
    """Height and width as the image is shown, from its header alone; raises UndecodableImage."""
    try:
        with _opened(file) as image:
            turned = (
                image.format in ("JPEG", "MPO", "WEBP")
                and image.getexif().get(ORIENTATION_TAG) in TURNED
            )
            return Size(image.width, image.height) if turned else Size(image.height, image.width)
    except UNDECODABLE as error:
        raise _undecodable(error) from error


def decode(
    content: bytes, *, channels: int, size: Size | None = None, rendition: Rendition = AS_THEY_ARE
) -> Pixels:
    """Pixels (channels, height, width) uint8, grey (1) or RGB (3); raises UndecodableImage.

    Another `size` is reached by cutting the middle out in the wanted shape and scaling it with a Lanczos filter that is
    widened when it shrinks, so that nothing aliases.
    """
    try:
        with _opened(io.BytesIO(content)) as image:
            if size is not None and image.format == "JPEG":
                side = DRAFT_GAP * max(size.height, size.width)
                image.draft(None, (side, side))
            flat = _flat(ImageOps.exif_transpose(image), rendition.peak)
            if size is not None and flat.size != (size.width, size.height):
                flat = ImageOps.fit(flat, (size.width, size.height), Image.Resampling.LANCZOS)
            return _planes(flat, channels, rendition.ground)
    except UNDECODABLE as error:
        raise _undecodable(error) from error


def peak_of(content: bytes) -> float:
    """The largest value of an image as a share of its own range, 255 or 65,535, whatever is transparent; raises
    UndecodableImage.
    """
    try:
        with _opened(io.BytesIO(content)) as image:
            if image.mode.startswith("I"):
                return min(1.0, float(np.asarray(image).max()) / SIXTEEN_BITS)
            pixels = np.asarray(image.convert("RGB" if image.mode != "L" else "L"))
            return float(pixels.max()) / 255
    except UNDECODABLE as error:
        raise _undecodable(error) from error


def _opened(file: IO[bytes]) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        file.seek(0)
        raise _unidentified(file.read(HEAD_BYTES)) from error
    if image.width * image.height > MAX_PIXELS:
        raise UndecodableImage(
            f"{image.width}x{image.height} pixels are more than {MAX_PIXELS:,}: scale it down first"
        )
    if image.mode == "F" or (image.format == "TIFF" and image.mode == "I"):
        raise UndecodableImage(
            "its values are floating-point numbers, signed or of 32 bits: save it with 8 or 16 bits without a sign"
        )
    return image


def _unidentified(head: bytes) -> UndecodableImage:
    phones = phones_format(head)
    if phones is not None:
        return UndecodableImage(f"{phones}, which cannot be read: export it as JPEG or PNG")
    if head.startswith(TIFF):
        return UndecodableImage(
            "a TIFF of a kind that cannot be read: grey and RGB of 8 or 16 bits a value can"
        )
    return UndecodableImage(f"not an image of the formats {', '.join(FORMATS)}")


def _flat(image: Image.Image, peak: float) -> Image.Image:
    """Mode L, RGB, or RGBa, whose colors are multiplied by their alpha: over black these are the colors."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64), 0, SIXTEEN_BITS)
        white = max(1, round(peak * SIXTEEN_BITS))
        return Image.fromarray(np.minimum(255, (grey * 255 + white // 2) // white).astype(np.uint8))
    if image.has_transparency_data:
        return _stretched(image.convert("RGBA"), peak).convert("RGBa")
    return _stretched(image.convert("L" if image.mode in ("1", "L") else "RGB"), peak)


def _stretched(image: Image.Image, peak: float) -> Image.Image:
    """With the values divided by the peak; alpha stays."""
    if peak >= 1:
        return image
    table = [min(255, round(value / peak)) for value in range(256)]
    colors = {"L": 1, "RGB": 3, "RGBA": 3}[image.mode]
    return image.point([*table * colors, *range(256)] if image.mode == "RGBA" else table * colors)


def _planes(image: Image.Image, channels: int, ground: Ground) -> Pixels:
    if image.mode == "RGBa":
        *colors, alpha = image.split()
        if ground == "white":
            colors = [ImageChops.add(color, ImageChops.invert(alpha)) for color in colors]
        image = Image.merge("RGB", colors)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    # (H, W, 3) -> (3, H, W)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _undecodable(error: BaseException) -> UndecodableImage:
    match error:
        case UndecodableImage():
            return error
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return UndecodableImage(f"more than {MAX_PIXELS:,} pixels: scale it down first")
        case _:
            return UndecodableImage(f"damaged: {error or type(error).__name__}")
