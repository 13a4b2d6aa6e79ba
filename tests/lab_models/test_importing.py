"""People's own images: every layout and kind of picture, every bad file named, no archive that harms, nothing half
done.
"""

import copy
import errno
import gc
import io
import json
import logging
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lab_models.common.errors import DatasetUnavailable, StorageFull
from lab_models.common.files import sha256_of
from lab_models.datasets import importing, taking_in
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.decoding import Size, UndecodableImage, decode, upright_size
from lab_models.datasets.importing import (
    Importer,
    ImportUnderWay,
    NameTaken,
    import_images,
    owners_turn,
    remove_imported,
    reserved,
)
from lab_models.datasets.layout import arrange
from lab_models.datasets.preparation import PreparedDataset, open_imported
from lab_models.datasets.readers import open_dataset
from lab_models.datasets.refusals import ImportLimits, ImportRefused
from lab_models.datasets.split_words import naturally
from lab_models.training.protocol import Completed, Started
from tests.lab_models.conftest import (
    EXAMPLES,
    PROJECT,
    data_folders,
    files_below,
    of_kind,
    order_in,
    train,
)

Files = Mapping[str, bytes]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def flowers(
    train: int = 4,
    test: int = 2,
    classes: str = "ab",
    shape: tuple[int, ...] = (8, 8, 3),
    prefix: str = "",
) -> dict[str, bytes]:
    """So many different PNGs in each class of each split."""
    return {
        f"{prefix}{split}/{name}/{number}.png": encoded(
            pixels(*shape, seed=zlib.crc32(f"{split}{name}{number}".encode()))
        )
        for split, count in (("train", train), ("test", test))
        for name in classes
        for number in range(count)
    }


