"""Bodies that no JSON schema describes, for Schemathesis: archives and images, good and bad."""

import io
import zipfile

import schemathesis
from hypothesis import strategies
from PIL import Image


def _image(side: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (side % 256, 40, 200)).save(file, kind)
    return file.getvalue()


def _archive(names: list[str], side: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, _image(side, "PNG"))
    return file.getvalue()


GOOD = [f"train/{kind}/{number}.png" for kind in ("rose", "tulip") for number in range(5)]
NAMES = strategies.lists(
    strategies.sampled_from(
        [
            "../a.png",
            "/etc/a.png",
            "train/a/1.png",
            "train/b/\u202e.png",
            "x" * 300,
            "a/b/c/d.png",
            "readme.txt",
        ]
    ),
    max_size=5,
    unique=True,
)
ARCHIVES = strategies.builds(
    _archive, strategies.just(GOOD) | NAMES, strategies.integers(1, 40)
) | strategies.binary(max_size=200)

schemathesis.openapi.media_type("application/zip", ARCHIVES)
for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
    schemathesis.openapi.media_type(
        f"image/{kind.lower()}",
        strategies.builds(_image, strategies.integers(1, 40), strategies.just(kind))
        | strategies.binary(max_size=200),
    )
