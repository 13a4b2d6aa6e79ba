"""From an image file's bytes to uint8 pixels: any mode, any size, one meaning. Nothing here loads torch.

Alpha is composed on black, palettes are resolved, 16-bit grey is scaled to 8 bits, EXIF orientation is applied, of
animations the first frame counts.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
MAX_PIXELS = 50_000_000
"""A photograph of 50 megapixels passes; its 200 MB while it is decoded is what one thread may need."""
DRAFT_GAP = 2
"""JPEGs are decoded at no less than this many times the wanted size, as Pillow's own thumbnails are."""
ORIENTATION_TAG, TURNED = 0x0112, (5, 6, 7, 8)
SIXTEEN_BITS = 65535

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


@dataclass(frozen=True)
class Size:
    """Height and width in pixels."""

    height: int
    width: int


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


def decode(content: bytes, *, channels: int, size: Size | None = None) -> Pixels:
    """Pixels (channels, height, width) uint8, grey (1) or RGB (3); raises UndecodableImage.

    Another `size` is reached by cutting the middle out in the wanted shape and scaling it with a Lanczos filter that is
    widened when it shrinks, so that nothing aliases.
    """
    try:
        with _opened(io.BytesIO(content)) as image:
            if size is not None and image.format == "JPEG":
                side = DRAFT_GAP * max(size.height, size.width)
                image.draft(None, (side, side))
            flat = _flat(ImageOps.exif_transpose(image))
            if size is not None and flat.size != (size.width, size.height):
                flat = ImageOps.fit(flat, (size.width, size.height), Image.Resampling.LANCZOS)
            return _planes(flat, channels)
    except UNDECODABLE as error:
        raise _undecodable(error) from error


def _opened(file: IO[bytes]) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise UndecodableImage(f"{image.width}x{image.height} pixels are more than {MAX_PIXELS:,}")
    return image


def _flat(image: Image.Image) -> Image.Image:
    """Mode L, RGB, or RGBa, whose colors are multiplied by their alpha: over black these are the colors."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image).astype(np.int64), 0, SIXTEEN_BITS)
        return Image.fromarray(((grey * 255 + SIXTEEN_BITS // 2) // SIXTEEN_BITS).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA").convert("RGBa")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _planes(image: Image.Image, channels: int) -> Pixels:
    if image.mode == "RGBa":
        image = Image.merge("RGB", image.split()[:3])
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    # (H, W, 3) -> (3, H, W)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _undecodable(error: BaseException) -> UndecodableImage:
    match error:
        case UndecodableImage():
            return error
        case UnidentifiedImageError():
            return UndecodableImage(f"not an image of the formats {', '.join(FORMATS)}")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return UndecodableImage(f"more than {MAX_PIXELS:,} pixels")
        case _:
            return UndecodableImage(f"damaged: {error or type(error).__name__}")