def zipped(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def folder(path: Path, files: Files) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def imported(tmp_path: Path, files: Files, **options: Any) -> PreparedDataset:
    """The data set that these files become, opened."""
    info = import_images(
        zipped(tmp_path / "in.zip", files), "own", tmp_path / "imported", **options
    )
    return open_imported(info, tmp_path / "imported")


def refusal(tmp_path: Path, source: Path | Files, **options: Any) -> ImportRefused:
    """Why these files become none; nothing may be left of the try."""
    source = zipped(tmp_path / "in.zip", source) if isinstance(source, Mapping) else source
    with pytest.raises(ImportRefused) as caught:
        import_images(source, "own", tmp_path / "imported", **options)
    assert files_below(tmp_path / "imported") == []
    return caught.value


def by_class(dataset: PreparedDataset) -> list[list[int]]:
    return [
        np.bincount(labels, minlength=dataset.info.num_classes).tolist()
        for labels in (dataset.train_labels, dataset.test_labels)
    ]


# Layouts


@pytest.mark.parametrize("make", [zipped, folder])
@pytest.mark.parametrize("prefix", ["", "flowers/"])
def test_train_and_test_folders_become_splits_pixel_for_pixel(
    make: Callable[[Path, Files], Path], prefix: str, tmp_path: Path
) -> None:
    files = flowers(prefix=prefix)
    source = make(tmp_path / "source", files)
    info = import_images(source, "own", tmp_path / "imported")
    dataset = open_imported(info, tmp_path / "imported")
    for split, images in (("train", dataset.train_images), ("test", dataset.test_images)):
        expected = [
            decode(files[name], channels=3) for name in sorted(files) if f"{split}/" in name
        ]
        assert np.array_equal(images, np.stack(expected))
    assert (info.class_names, by_class(dataset)) == (("a", "b"), [[4, 4], [2, 2]])
    assert (info.num_train, info.num_test, info.shape, info.channels) == (8, 4, (3, 8, 8), 3)


def test_a_folder_and_its_zip_become_the_same_data_set(tmp_path: Path) -> None:
    files = flowers()
    names = list(files)
    random.Random(0).shuffle(names)
    sources = [
        folder(tmp_path / "folder", files),
        zipped(tmp_path / "a.zip", files),
        zipped(tmp_path / "b.zip", {name: files[name] for name in names}, 0),
    ]
    for number, source in enumerate(sources):
        import_images(source, f"own{number}", tmp_path / "imported")
    assert len({Catalog(tmp_path / "imported").sha256(f"own{number}") for number in range(3)}) == 1


@pytest.mark.parametrize("prefix", ["", "train/", "pets/", "pets/train/"])
def test_without_test_a_fixed_stratified_fifth_of_train_becomes_test(
    prefix: str, tmp_path: Path
) -> None:
    files = {
        f"{prefix}{name}/{number:02}.png": encoded(pixels(8, 8, 3, seed=number))
        for name, count in (("cat", 20), ("dog", 3))
        for number in range(count)
    }
    dataset = imported(tmp_path, files)
    assert by_class(dataset) == [[16, 2], [4, 1]]
    assert "fixed stratified fifth" in dataset.info.source
    layouts = [arrange(sorted(files)), arrange(sorted(files))]
    assert layouts[0] == layouts[1]
    assert sorted(name for name, _ in (*layouts[0].train, *layouts[0].test)) == sorted(files)


def test_what_systems_leave_behind_and_files_beside_the_folders_are_passed_over(
    tmp_path: Path,
) -> None:
    junk = (
        "__MACOSX/train/a/._0.png",
        "train/a/.DS_Store",
        "train/.hidden/x.png",
        "train/b/Thumbs.db",
        "LICENSE",
        "labels.csv",
        "docs/about.txt",
        ".git/a.png",
    )
    dataset = imported(tmp_path, flowers() | dict.fromkeys(junk, b"junk"))
    assert by_class(dataset) == [[4, 4], [2, 2]]


NAMES = st.text("abxyz0", min_size=1, max_size=3)


@EXAMPLES
@given(
    st.dictionaries(NAMES, st.integers(3, 9), min_size=2, max_size=5),
    st.sampled_from(["", "train/", "wrap/", "wrap/train/"]),
)
def test_every_file_lands_in_one_split_with_the_class_of_its_folder(
    classes: dict[str, int], prefix: str
) -> None:
    names = sorted(
        f"{prefix}{name}/{number}.jpg" for name, count in classes.items() for number in range(count)
    )
    layout = arrange(names)
    rows = (*layout.train, *layout.test)
    assert sorted(name for name, _ in rows) == names
    assert all(layout.class_names[label] == name.split("/")[-2] for name, label in rows)
    assert layout.class_names == tuple(sorted(classes, key=naturally))
    for label in range(len(classes)):
        assert sum(1 for _, other in layout.train if other == label) >= 2
        assert any(other == label for _, other in layout.test)


@settings(EXAMPLES, max_examples=200)
@given(st.lists(st.text("ab./tesrinpg ", min_size=1, max_size=14), max_size=8))
def test_no_list_of_paths_breaks_the_layout(names: list[str]) -> None:
    try:
        layout = arrange(names)
    except ImportRefused:
        return
    assert len(layout.class_names) >= 2


@pytest.mark.parametrize(
    ("files", "complaint", "pointers"),
    [
        ({}, "no image among the 0 files", []),
        ({"a.txt": b"", "b/c.txt": b""}, "no image among the 2 files", []),
        (flowers(classes="a"), "there is one class, a; a classifier needs 2", []),
        ({"test/a/1.png": b"", "test/b/1.png": b""}, "folder 'test' but none named 'train'", []),
        (flowers(train=1), "every class needs at least 2 images", ["a", "b"]),
        (
            {f"{name}/{number}.png": b"" for name in "ab" for number in range(2)},
            "needs at least 3 images to train on, one of them for test",
            ["a", "b"],
        ),
        (flowers() | {"test/c/1.png": b""}, "train and test have different classes", ["test/c"]),
        (
            flowers() | {"train/c/1.png": b"", "train/c/2.png": b""},
            "train and test have different classes",
            ["train/c"],
        ),
        (
            flowers() | {"train/1.png": b"", "x.png": b""},
            "2 files cannot be taken",
            ["train/1.png", "x.png"],
        ),
        (
            flowers() | {"train/a/deep/1.png": b""},
            "one file cannot be taken",
            ["train/a/deep/1.png"],
        ),
        (flowers() | {"train/a/x.docx": b""}, "one file cannot be taken", ["train/a/x.docx"]),
        (flowers() | {"train/a/x.HEIC": b""}, "one file cannot be taken", ["train/a/x.HEIC"]),
        (flowers() | {"val/c/1.png": b""}, "train and val have different classes", ["val/c"]),
        (
            {name.replace("a/", "A/") if "test" in name else name: b"" for name in flowers()},
            "train and test have different classes",
            ["train/a", "test/A"],
        ),
        (
            flowers() | {"train/a/more.zip": b"", "b.tar.gz": b""},
            "2 files cannot be taken",
            ["b.tar.gz", "train/a/more.zip"],
        ),
        (
            {f"{name}/{number}.png": b"" for name in ("a", "b\x07") for number in range(3)},
            "not shown",
            ["b?"],
        ),
        (
            {f"{name}/{number}.png": b"" for name in ("a", "b\u202e") for number in range(3)},
            "not shown",
            ["b?"],
        ),
        (
            {f"{name}/{number}.png": b"" for name in ("a", "b" * 101) for number in range(3)},
            "more than 100 characters",
            ["b" * 101],
        ),
    ],
)
def test_a_layout_that_is_none_is_refused_with_the_place(
    files: Files, complaint: str, pointers: list[str], tmp_path: Path
) -> None:
    error = refusal(tmp_path, files)
    with pytest.raises(ImportRefused, match=complaint):
        raise error
    assert [one.pointer for one in error.errors] == pointers


def tree(*folders: str, images: int = 5) -> list[str]:
    return [f"{folder}/{number}.png" for folder in folders for number in range(images)]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAINING", "TESTING"),
        ("training_set", "test_set"),
        ("train data", "test-data"),
        ("trainset", "testset"),
        ("archive/seg_train/seg_train", "archive/seg_test/seg_test"),
        ("a/b/c/train", "a/b/c/test"),
        ("trainval", "test"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("train (1)", "test (2)"),
        ("x_train", "x_test"),
        ("训练集", "测试集"),
    ],
)
def test_splits_go_by_any_of_the_usual_words_and_any_folders_may_wrap_them(
    train: str, test: str
) -> None:
    names = tree(f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog")
    layout = arrange([*names, "README.md", "a/LICENSE"])
    assert layout.class_names == ("cat", "dog")
    assert not layout.test_is_cut
    assert [name for name, _ in layout.train] == [n for n in names if n.startswith(f"{train}/")]
    assert [name for name, _ in layout.test] == [n for n in names if n.startswith(f"{test}/")]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (tree("Images", "labels"), "class folders are Images and labels: these are words"),
        (tree("valid", "dev"), "class folders are dev and valid: these are words"),
        (
            tree("x/Train", "x/Test"),
            "Test and Train look like splits, whose images lie in no class",
        ),
        (tree("Train", "Test"), "Test and Train look like splits, .* nothing says their classes"),
        (tree("train/a", "train/b", "test"), "^test looks like a split, whose images lie in no"),
        (tree("train1", "test1"), "class folders are test1 and train1: these are words for splits"),
        (tree("x_train", "x_test"), "class folders are x_test and x_train: these are words"),
        (tree("input", "target"), "class folders are input and target: these are words"),
        (tree("训练", "测试"), "测试 and 训练 look like splits"),
        (
            tree("images"),
            "all images lie in one folder, images, and nothing says their classes",
        ),
        (tree("train/images", "test/images"), "all images lie in one folder, images, and nothing"),
        ([*tree("images"), "coco.json"], "nothing says their classes; coco.json is not read"),
        (
            tree("Data/a", "Data/b", "Examples"),
            "Data/ holds folders of images, and there are images beside it: Examples",
        ),
        (["a/1.dcm", "a/2.dcm", "b/3.nii"], "no image among the 3 files, which end in .dcm, .nii"),
        (tree("Testing/a", "Testing/b", "c"), "there is a folder 'Testing' but none named 'train'"),
        (tree("train/a", "Training/b", "c"), "Training/ and train/ are both named as train"),
        (
            tree("Data/train/a", "Data/train/b", "Examples"),
            "Data/ holds a train folder, and there are images beside it: Examples",
        ),
        (tree("valid/a", "valid/b"), "there is a folder 'valid' but none named 'train'"),
        (
            tree("a/x/y", "b/x/y"),
            r"10 files .* in a folder within a class folder; images lie in a/x/y",
        ),
    ],
)
def test_folders_that_are_no_classes_are_told_by_what_they_look_like(
    names: list[str], complaint: str
) -> None:
    with pytest.raises(ImportRefused, match=complaint) as caught:
        arrange(sorted(names))
    assert len(caught.value.errors) <= 3


def test_a_class_may_have_a_word_for_its_name_where_others_have_none() -> None:
    assert arrange(tree("valid", "invalid")).class_names == ("invalid", "valid")
    assert arrange(tree("label", "bottle")).class_names == ("bottle", "label")
    assert arrange(tree("steam_train", "test_tube")).class_names == ("steam_train", "test_tube")
    assert arrange(tree("toy train", "boat")).class_names == ("boat", "toy train")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (map(str, range(12)), list(map(str, range(12)))),
        (["010", "9", "08"], ["08", "9", "010"]),
        (["class 10", "class 2", "other"], ["class 2", "class 10", "other"]),
        (["b", "B", "a", "Ä"], ["B", "a", "b", "Ä"]),
        (["1", "01", "a1"], ["01", "1", "a1"]),
        (["0.5", "0.25", "-10", "2", "-1.5"], ["-10", "-1.5", "0.25", "0.5", "2"]),
        (["v1.10", "v1.9", "1"], ["1", "v1.9", "v1.10"]),
        (("img10", "img", "img2"), ["img", "img2", "img10"]),
    ],
)
def test_classes_with_numbers_come_in_natural_order(names: Any, order: list[str]) -> None:
    assert list(arrange(tree(*names)).class_names) == order


