"""Pictures that the service has drawn, and images that are sent to it."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, cast, get_args

from training_lab.errors import Unusable
from training_lab.files import replacing
from training_lab.steps import Later, Plan, Reply, Request

PictureFormat = Literal["svg", "png", "pdf"]
CurvesFormat = PictureFormat | Literal["tex"]
"""Of pictures that there are as LaTeX source, too."""
KNOWN_FORMATS = (*get_args(PictureFormat), "tex")
DRAWING_SECONDS = 300.0
"""The longest wait for what is drawn when it is asked for."""


@dataclass(frozen=True)
class Picture:
    """A picture as the service has drawn it; a notebook shows it, `bytes(picture)` is its file."""

    content: bytes
    format: CurvesFormat
    _drawn_as: Callable[[CurvesFormat], "Picture"] | None = field(
        default=None, repr=False, compare=False
    )
    """Asks the service for it in another format; None where that has to be awaited."""

    def save(self, path: str | Path) -> Path:
        """Store it; a name that ends in another format has the service draw it once more, as that. Raises Unusable for
        an ending that is no picture's, and in an `AsyncLab` for any but its own.
        """
        chosen = Path(path)
        ending = chosen.suffix.removeprefix(".").lower()
        if not ending:
            chosen = chosen.with_name(f"{chosen.name}.{self.format}")
        elif ending != self.format:
            return self._as(ending, chosen.name).save(chosen)
        with replacing(chosen) as file:
            file.write(self.content)
        return chosen

    def _as(self, ending: str, name: str) -> "Picture":
        if ending not in KNOWN_FORMATS:
            raise Unusable(f"{name}: a picture's name ends in .{', .'.join(KNOWN_FORMATS)}")
        if self._drawn_as is None:
            raise Unusable(
                f"this picture is {self.format}, and {name} ends in .{ending}: ask for it with format={ending!r}"
            )
        return self._drawn_as(cast(CurvesFormat, ending))

    def __bytes__(self) -> bytes:
        return self.content

    def __repr__(self) -> str:
        return f"<Picture {self.format}, {len(self.content):,} bytes>"

    def _repr_svg_(self) -> str | None:
        return self.content.decode() if self.format == "svg" else None

    def _repr_png_(self) -> bytes | None:
        return self.content if self.format == "png" else None


def drawn(path: str, format: CurvesFormat, **params: Any) -> Plan[Picture]:  # noqa: A002
    """A picture of the service, by its address without the ending."""
    reply: Reply = yield Request("GET", f"{path}.{format}", params, patience=DRAWING_SECONDS)
    carry_out = yield Later()
    if carry_out is None:
        return Picture(reply.content, format)
    return Picture(reply.content, format, lambda other: carry_out(drawn(path, other, **params)))


def image_bytes(image: Any) -> bytes:
    """An image as the service reads it: a path, bytes of a file, an array (height, width[, 1 or 3]) of 0 to 255, or one
    of Pillow's. Raises Unusable.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise Unusable(f"{image}: {error.strerror}") from error
    if hasattr(image, "save") and hasattr(image, "mode"):
        buffer = BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()
    if hasattr(image, "shape") and hasattr(image, "tobytes"):
        return _png_of(image)
    raise Unusable(
        f"{type(image).__name__} is no image: give a path, an array of 0 to 255, bytes of a file, or one of Pillow's"
    )


def _png_of(array: Any) -> bytes:
    shape = tuple(int(side) for side in array.shape)
    channels = {2: 1, 3: shape[-1]}.get(len(shape), 0)
    if channels not in (1, 3) or str(array.dtype) != "uint8" or 0 in shape:
        raise Unusable(
            f"an array of an image is uint8, (height, width) or (height, width, 3); this is {array.dtype}, {shape}"
        )
    height, width = shape[:2]
    pixels = array.tobytes()  # in C order, whatever lies in memory
    row = width * channels
    lines = b"".join(b"\0" + pixels[line * row : (line + 1) * row] for line in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
