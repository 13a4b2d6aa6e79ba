"""Pictures that the service has drawn, and images that are sent to it."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from training_lab.errors import Unusable
from training_lab.steps import Plan, Reply, Request

PictureFormat = Literal["svg", "png", "pdf"]
CurvesFormat = PictureFormat | Literal["tex"]
"""Of pictures that there are as LaTeX source, too."""
DRAWING_SECONDS = 300.0
"""The longest wait for what is drawn when it is asked for."""


@dataclass(frozen=True)
class Picture:
    """A picture as the service has drawn it; a notebook shows it, `bytes(picture)` is its file."""

    content: bytes
    format: CurvesFormat

    def save(self, path: str | Path) -> Path:
        """Store it; raises Unusable where the name's ending is of another format."""
        chosen = Path(path)
        ending = chosen.suffix.removeprefix(".").lower()
        if ending and ending != self.format:
            raise Unusable(
                f"this picture is {self.format}, and {chosen.name} ends in .{ending}: ask for it with format={ending!r}"
            )
        chosen = chosen if ending else chosen.with_name(f"{chosen.name}.{self.format}")
        chosen.write_bytes(self.content)
        return chosen

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
    return Picture(reply.content, format)


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