def test_the_fifth_that_is_cut_does_not_depend_on_the_order_of_classes() -> None:
    def cut(*names: str) -> set[str]:
        return {path.split("/")[1] for path, label in arrange(tree(*names)).test if label == 0}

    assert cut("1", "10") == cut("a", "b")


def test_words_about_images_are_passed_over_and_counted_whatever_their_case(
    tmp_path: Path,
) -> None:
    beside = (
        *("train/a/README.md", "train/b/labels.CSV", "train/a/thumbs.db", "@eaDir/x.png"),
        *("train/a/Thumbs.db:encryptable", "$RECYCLE.BIN/y.png", "lost+found/z"),
        *("train/a/LICENSE", "train/b/preview.ipynb"),
    )
    dataset = imported(tmp_path, flowers() | dict.fromkeys(beside, b"junk"))
    assert by_class(dataset) == [[4, 4], [2, 2]]
    assert "4 files beside them that are no images were passed over" in dataset.info.source


def test_netpbm_and_jpeg_by_its_other_names_are_read(tmp_path: Path) -> None:
    grey = pixels(8, 8)
    kinds = {"pgm": encoded(grey, "PPM"), "ppm": encoded(grey, "PPM")}
    photo = encoded(grey, "JPEG")
    files = {
        f"{name}/{number}.{suffix}": content
        for name in "ab"
        for number, (suffix, content) in enumerate((kinds | {"jfif": photo, "jpe": photo}).items())
    }
    assert imported(tmp_path, files).info.shape == (1, 8, 8)


def test_files_without_a_suffix_are_images_by_what_they_begin_with(tmp_path: Path) -> None:
    kinds = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
    files = {f"{name}/{kind}": encoded(pixels(8, 8), kind) for name in "ab" for kind in kinds} | {
        "LICENSE": b"BM of old: text"
    }
    dataset = imported(tmp_path, files)
    assert dataset.info.num_train + dataset.info.num_test == 2 * len(kinds)
    error = refusal(tmp_path / "x", folder(tmp_path / "x", {**files, "a/NUMBERS": b"text"}))
    assert [(one.pointer, one.message) for one in error.errors] == [
        ("a/NUMBERS", "is no image by its name")
    ]


@pytest.mark.parametrize(
    ("shown", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), (np.uint8, "RGB"), (np.uint8, "1")]
)
def test_tiff_is_read_value_for_value(shown: type, mode: str, tmp_path: Path) -> None:
    rows = {}
    for number in range(6):
        values = pixels(8, 8, 3, seed=number) if mode == "RGB" else pixels(8, 8, seed=number)
        image = Image.fromarray(values.astype(shown) * (257 if shown is np.uint16 else 1))
        image = image.convert("1") if mode == "1" else image
        rows[f"{'ab'[number % 2]}/{number}.tif{'f' * (number % 2)}"] = (image, values)
    files = {
        name: encoded(image, "TIFF", **({} if mode == "1" else {"compression": "tiff_lzw"}))
        for name, (image, _) in rows.items()
    }
    dataset = imported(tmp_path, files)
    found = {row.tobytes() for row in (*dataset.train_images, *dataset.test_images)}
    assert found == {
        (
            np.asarray(image.convert("L"))
            if mode == "1"
            else values.reshape(8, 8, -1).transpose(2, 0, 1)
        ).tobytes()
        for image, values in rows.values()
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "floating-point numbers"),
        (encoded(Image.fromarray(np.ones((8, 8), np.int32)), "TIFF"), "or of 32 bits"),
        (b"II*\0" + bytes(400), "a TIFF of a kind that cannot be read"),
        (b"\0\0\0\x1cftypavif" + bytes(400), "AVIF, which cannot be read: export it as JPEG"),
        (b"\0\0\0\x1cftypheic" + bytes(400), "HEIC, which cannot be read: export it as JPEG"),
    ],
)
def test_what_an_image_holds_decides_whatever_it_is_called(
    content: bytes, why: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, two_classes(encoded(pixels(8, 8))) | {"a/x.jpg": content})
    assert [(one.pointer, why in one.message) for one in error.errors] == [("a/x.jpg", True)]


@pytest.mark.parametrize("suffix", ["heic", "AVIF"])
def test_photographs_of_a_phone_alone_are_told_what_to_do(suffix: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, two_classes(b"", suffix))
    assert f"6 files are in a format that cannot be read, such as a/0.{suffix}" in str(error)
    assert "export HEIC and AVIF as JPEG or PNG" in (error.hint or "")


def test_a_turned_tiff_lies_as_it_is_shown() -> None:
    image = pixels(4, 6, 3)
    turned = encoded(image, "TIFF", tiffinfo={0x0112: 6})
    assert upright_size(io.BytesIO(turned)) == Size(6, 4)
    assert np.array_equal(decode(turned, channels=3), np.rot90(image, -1).transpose(2, 0, 1))


# Pictures


def two_classes(content: bytes, suffix: str = "png") -> dict[str, bytes]:
    return {f"{name}/{number}.{suffix}": content for name in "ab" for number in range(3)}


def test_images_are_grey_only_if_all_of_them_are_however_they_are_written(tmp_path: Path) -> None:
    grey = pixels(8, 8)
    as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    kinds = [
        encoded(grey),
        encoded(as_rgb),
        encoded(Image.fromarray(grey).convert("LA")),
        encoded(Image.fromarray(grey).convert("P")),
        encoded(grey, "BMP"),
    ]
    files = {
        f"{name}/{number}.png": content for name in "ab" for number, content in enumerate(kinds)
    }
    dataset = imported(tmp_path, files)
    assert dataset.info.shape == (1, 8, 8)
    assert (dataset.train_images == grey).all()
    remove_imported("own", tmp_path / "imported")
    assert imported(tmp_path, files | {"a/color.png": encoded(pixels(8, 8, 3))}).info.shape == (
        3,
        8,
        8,
    )
    remove_imported("own", tmp_path / "imported")
    assert imported(tmp_path, files, channels=3).info.shape == (3, 8, 8)


def test_colors_become_grey_by_their_luma_when_asked(tmp_path: Path) -> None:
    """ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B."""
    image = pixels(8, 8, 3)
    dataset = imported(tmp_path, two_classes(encoded(image)), channels=1)
    assert dataset.info.shape == (1, 8, 8)
    assert np.abs(dataset.train_images[0, 0] - image @ [0.299, 0.587, 0.114]).max() < 1


def shown(content: bytes, channels: int = 3) -> np.ndarray:
    return decode(content, channels=channels).transpose(1, 2, 0)


