"""Names in a zip that does not say in which encoding they are."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab_models.datasets.importing import import_images


def class_names(folder: Path, encoded: list[bytes]) -> tuple[str, ...]:
    """Of an imported zip with class folders of these names and no flag; each name has as many bytes as letters in its
    place.
    """
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for number, name in enumerate(encoded):
            for image in range(3):
                pixels = np.random.default_rng([number, image]).integers(0, 255, (8, 8), np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "png")
                place = chr(ord("A") + number) * len(name)
                archive.writestr(f"{place}/{image}.png", file.getvalue())
    content = zipped.getvalue()
    for number, name in enumerate(encoded):
        content = content.replace((chr(ord("A") + number) * len(name)).encode() + b"/", name + b"/")
    path = folder / "a.zip"
    path.write_bytes(content)
    return import_images(path, "x", folder / "imported").class_names


@pytest.mark.parametrize("names", [("猫猫", "狗狗"), ("Müller", "Meier"), ("кошка", "собака")])
def test_names_in_utf8_without_a_flag_are_read_as_utf8(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    assert set(class_names(tmp_path, [name.encode() for name in names])) == set(names)


def test_names_in_another_encoding_stay_different(tmp_path: Path) -> None:
    found = class_names(tmp_path, ["猫猫".encode("gbk"), "狗狗".encode("gbk")])
    assert len(set(found)) == 2
    assert set(found) == {name.encode("gbk").decode("cp437") for name in ("猫猫", "狗狗")}
