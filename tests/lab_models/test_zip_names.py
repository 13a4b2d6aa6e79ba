"""Names in a zip or tar that does not say in which encoding they are."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.importing import import_images
from lab_models.datasets.name_letters import doubtful


def taken(folder: Path, encoded: list[bytes]) -> DatasetInfo:
    """An imported zip with class folders of these names and no flag; each name has as many bytes as letters in its
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
    return import_images(path, "x", folder / "imported")


def tarred(folder: Path, names: list[str], encoding: str) -> DatasetInfo:
    """The same of a tar, whose images have different names in each class."""
    path = folder / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
        for number, name in enumerate(names):
            for image in range(3):
                pixels = np.random.default_rng([number, image]).integers(0, 255, (8, 8), np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "png")
                member = tarfile.TarInfo(f"{name}/{number}{image}.png")
                member.size = len(file.getvalue())
                archive.addfile(member, io.BytesIO(file.getvalue()))
    return import_images(path, "x", folder / "imported")


@pytest.mark.parametrize("names", [("猫猫", "狗狗"), ("Müller", "Meier"), ("кошка", "собака")])
def test_names_in_utf8_without_a_flag_are_read_as_utf8(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    info = taken(tmp_path, [name.encode() for name in names])
    assert (set(info.class_names), info.noticed) == (set(names), ())


@pytest.mark.parametrize(
    ("encoding", "codec", "names"),
    [
        ("GBK", "gbk", ("狗", "猫")),
        ("GBK", "gbk", ("向日葵", "rose")),
        ("Shift-JIS", "cp932", ("いぬ", "ねこ")),
        ("Shift-JIS", "cp932", ("犬", "猫")),
        ("Big5", "cp950", ("狗", "貓")),
        ("EUC-KR", "cp949", ("개", "고양이")),
        ("Windows-1251", "cp1251", ("кошка", "собака")),
        ("code page 866", "cp866", ("кошка", "собака")),
        ("Windows-1252", "cp1252", ("Bär", "Müller")),
        ("code page 850", "cp850", ("Müller", "São")),
    ],
)
def test_names_in_another_encoding_stay_different_and_what_they_look_like_is_said(
    encoding: str, codec: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    info = taken(tmp_path, [name.encode(codec) for name in names])
    assert set(info.class_names) == {name.encode(codec).decode("cp437") for name in names}
    (said,) = info.noticed
    odd = [name for name in info.class_names if not name.isascii()]
    meant = [name.encode("cp437").decode(codec) for name in odd]
    assert (
        f"as code page 437, classes are called {' and '.join(map(repr, odd))}; they would" in said
    )
    assert f"{' and '.join(map(repr, meant))} in {encoding}" in said


@pytest.mark.parametrize("names", [("Bär", "Müller"), ("niño", "señal"), ("café", "thé")])
def test_names_in_the_encoding_of_the_format_are_taken_without_a_word(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    info = taken(tmp_path, [name.encode("cp437") for name in names])
    assert (set(info.class_names), info.noticed) == (set(names), ())


def test_a_letter_that_is_utf8_by_chance_is_doubted(tmp_path: Path) -> None:
    """猫 is C3 A8 in GBK, which is è in UTF-8."""
    info = taken(tmp_path, ["猫".encode("gbk"), b"dog"])
    assert set(info.class_names) == {"è", "dog"}
    (said,) = info.noticed
    assert "read as UTF-8, classes are called 'è'; they would be '猫' in GBK" in said


def test_folders_that_were_unpacked_in_the_wrong_encoding_are_doubted() -> None:
    garbled = ["猫".encode("gbk").decode("cp437"), "狗".encode("gbk").decode("cp437")]
    said = doubtful(garbled, "")
    assert said is not None
    assert "the classes '├¿' and '╣╖' look as if" in said
    assert "'猫' and '狗' in GBK" in said
    assert doubtful(["猫", "Müller", "naïve", "plain"], "") is None


def test_names_that_no_encoding_makes_sense_of_are_said() -> None:
    said = doubtful(["░", "a"], "cp437")
    assert said is not None
    assert "classes are called '░'; if that is wrong" in said


@pytest.mark.parametrize("codec", ["gbk", "cp932", "utf-8"])
def test_no_two_names_of_a_tar_become_one(tmp_path: Path, codec: str) -> None:
    names = ["狗", "猫"]
    info = tarred(tmp_path, names, codec)
    read = "utf-8" if codec == "utf-8" else "cp437"
    assert set(info.class_names) == {name.encode(codec).decode(read) for name in names}
    notes = [all(f"'{name}'" in said for name in names) for said in info.noticed]
    assert notes == ([] if codec == "utf-8" else [True])


def test_a_tar_with_names_in_two_encodings_loses_none(tmp_path: Path) -> None:
    """What pax says is UTF-8, and what it does not say may be anything."""
    files = {}
    for form, name in (
        (tarfile.PAX_FORMAT, "é"),
        (tarfile.GNU_FORMAT, "猫"),
        (tarfile.GNU_FORMAT, "a"),
    ):
        out = io.BytesIO()
        encoding = "utf-8" if form == tarfile.PAX_FORMAT else "gbk"
        with tarfile.open(fileobj=out, mode="w", format=form, encoding=encoding) as archive:
            for image in range(3):
                file = io.BytesIO()
                pixels = np.random.default_rng([len(files), image]).integers(0, 255, (8, 8))
                Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
                member = tarfile.TarInfo(f"{name}/{image}.png")
                member.size = len(file.getvalue())
                archive.addfile(member, io.BytesIO(file.getvalue()))
            files[name] = out.getvalue()[: archive.offset]
    (tmp_path / "a.tar").write_bytes(b"".join(files.values()) + bytes(1024))
    info = import_images(tmp_path / "a.tar", "x", tmp_path / "imported")
    assert set(info.class_names) == {"é", "è", "a"}