def test_alpha_is_composed_on_black() -> None:
    image = pixels(5, 7, 4)
    expected = image[:, :, :3] * (image[:, :, 3:] / 255)
    assert np.abs(shown(encoded(Image.fromarray(image, "RGBA"))) - expected).max() <= 1
    grey = pixels(5, 7, 2)
    assert (
        np.abs(
            shown(encoded(Image.fromarray(grey, "LA")), 1)[:, :, 0]
            - grey[:, :, 0] * (grey[:, :, 1] / 255)
        ).max()
        <= 1
    )
    seen_through = Image.fromarray(np.full((2, 2, 3), 200, np.uint8))
    assert shown(encoded(seen_through, transparency=(200, 200, 200))).max() == 0
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert shown(encoded(palette)).tolist() == [[[10, 20, 30]] * 2] * 2
    assert shown(encoded(palette, transparency=1)).max() == 0
    assert shown(encoded(palette, "GIF", transparency=1)).max() == 0


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 128 * 257, 65535, 128, 129]], np.uint16)
    assert shown(encoded(deep), 1)[0, :, 0].tolist() == [0, 1, 128, 255, 0, 1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "top_left"), [(1, (0, 0)), (3, (-1, -1)), (6, (-1, 0)), (8, (0, -1))]
)
def test_the_camera_s_turn_is_undone(
    kind: str, orientation: int, top_left: tuple[int, int]
) -> None:
    """EXIF: 6 is shown a quarter turn clockwise, so that the stored lower left corner is the upper left one; 8 the
    other way round.
    """
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8, :8], image[-8:, -8:], image[-8:, :8], image[:8, -8:] = 60, 120, 180, 240
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, kind, exif=exif)
    seen = shown(content)
    assert seen.shape[:2] == ((24, 16) if orientation > 4 else (16, 24))
    assert abs(int(seen[2, 2, 0]) - int(image[top_left][0])) < 12
    if kind != "PNG":
        assert upright_size(io.BytesIO(content)) == Size(*seen.shape[:2])


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("#102030", "#ffffff")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = encoded(
            frames[0],
            kind,
            save_all=True,
            append_images=frames[1:],
            duration=50,
            **({"lossless": True} if kind == "WEBP" else {}),
        )
        assert shown(content).tolist() == [[[0x10, 0x20, 0x30]] * 4] * 4


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
def test_an_image_of_the_right_size_keeps_its_pixels(kind: str) -> None:
    image = pixels(6, 9, 3)
    content = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    as_it_is = decode(content, channels=3)
    assert np.array_equal(decode(content, channels=3, size=Size(6, 9)), as_it_is)
    if kind != "JPEG":
        assert np.array_equal(as_it_is, image.transpose(2, 0, 1))


def test_shrinking_keeps_the_middle_and_does_not_alias() -> None:
    stripes = np.zeros((60, 120), np.uint8)
    stripes[:, 30:90:2] = 255
    stripes[:, :30] = 255  # outside the middle square
    small = decode(encoded(stripes), channels=1, size=Size(10, 10))[0]
    assert np.abs(small[:, 1:-1].astype(int) - 127).max() < 16
    assert small.max() < 160


def test_a_large_jpeg_shrinks_to_the_same_whether_or_not_it_is_decoded_in_full() -> None:
    """Decoded at twice the wanted size it differs by 0.6 levels; at once the size it would by 11."""
    texture = Image.fromarray(pixels(225, 300, 3)).resize((1200, 900), Image.Resampling.BICUBIC)
    jpeg = encoded(texture, "JPEG", quality=95)
    in_full = encoded(decode(jpeg, channels=3).transpose(1, 2, 0))
    small, expected = (
        decode(content, channels=3, size=Size(90, 90)).astype(int) for content in (jpeg, in_full)
    )
    assert np.abs(small - expected).mean() < 1


@pytest.mark.parametrize(
    ("shapes", "size", "expected"),
    [
        ([(20, 30, 3)] * 6, None, (20, 30)),
        ([(224, 200, 3)] * 6, None, (224, 200)),
        ([(225, 200, 3)] * 6, None, (32, 32)),
        ([(40, 50, 3)] * 5 + [(50, 40, 3)], None, (32, 32)),
        ([(20, 30, 3)] * 5 + [(30, 20, 3)], None, (20, 20)),
        ([(5, 5, 3)] * 5 + [(9, 12, 3)], None, (9, 9)),
        ([(300, 12, 3)] * 6, None, (12, 12)),
        ([(20, 30, 3)] * 6, 12, (12, 12)),
        ([(20, 30, 3)] * 6, (12, 16), (12, 16)),
    ],
)
def test_the_size_is_the_common_one_the_wanted_one_or_at_most_32(
    shapes: list[tuple[int, ...]], size: Any, expected: tuple[int, int], tmp_path: Path
) -> None:
    files = {
        f"{'ab'[number % 2]}/{number}.png": encoded(pixels(*shape))
        for number, shape in enumerate(shapes)
    }
    assert imported(tmp_path, files, size=size).info.shape == (3, *expected)


def test_no_image_is_enlarged_unless_that_is_asked_for(tmp_path: Path) -> None:
    files = flowers() | {
        "train/a/low.png": encoded(pixels(5, 30, 3)),
        "test/b/large.png": encoded(pixels(60, 60, 3)),
    }
    error = refusal(tmp_path, files, size=32)
    assert str(error) == "13 of 14 images are smaller than 32x32 pixels and would be enlarged"
    assert [(one.pointer, one.message) for one in error.errors] == [
        ("/size", "is larger than the images: train/a/0.png has 8x8 pixels")
    ]
    assert "a size of up to 5" in (error.hint or "")
    assert "1 of 14 images" in str(refusal(tmp_path, files, size=(6, 8)))
    assert (
        import_images(tmp_path / "in.zip", "small", tmp_path / "imported", size=5).source
        == "imported from 14 image files"
    )
    info = imported(tmp_path, files, size=32, enlarge=True).info
    assert (info.shape, info.source) == (
        (3, 32, 32),
        "imported from 14 image files; 13 of them were smaller and were enlarged",
    )


def test_what_is_enlarged_for_want_of_a_common_size_is_said(tmp_path: Path) -> None:
    """The default is a side that some image has; 32 would enlarge them all."""
    info = imported(tmp_path, flowers() | {"train/a/larger.png": encoded(pixels(10, 20, 3))}).info
    assert (info.shape, info.source) == (
        (3, 10, 10),
        "imported from 13 image files; 12 of them were smaller and were enlarged",
    )


def test_enlarging_to_nothing_in_particular_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, flowers(), enlarge=True).errors[0].pointer == "/enlarge"


@pytest.mark.parametrize("size", [0, -1, 513, (32, 0)])
def test_an_impossible_size_is_refused(size: Any, tmp_path: Path) -> None:
    error = refusal(tmp_path, flowers(), size=size)
    assert error.errors[0].pointer == "/size"


def bomb_png(side: int) -> bytes:
    """A PNG header that promises side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + encoded(pixels(2, 2, 3))[33:]
    )


@pytest.mark.parametrize("size", [None, 8])
def test_every_bad_image_is_named_with_why_and_nothing_is_left(
    size: int | None, tmp_path: Path
) -> None:
    good = encoded(pixels(8, 8, 3))
    bad = {
        "train/a/bomb.png": (bomb_png(60_000), "more than 65,000,000"),
        "train/a/large.png": (bomb_png(8_100), "more than 65,000,000: scale it down first"),
        "train/b/text.png": (
            b"<html>not found</html>",
            "not an image of the formats PNG, JPEG, BMP, GIF, WEBP",
        ),
        "train/b/targa.png": (encoded(pixels(8, 8, 3), "TGA"), "not an image of the formats"),
        "test/a/empty.jpg": (b"", "not an image of the formats"),
    }
    if size is not None:  # what only decoding can tell
        bad |= {
            "test/b/cut.png": (good[: len(good) // 2], "damaged"),
            "train/b/flipped.png": (good[:60] + b"\xff" * 8 + good[68:], "damaged"),
        }
    error = refusal(
        tmp_path, flowers() | {name: content for name, (content, _) in bad.items()}, size=size
    )
    found = {one.pointer: one.message for one in error.errors}
    assert set(found) == set(bad)
    assert all(why in found[name] for name, (_, why) in bad.items())
    assert f"{len(bad)} files cannot be taken" in str(error)


def test_of_many_bad_files_the_first_twenty_are_named(tmp_path: Path) -> None:
    files = flowers() | {f"train/a/{number:03}.png": b"no image" for number in range(60)}
    for size in (None, 8):
        error = refusal(tmp_path, files, size=size)
        assert [one.pointer for one in error.errors] == [
            f"train/a/{number:03}.png" for number in range(20)
        ]
        assert "more than 20 files cannot be taken" in str(error)


SOUND = [
    encoded(pixels(9, 7, 3)),
    encoded(pixels(9, 7)),
    encoded(Image.fromarray(pixels(9, 7, 3)).quantize(8), transparency=2),
    encoded(pixels(9, 7, 3), "JPEG"),
    encoded(pixels(9, 7, 3), "JPEG", progressive=True),
    encoded(pixels(9, 7, 3), "BMP"),
    encoded(pixels(9, 7), "GIF"),
    encoded(pixels(9, 7), "PPM"),
    encoded(pixels(9, 7, 3), "PPM"),
    encoded(pixels(9, 7, 3), "WEBP"),
    encoded(Image.fromarray(pixels(9, 7, 4), "RGBA"), "WEBP", lossless=True),
    encoded(pixels(9, 7, 3), "TIFF"),
    encoded(Image.fromarray(pixels(9, 7).astype(np.uint16)), "TIFF", compression="tiff_lzw"),
    encoded(pixels(9, 7, 3), "TIFF", compression="jpeg"),
]


# Pillow's word on odd EXIF, which does not matter
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(EXAMPLES, max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0.05, 1),
    st.booleans(),
)
def test_no_bytes_make_the_decoder_do_more_than_refuse(
    content: bytes, changes: list[tuple[float, int]], kept: float, resized: bool
) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[int(place**2 * len(damaged))] = value  # squared, for headers matter most
    damaged = damaged[: int(kept * len(damaged)) or 1]
    try:
        image = decode(bytes(damaged), channels=3, size=Size(4, 5) if resized else None)
    except UndecodableImage:
        return
    assert image.dtype == np.uint8
    assert image.shape[0] == 3
    assert not resized or image.shape == (3, 4, 5)


# Archives that would harm


@pytest.mark.parametrize(
    "name",
    [
        "../out.png",
        "train/../../out.png",
        "/out.png",
        "train/a/..",
        "C:/out.png",
        "train\\a\\out.png",
        "..\\out.png",
    ],
)
def test_a_path_that_leads_out_of_the_zip_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for good, content in flowers().items():
            archive.writestr(good, content)
        member = zipfile.ZipInfo("placeholder")
        member.filename = name
        archive.writestr(member, b"x")
    error = refusal(tmp_path, path)
    assert [one.pointer for one in error.errors] == [name]
    assert not (tmp_path / "out.png").exists()
    assert not (tmp_path.parent / "out.png").exists()


@pytest.mark.parametrize(
    "names",
    [
        [f"{folder}\\{number}.png" for folder in "ab" for number in range(3)],
        [f"w\\train\\{folder}\\{number}.png" for folder in "ab" for number in range(3)],
        [f"./train/{folder}//{number}.png" for folder in "ab" for number in range(3)],
    ],
)
def test_other_slashes_and_parts_that_mean_nothing_are_read(
    names: list[str], tmp_path: Path
) -> None:
    files = {name: encoded(pixels(8, 8, seed=row)) for row, name in enumerate(names)}
    folders = {name.rpartition(name[-6])[0] + name[-6]: b"" for name in names}
    dataset = imported(tmp_path, files | folders)
    assert dataset.info.class_names == ("a", "b")
    assert (dataset.info.num_train, dataset.info.num_test) == (4, 2)


@pytest.mark.parametrize("name", ["..\\out.png", "a\\..\\..\\out.png", "\\out.png", "C:\\out.png"])
def test_backslashes_lead_out_of_no_zip_either(name: str, tmp_path: Path) -> None:
    files = {f"{folder}\\{number}.png": b"" for folder in "ab" for number in range(3)}
    error = refusal(tmp_path, files | {name: b"x"})
    assert [(one.pointer, one.message) for one in error.errors] == [
        (name, "has a path that leads out of the archive")
    ]


def test_a_name_that_stands_twice_in_other_words_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, flowers() | {"train//a/./0.png": b""})
    assert [one.message for one in error.errors] == ["stands twice in the zip"]


def test_a_name_with_a_null_byte_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", flowers() | {"train/a/xNULLx.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"xNULLx", b"x\0\0\0\0x"))
    assert "null byte" in refusal(tmp_path, path).errors[0].message


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("train/a/link.png", stat.S_IFLNK), ("train/a/pipe.png", stat.S_IFIFO)):
            member = zipfile.ZipInfo(name)
            member.external_attr = (kind | 0o777) << 16
            archive.writestr(member, "/etc/passwd")
    error = refusal(tmp_path, path)
    assert [(one.pointer, one.message) for one in error.errors] == [
        ("train/a/link.png", "is a link or a device, not a file"),
        ("train/a/pipe.png", "is a link or a device, not a file"),
    ]


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "in.zip", flowers())
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02")
    content[place + 8] |= 1  # the flag in the directory, which programs trust
    path.write_bytes(content)
    assert refusal(tmp_path, path).errors[0].message == "is encrypted"


def test_a_compression_other_than_deflate_is_refused(tmp_path: Path) -> None:
    assert (
        "other than deflate"
        in refusal(tmp_path, zipped(tmp_path / "in.zip", flowers(), zipfile.ZIP_LZMA))
        .errors[0]
        .message
    )


def test_a_zip_that_swells_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = {"train/a/zeros.bmp": b"\0" * 20_000_000}
    assert "more than 200 times its size" in refusal(tmp_path, flowers() | bomb).errors[0].message
    assert (
        "more than 10,000,000"
        in refusal(tmp_path, flowers() | bomb, limits=ImportLimits(max_file_bytes=10_000_000))
        .errors[0]
        .message
    )
    assert "unpacks to" in str(
        refusal(tmp_path, flowers(), limits=ImportLimits(max_unpacked_bytes=1000))
    )


def test_a_member_that_is_longer_than_its_directory_says_is_damaged(tmp_path: Path) -> None:
    """The lie that would get a bomb past the limits: no more than was promised is ever unpacked."""
    path = zipped(tmp_path / "in.zip", flowers() | {"train/a/0.png": b"\0" * 5_000_000})
    content = bytearray(path.read_bytes())
    place = content.find(b"train/a/0.png", content.find(b"PK\x01\x02")) - 46
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(content)
    error = refusal(tmp_path, path, size=8)
    assert [(one.pointer, one.message.split(":")[0]) for one in error.errors] == [
        ("train/a/0.png", "damaged in the zip")
    ]


def overlapping(path: Path, num_members: int, num_bytes: int) -> Path:
    """A directory of many files that are all the same bytes, under names of their own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in flowers().items():
            archive.writestr(name, content)
        archive.writestr("train/a/shared.bmp", b"\0" * num_bytes)
        shared = archive.getinfo("train/a/shared.bmp")
        for number in range(num_members):
            member = copy.copy(shared)
            member.filename = member.orig_filename = f"train/a/{number:05}.bmp"
            archive.filelist.append(member)
            archive.NameToInfo[member.filename] = member
    return path


def test_files_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Each is small enough to be spared the ratio; together they are 20 MB of 3 kB."""
    error = refusal(tmp_path, overlapping(tmp_path / "in.zip", 20, 1_000_000))
    assert len(error.errors) == 20
    assert {one.message for one in error.errors} == {"shares bytes with another file of the zip"}


def test_a_file_that_reaches_over_the_next_one_is_refused(tmp_path: Path) -> None:
    """Not the same beginning, but a content that holds the other's header, as in Fifield's zip bomb; also by its own
    header's extra field alone.
    """
    path = zipped(tmp_path / "in.zip", flowers())
    sound = path.read_bytes()
    first, entry = sound.find(b"PK\x03\x04"), sound.find(b"PK\x01\x02")
    # the compressed size in the directory, the extra field's length before the content
    places = {entry + 20: "<I", first + 28: "<H"}
    for place, form in places.items():
        content = bytearray(sound)
        struct.pack_into(form, content, place, struct.unpack_from(form, content, place)[0] + 100)
        path.write_bytes(content)
        assert [one.pointer for one in refusal(tmp_path, path).errors] == ["train/a/1.png"]


def test_many_small_files_may_not_swell_either(tmp_path: Path) -> None:
    """None of them is above a megabyte, and each has bytes of its own."""
    files = flowers() | {f"train/a/{number}.bmp": b"\0" * 900_000 for number in range(10, 20)}
    assert "more than 200 times its size" in str(refusal(tmp_path, files))
    assert "cannot be taken" in str(refusal(tmp_path, files, limits=ImportLimits(max_ratio=2000)))


def test_too_many_files_images_or_pixels_are_refused(tmp_path: Path) -> None:
    assert "12 images are more than 11" in str(
        refusal(tmp_path, flowers(), limits=ImportLimits(max_images=11))
    )
    assert "more than 4" in str(refusal(tmp_path, flowers(), limits=ImportLimits(max_images=2)))
    assert "choose a smaller size" in (
        refusal(
            tmp_path,
            flowers(),
            size=100,
            enlarge=True,
            limits=ImportLimits(max_array_bytes=100_000),
        ).hint
        or ""
    )
    assert "have 768 pixels together" in str(
        refusal(tmp_path, flowers(), limits=ImportLimits(max_pixels=767))
    )


def test_a_directory_of_millions_of_files_is_not_even_loaded(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "in.zip", flowers()).read_bytes())
    end = content.rfind(b"PK\x05\x06")
    directory = struct.unpack("<I", content[end + 16 : end + 20])[0]
    padding = b"\0" * 2_000_000
    content[end + 12 : end + 16] = struct.pack("<I", end - directory + len(padding))
    (tmp_path / "in.zip").write_bytes(content[:end] + padding + content[end:])
    assert "its directory has 2," in str(
        refusal(tmp_path, tmp_path / "in.zip", limits=ImportLimits(max_images=1000))
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"hello",
        b"PK\x05\x06" + b"\0" * 18,
        b"PK\x05\x06" + b"\xff" * 18,
        b"\x1f\x8b" + b"\0" * 100,
    ],
)
def test_what_is_no_zip_is_called_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(content)
    assert str(refusal(tmp_path, tmp_path / "in.zip")).startswith(
        (
            "this is an empty file",
            "this is no zip file",
            "there is no image",
            "the archive is damaged",
        )
    )


@settings(EXAMPLES, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5
    )
)
def test_no_bytes_make_the_unpacker_do_more_than_refuse(
    changes: list[tuple[float, int]], tmp_path: Path
) -> None:
    files = {f"{name}/{number}.png": encoded(pixels(2, 2)) for name in "ab" for number in range(3)}
    content = bytearray(zipped(tmp_path / "in.zip", files).read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    (tmp_path / "in.zip").write_bytes(content)
    try:
        import_images(tmp_path / "in.zip", "own", tmp_path / "imported", size=2)
    except ImportRefused:
        assert files_below(tmp_path / "imported") == []
    else:
        remove_imported("own", tmp_path / "imported")


def test_a_circle_of_links_in_a_folder_ends(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", flowers())
    (source / "train" / "a" / "up").symlink_to(source)
    said = "train/a/up/train/a/up is a folder in 5 others, which is too deep"
    assert str(refusal(tmp_path, source)) == said


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", flowers())
    os.mkfifo(source / "train" / "a" / "pipe.png")
    said = "train/a/pipe.png is a pipe or a device, not a file"
    assert str(refusal(tmp_path, source)) == said


def test_a_pipe_in_the_place_of_an_archive_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.zip")
    said = f"{tmp_path / 'in.zip'} is a pipe or a device, not a file"
    assert str(refusal(tmp_path, tmp_path / "in.zip")) == said


def test_a_class_folder_with_a_name_of_any_length_is_refused(tmp_path: Path) -> None:
    files = {f"{name}/{row}.png": b"" for name in ("1" * 5000, "b") for row in range(3)}
    zipped(tmp_path / "in.zip", files)
    assert "more than 100 characters" in str(refusal(tmp_path, tmp_path / "in.zip"))


def test_splits_within_the_classes_are_told_where_they_belong(tmp_path: Path) -> None:
    files = {
        f"{name}/{split}/{row}.png": b""
        for name in ("rose", "tulip")
        for split in ("train", "test")
        for row in range(3)
    }
    zipped(tmp_path / "in.zip", files)
    error = refusal(tmp_path, tmp_path / "in.zip")
    assert "folders of splits within the class folders, such as rose/train" in str(error)
    assert "train/rose" in (error.hint or "")


# What is kept


def test_facts_are_those_of_the_images_and_the_catalog_shows_them(tmp_path: Path) -> None:
    dataset = imported(tmp_path, flowers())
    levels = dataset.train_images / 255
    assert dataset.info.mean == pytest.approx(levels.mean(axis=(0, 2, 3)), rel=1e-5)
    assert dataset.info.std == pytest.approx(levels.std(axis=(0, 2, 3)), rel=1e-5)
    catalog = Catalog(tmp_path / "imported")
    assert catalog.get("own") == dataset.info
    assert catalog.all()[-1] == dataset.info
    assert catalog.sha256("own") == dataset.sha256
    assert dataset.info.imported
    assert "8 training images" in dataset.info.statistics_source
    assert open_dataset(dataset.info, data_folders(tmp_path)).sha256 == dataset.sha256
    manifest = json.loads((tmp_path / "imported" / "own" / "manifest.json").read_bytes())
    assert manifest["files"] == {
        name: sha256_of(tmp_path / "imported" / "own" / name) for name in manifest["files"]
    }
    assert len(manifest["files"]) == 4


def test_a_network_trains_on_own_images_and_learns_them(tmp_path: Path) -> None:
    """Light and dark noise."""
    shades = {"dark": 60, "light": 160}
    files = {
        f"{name}/{number:02}.png": encoded(pixels(8, 8, 3, seed=number) // 4 + shade)
        for name, shade in shades.items()
        for number in range(40)
    }
    dataset = imported(tmp_path, files)
    spec = {"dataset": "own", "model": {"depth": 1, "width": 8}, "batch_size": 16, "epochs": 5}
    events = train(order_in(tmp_path, spec, run_folder=str(tmp_path / "run")))
    assert of_kind(Started, events)[0].environment["dataset_sha256"] == dataset.sha256
    assert of_kind(Completed, events)[0].test["accuracy"] == 1.0


def test_a_color_that_never_changes_can_still_be_divided_by(tmp_path: Path) -> None:
    image = pixels(8, 8, 3)
    image[:, :, 1] = 51
    info = imported(tmp_path, two_classes(encoded(image))).info
    assert info.mean[1] == 0.2
    assert info.std[1] == 1.0
    assert info.std[0] != 1.0


def test_damaged_files_are_to_be_imported_again_and_a_damaged_manifest_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = imported(tmp_path, flowers()).info
    os.truncate(tmp_path / "imported" / "own" / "test-images.npy", 100)
    with pytest.raises(DatasetUnavailable, match="damaged"):
        open_dataset(info, data_folders(tmp_path))
    with caplog.at_level(logging.WARNING, logger="lab.datasets"):
        for damage in ("{", "[]", '{"info": {}}', '{"info": null}'):
            (tmp_path / "imported" / "own" / "manifest.json").write_text(damage)
            assert "own" not in [one.name for one in Catalog(tmp_path / "imported").all()]
    assert "manifest.json" in caplog.text
    remove_imported("own", tmp_path / "imported")
    imported(tmp_path, flowers())


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a b", "a/b", "../a", "a.b", "ä", "a" * 61, "a\n", ".own"]
)
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="no name for a data set") as caught:
        import_images(zipped(tmp_path / "in.zip", flowers()), name, tmp_path / "imported")
    assert caught.value.errors[0].pointer == "/name"
    assert not (tmp_path / "imported").exists()


def test_a_name_is_given_once_until_its_data_set_is_removed(tmp_path: Path) -> None:
    before = imported(tmp_path, flowers()).sha256
    with pytest.raises(NameTaken, match="already"):
        imported(tmp_path, flowers(train=5))
    assert Catalog(tmp_path / "imported").sha256("own") == before
    remove_imported("own", tmp_path / "imported")
    assert imported(tmp_path, flowers(train=5)).info.num_train == 10
    for built_in in ("digits", "mnist", "cifar10", "cifar100"):
        with pytest.raises(NameTaken, match="built-in"):
            import_images(tmp_path / "in.zip", built_in, tmp_path / "imported")


def test_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    imported(tmp_path, flowers())
    for name in ("other", "..", "../imported", ".own.lock", ""):
        with pytest.raises(LookupError):
            remove_imported(name, tmp_path / "imported")
    remove_imported("own", tmp_path / "imported")
    with pytest.raises(LookupError):
        remove_imported("own", tmp_path / "imported")
    assert files_below(tmp_path / "imported") == []


def test_an_open_data_set_stays_readable_when_it_is_removed(tmp_path: Path) -> None:
    dataset = imported(tmp_path, flowers())
    before = dataset.train_images.copy()
    remove_imported("own", tmp_path / "imported")
    assert np.array_equal(dataset.train_images, before)


HOLDS = """
import sys
from pathlib import Path
from lab_models.datasets.importing import reserved
with reserved("own", Path(sys.argv[1])):
    print("reserved", flush=True)
    sys.stdin.readline()
"""


def test_one_owner_imports_one_at_a_time_across_processes(tmp_path: Path) -> None:
    program = [
        sys.executable,
        "-c",
        HOLDS.replace("reserved(", "owners_turn(").replace("import reserved", "import owners_turn"),
        str(tmp_path),
    ]
    with subprocess.Popen(
        program, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "reserved\n"
        with (
            pytest.raises(ImportUnderWay, match="own imports another data set right now"),
            owners_turn("own", tmp_path),
        ):
            pass
        with owners_turn("another", tmp_path), reserved("own", tmp_path):
            assert files_below(tmp_path) == [".another.owner.lock", ".own.lock", ".own.owner.lock"]
        other.kill()
    with owners_turn("own", tmp_path):
        pass
    assert files_below(tmp_path) == []


def test_locks_that_killed_imports_left_go_with_the_next_import_once_they_are_old(
    tmp_path: Path,
) -> None:
    (tmp_path / "imported").mkdir()
    for name, age in (
        (".old.lock", 2 * importing.FORGOTTEN_SECONDS),
        (".young.lock", 0.0),
        (".old.owner.lock", 2 * importing.FORGOTTEN_SECONDS),
    ):
        (tmp_path / "imported" / name).touch()
        os.utime(tmp_path / "imported" / name, (time.time() - age,) * 2)
    imported(tmp_path, flowers())
    assert [name for name in files_below(tmp_path / "imported") if name.endswith(".lock")] == [
        ".young.lock"
    ]


def test_of_two_imports_of_one_name_the_second_is_refused_at_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", HOLDS, str(tmp_path / "imported")]
    with subprocess.Popen(
        program, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "reserved\n"
        with pytest.raises(NameTaken, match="being imported or removed right now"):
            imported(tmp_path, flowers())
        with reserved("own", tmp_path / "elsewhere"), pytest.raises(NameTaken, match="right now"):
            import_images(tmp_path / "in.zip", "own", tmp_path / "elsewhere")
        import_images(tmp_path / "in.zip", "another", tmp_path / "imported")
        other.communicate("leave\n", timeout=30)
    imported(tmp_path, flowers())


DIES = """
import os, sys
from pathlib import Path
from lab_models.datasets import importing, taking_in
importing.seal = lambda *_: os._exit(9)
importing.import_images(Path(sys.argv[1]), "own", Path(sys.argv[2]))
"""


def test_what_a_killed_import_leaves_is_no_data_set_and_goes_with_the_next_import(
    tmp_path: Path,
) -> None:
    source = zipped(tmp_path / "in.zip", flowers())
    result = subprocess.run(
        [sys.executable, "-c", DIES, str(source), str(tmp_path / "imported")],
        cwd=PROJECT,
        timeout=60,
    )
    assert result.returncode == 9
    assert (tmp_path / "imported" / ".own.tmp" / "train-images.npy").exists()
    assert [info.name for info in Catalog(tmp_path / "imported").all() if info.imported] == []
    import_images(source, "another", tmp_path / "imported")
    assert not (tmp_path / "imported" / ".own.tmp").exists()
    imported(tmp_path, flowers())


FILLS_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from lab_models.datasets.importing import import_images
from lab_models.common.errors import StorageFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    import_images(Path(sys.argv[1]), "own", Path(sys.argv[2]), size=64, enlarge=True)
except StorageFull as error:
    print(error, error.hint)
"""


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    source = zipped(tmp_path / "in.zip", flowers())
    result = subprocess.run(
        [sys.executable, "-c", FILLS_THE_DISK, str(source), str(tmp_path / "imported")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "importing 'own' failed" in result.stdout, result.stderr
    assert "free disk space" in result.stdout
    assert files_below(tmp_path / "imported") == []


def leave_free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """A disk with so much room, as the program is told."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=num_bytes))


@pytest.mark.parametrize("channels", [1, 3, None])
def test_what_would_leave_too_little_room_is_refused_before_a_byte_is_written(
    channels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 images of 8x8 with labels; grey may show only when all are decoded, and train lies there twice for a
    moment.
    """
    needed = {1: 12 * (64 + 8), 3: 12 * (192 + 8), None: 12 * (192 + 8) + 8 * 64}[channels]
    source = zipped(tmp_path / "in.zip", flowers())
    leave_free(monkeypatch, 10**6 + needed)
    with monkeypatch.context() as patched:
        patched.setattr(taking_in, "write_splits", lambda *_: pytest.fail("something was written"))
        with pytest.raises(StorageFull) as caught:
            import_images(
                source,
                "own",
                tmp_path / "imported",
                channels=channels,
                limits=ImportLimits(min_free_bytes=10**6 + 1),
            )
    assert str(caught.value).startswith(
        f"writing {needed:,} bytes would leave 1,000,000 free, less than the 1,000,001 that are kept"
    )
    assert files_below(tmp_path / "imported") == []
    import_images(
        source,
        "own",
        tmp_path / "imported",
        channels=channels,
        limits=ImportLimits(min_free_bytes=10**6),
    )


def test_who_imports_is_asked_before_a_byte_is_written_and_noted(tmp_path: Path) -> None:
    asked: list[int] = []
    imported, source = tmp_path / "imported", zipped(tmp_path / "in.zip", flowers())
    with reserved("own", imported):
        info = importing.import_reserved(
            source,
            "own",
            imported,
            importing.Wanted(),
            ImportLimits(),
            Importer("anna", asked.append),
        )
    assert (info.owner, asked) == ("anna", [12 * (192 + 8)])
    assert Catalog(imported).get("own") == info
    assert (
        Catalog(imported).disk_bytes("own")
        == sum(path.stat().st_size for path in (imported / "own").iterdir())
        > asked[0]
    )
    assert Catalog(imported).disk_bytes("other") == Catalog(imported).disk_bytes("mnist") == 0


def test_another_fault_of_the_disk_is_not_called_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(importing, "seal", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        imported(tmp_path, flowers())
    assert not isinstance(caught.value, StorageFull)
    assert files_below(tmp_path / "imported") == []


def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    """600 images of 256x256 are 118 MB of pixels; a few files at a time need a fraction of that."""
    image = encoded(np.full((16, 16, 3), 9, np.uint8) * np.arange(16, dtype=np.uint8)[:, None])
    source = zipped(
        tmp_path / "in.zip",
        {f"{name}/{number}.png": image for name in "ab" for number in range(300)},
    )
    peaks = []
    for number in range(3):  # threads that earlier tests left may allocate meanwhile
        gc.collect()
        tracemalloc.start()
        try:
            name = f"own{number}"
            import_images(source, name, tmp_path / "imported", size=256, channels=3, enlarge=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        if min(peaks) < 60_000_000:
            break
    assert min(peaks) < 60_000_000


def test_an_info_survives_its_manifest(tmp_path: Path) -> None:
    files = {
        f"{name}/{number}.png": encoded(pixels(4, 4, seed=number))
        for name in ("schön", "日本", "a b")
        for number in range(3)
    }
    info = import_images(folder(tmp_path / "source", files), "own", tmp_path / "imported")
    read = Catalog(tmp_path / "imported").get("own")
    assert isinstance(read, DatasetInfo)
    assert read == info
    assert read.class_names == ("a b", "schön", "日本")


def test_what_an_archive_of_no_end_or_nothing_is_is_said(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", flowers()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    assert "its end is missing or damaged" in (refusal(tmp_path, tmp_path / "cut.zip").hint or "")
    (tmp_path / "empty.zip").write_bytes(b"")
    assert "send the archive itself" in (refusal(tmp_path, tmp_path / "empty.zip").hint or "")


def test_a_photograph_of_64_megapixels_is_read_and_one_of_100_told_what_to_do() -> None:
    flat = io.BytesIO()
    Image.new("L", (9248, 6936), 7).save(flat, "JPEG")
    assert decode(flat.getvalue(), channels=1, size=Size(8, 8)).shape == (1, 8, 8)
    with pytest.raises(UndecodableImage, match="scale it down first"):
        decode(bomb_png(10_000), channels=1, size=Size(8, 8))
