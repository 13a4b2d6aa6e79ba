"""What an import notices about images, and what it can be told to do about it."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab_models.datasets.decoding import Rendition, decode, peak_of
from lab_models.datasets.layout import arrange
from lab_models.datasets.noticing import ImageContents, look_alikes, notices
from tests.lab_models.test_importing import (
    Files,
    encoded,
    flowers,
    folder,
    import_images,
    imported,
    pixels,
    refusal,
    zipped,
)


def drawings(ink: int, count: int = 3, mode: str = "RGBA") -> dict[str, bytes]:
    """Transparent but for a stroke of one color, at another place in each."""
    found = {}
    for name in "ab":
        for number in range(count):
            canvas = np.zeros((8, 8, 4), np.uint8)
            canvas[..., :3] = ink
            canvas[number + 1, 1 + (name == "b") : 7, 3] = 255
            found[f"{name}/{number}.png"] = encoded(Image.fromarray(canvas, "RGBA").convert(mode))
    return found


def noticed(tmp_path: Path, files: Files, **options: object) -> tuple[str, ...]:
    return imported(tmp_path, files, **options).notes


def about(sentences: tuple[str, ...], word: str) -> str:
    """The one sentence with that word."""
    (found,) = [sentence for sentence in sentences if word in sentence]
    return found


def test_images_as_they_should_be_are_not_remarked_on(tmp_path: Path) -> None:
    assert noticed(tmp_path, flowers()) == ()


def test_black_ink_on_nothing_lies_on_white(tmp_path: Path) -> None:
    """It lay on black: each image was black everywhere, with not a word."""
    dataset = imported(tmp_path, drawings(ink=0))
    assert {int(image.min()) for image in dataset.train_images} == {0}
    assert {int(image.max()) for image in dataset.train_images} == {255}
    assert about(dataset.notes, "laid on white")
    assert dataset.info.ground == "white"


def test_white_ink_on_nothing_lies_on_black_as_before(tmp_path: Path) -> None:
    dataset = imported(tmp_path, drawings(ink=255))
    assert dataset.train_images[0].mean() < 128
    assert (dataset.info.ground, dataset.notes) == ("black", ())


def test_the_ground_can_be_chosen(tmp_path: Path) -> None:
    dataset = imported(tmp_path, drawings(ink=200), background="white")
    assert (dataset.train_images.max(), dataset.info.ground) == (255, "white")
    assert "background=white" in str(
        refusal(
            tmp_path / "black", zipped(tmp_path / "z", drawings(ink=0)), background="black"
        ).hint
    )


def test_half_transparent_pixels_are_mixed_with_the_ground() -> None:
    image = Image.new("RGBA", (2, 2), (100, 0, 200, 128))
    black, white = (
        decode(encoded(image), channels=3, rendition=Rendition(ground))[:, 0, 0].tolist()
        for ground in ("black", "white")
    )
    assert black == pytest.approx([50, 0, 100], abs=1)
    assert white == pytest.approx([177, 127, 227], abs=2)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_set_without_any_content_is_refused(value: int, tmp_path: Path) -> None:
    blank = {name: encoded(np.full((8, 8), value, np.uint8)) for name in flowers()}
    assert "one color everywhere" in str(refusal(tmp_path, blank))


def test_single_blank_images_are_counted_and_named(tmp_path: Path) -> None:
    files = {**flowers(), "train/a/0.png": encoded(np.zeros((8, 8, 3), np.uint8))}
    assert noticed(tmp_path, files) == ("1 of 12 images has one color everywhere: train/a/0.png",)


def test_pictures_on_both_sides_of_a_split_are_said(tmp_path: Path) -> None:
    files = flowers()
    files["test/a/0.png"] = files["train/a/1.png"]
    files["test/b/1.png"] = encoded(Image.open(io.BytesIO(files["train/b/0.png"])), "BMP")
    said = about(noticed(tmp_path, files), "in train too")
    assert said.startswith(
        "2 of 4 test images are in train too, such as test/a/0.png and train/a/1.png"
    )


def test_copies_that_the_cut_of_test_puts_on_both_sides_are_said(tmp_path: Path) -> None:
    """Three copies of two pictures, as a demonstration has them."""
    files = {
        f"{name}/{number}.png": encoded(pixels(8, 8, 3, seed=ord(name)))
        for name in "ab"
        for number in range(3)
    }
    sentences = noticed(tmp_path, files)
    assert about(sentences, "in train too").startswith("2 of 2 test images are in train too")
    assert "2 of 4 training images are copies of others in train" in sentences


def test_contradictory_labels_are_said(tmp_path: Path) -> None:
    files = flowers()
    files["train/a/0.png"] = files["train/b/0.png"]
    assert noticed(tmp_path, files) == (
        "1 picture carries more than one label, such as train/a/0.png and train/b/0.png",
        "1 of 8 training images is a copy of another in train",
    )


@pytest.mark.parametrize(("depth", "highest"), [(np.uint8, 9), (np.uint16, 1023)])
def test_a_sliver_of_the_range_is_said_and_stretched_on_request(
    depth: type[np.unsignedinteger], highest: int, tmp_path: Path
) -> None:
    """Masks of 0 to 9, and an instrument with ten bits in files of sixteen."""
    random = np.random.RandomState(0)
    files = {
        name: encoded(Image.fromarray(random.randint(0, highest + 1, (8, 8)).astype(depth)))
        for name in flowers()
    }
    files["train/a/0.png"] = encoded(Image.fromarray(np.eye(8, dtype=depth) * depth(highest)))
    assert about(noticed(tmp_path, files), "stretch=true")
    (tmp_path / "stretched").mkdir()
    dataset = imported(tmp_path / "stretched", files, stretch=True)
    assert dataset.train_images.max() == 255
    assert len(np.unique(dataset.train_images)) >= 10
    assert dataset.notes == ()


def test_one_factor_stretches_all_images(tmp_path: Path) -> None:
    files = {
        name: encoded(np.full((8, 8), 10, np.uint8) * np.tri(8, dtype=np.uint8))
        for name in flowers()
    }
    files |= {
        name: encoded(np.full((8, 8), 20, np.uint8) * np.tri(8, dtype=np.uint8))
        for name in files
        if "/b/" in name
    }
    dataset = imported(tmp_path, files, stretch=True)
    assert [int(dataset.train_images[dataset.train_labels == label].max()) for label in (0, 1)] == [
        128,
        255,
    ]
    assert dataset.info.peak == pytest.approx(20 / 255)


def test_the_peak_is_that_of_the_files_own_range() -> None:
    assert peak_of(encoded(np.full((4, 4), 51, np.uint8))) == pytest.approx(0.2)
    assert peak_of(encoded(Image.fromarray(np.full((4, 4), 13107, np.uint16)))) == pytest.approx(
        0.2
    )


@pytest.mark.parametrize(("side", "is_said"), [(300, True), (225, True), (64, False)])
def test_images_of_which_little_is_left_are_said(side: int, is_said: bool, tmp_path: Path) -> None:
    files = flowers(shape=(side, side, 3), train=2, test=1)
    said = [note for note in noticed(tmp_path, files) if "were scaled to 32x32" in note]
    assert bool(said) is is_said


def test_a_size_that_was_asked_for_is_not_remarked_on(tmp_path: Path) -> None:
    found = noticed(tmp_path, flowers(shape=(300, 300, 3), train=2, test=1), size=16)
    assert not any("were scaled" in one for one in found)


@pytest.mark.parametrize("make", [zipped, folder])
def test_a_class_without_images_is_said(make: object, tmp_path: Path) -> None:
    files = flowers()
    if make is folder:
        source = folder(tmp_path / "source", files)
        (source / "train" / "c").mkdir()
        (source / "train" / "d").mkdir()
        (source / "docs").mkdir()
    else:
        source = zipped(
            tmp_path / "in.zip", {**files, "train/c/": b"", "train/d/": b"", "docs/": b""}
        )
    info = import_images(source, "own", tmp_path / "imported")
    assert info.noticed == ("c, d hold no image, and are left out",)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ("train/c/notes.txt", "c holds no image, and is left out"),
        ("train/c/Thumbs.db", "c holds no image, and is left out"),
        ("train/c/__MACOSX/._0.png", "c holds no image, and is left out"),
        ("train/c/deep/", "c holds no image, and is left out"),
        ("train/a/x.png/", "x.png holds no image, and is left out"),
    ],
)
def test_a_class_that_holds_something_else_is_said(beside: str, said: str, tmp_path: Path) -> None:
    assert noticed(tmp_path, {**flowers(), beside: b""}) == (said,)


def test_a_class_without_images_on_both_sides_is_told_by_its_places(tmp_path: Path) -> None:
    files = {**flowers(), "train/c/": b"", "test/c/": b""}
    said = "test/c, train/c hold no image, and are left out"
    assert noticed(tmp_path, files) == (said,)


def test_folders_beside_the_classes_are_passed_over_without_a_word(tmp_path: Path) -> None:
    beside = {"docs/read.txt": b"x", "train/a/notes.txt": b"x", ".git/x/": b"", "train/a/.x/y": b""}
    assert noticed(tmp_path, {**flowers(), **beside}) == ()


@pytest.mark.parametrize(
    "names", [("Cat", "cat"), ("x y", "x  y"), ("x y", "x_y"), ("1", "\uff11")]
)
def test_classes_that_look_alike_are_said(names: tuple[str, str], tmp_path: Path) -> None:
    files = {
        f"{split}/{name}/{number}.png": encoded(
            pixels(8, 8, 3, seed=100 * (split == "test") + 10 * place + number)
        )
        for split in ("train", "test")
        for place, name in enumerate(names)
        for number in range(2)
    }
    first, second = sorted(names)
    said = about(noticed(tmp_path, files), "look alike")
    assert said == f"these classes look alike: {first!r} and {second!r}"


@pytest.mark.parametrize(
    ("names", "said"),
    [(("a", "a "), "'a' and 'a '"), (("\u00e9", "e\u0301"), r"'e\u0301' and '\xe9'")],
)
def test_folders_that_read_alike_are_one_class_and_that_is_said(
    names: tuple[str, str], said: str, tmp_path: Path
) -> None:
    """A zip of macOS has its letters in parts, and one of Windows has them whole."""
    files = {
        f"{name}/{place}{number}.png": encoded(pixels(8, 8, 3, seed=10 * place + number))
        for place, name in enumerate((*names, "other"))
        for number in range(5)
    }
    info = import_images(zipped(tmp_path / "in.zip", files), "own", tmp_path / "imported")
    assert info.class_names == tuple(sorted((names[0], "other")))
    assert info.num_train + info.num_test == 15
    assert (
        about(info.noticed, "read alike") == f"these folders read alike and are one class: {said}"
    )


def test_classes_of_very_different_sizes_are_said(tmp_path: Path) -> None:
    files = {
        f"train/{name}/{number}.png": encoded(pixels(8, 8, 3, seed=1000 * ord(name) + number))
        for name, count in (("a", 40), ("b", 4))
        for number in range(count)
    }
    said = about(noticed(tmp_path, files), "differ in size")
    assert "11 times: 32 training images of a, 3 of b" in said


def test_a_bad_file_in_a_hundred_is_left_out_on_request_and_named(tmp_path: Path) -> None:
    files = flowers(train=50, test=5)
    whole = files["train/b/7.png"]
    files["train/b/7.png"] = whole[: len(whole) // 2]
    assert refusal(tmp_path, files).errors[0].pointer == "train/b/7.png"
    dataset = imported(tmp_path, files, skip_bad=True)
    assert (dataset.info.num_train, dataset.info.num_test) == (99, 10)
    assert about(dataset.notes, "left out").startswith(
        "1 file could not be read and was left out: train/b/7.png (damaged"
    )


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_bad_header_is_left_out_as_well(content: bytes, tmp_path: Path) -> None:
    files = {**flowers(train=50, test=5), "test/a/0.png": content}
    dataset = imported(tmp_path, files, skip_bad=True)
    assert (dataset.info.num_train, dataset.info.num_test) == (100, 9)
    assert about(dataset.notes, "test/a/0.png")


def test_more_bad_files_are_no_accident(tmp_path: Path) -> None:
    files = {
        **flowers(train=50, test=5),
        "test/a/0.png": b"",
        "train/a/0.png": b"",
        "train/a/1.png": b"x",
    }
    refused = refusal(tmp_path, files, skip_bad=True)
    assert "more than 1 of 110 files cannot be read" in str(refused)
    assert [error.pointer for error in refused.errors] == ["train/a/0.png", "train/a/1.png"]


@pytest.mark.parametrize(
    ("bad", "left"),
    [
        ("train/a/0.png", "a the files that can be read are too few: 1 to train on, 1 to test on"),
        ("test/b/0.png", "b the files that can be read are too few: 2 to train on, 0 to test on"),
    ],
)
@pytest.mark.parametrize("is_header_bad", [True, False])
def test_a_class_that_would_lose_too_many_is_refused(
    bad: str, left: str, is_header_bad: bool, tmp_path: Path
) -> None:
    files = flowers(train=2, test=1)
    files[bad] = b"" if is_header_bad else files[bad][: len(files[bad]) // 2]
    assert left in str(refusal(tmp_path, files, skip_bad=True))


def test_notices_are_kept_with_the_data_set(tmp_path: Path) -> None:
    imported(tmp_path, {**flowers(), "train/a/0.png": encoded(np.zeros((8, 8, 3), np.uint8))})
    manifest = json.loads((tmp_path / "imported" / "own" / "manifest.json").read_text())
    assert len(manifest["info"]["noticed"]) == 1


@given(
    train=st.lists(st.integers(0, 5), min_size=4, max_size=12),
    test=st.lists(st.integers(0, 5), min_size=2, max_size=8),
)
def test_copies_are_counted_as_a_slow_way_counts_them(train: list[int], test: list[int]) -> None:
    """Pictures are numbers; train and test alternate between two classes."""
    names = [
        f"{split}/{'ab'[place % 2]}/{place}.png"
        for split, pictures in (("train", train), ("test", test))
        for place in range(len(pictures))
    ]
    layout = arrange(names)
    picture = dict(zip(names, [*train, *test], strict=True))
    ordered = [picture[name] for name, _ in (*layout.train, *layout.test)]
    contents = ImageContents(
        np.array(ordered, np.uint64),
        np.zeros(len(ordered), np.uint8),
        np.full(len(ordered), 255, np.uint8),
    )
    labels: dict[int, set[int]] = {}
    for name, label in (*layout.train, *layout.test):
        labels.setdefault(picture[name], set()).add(label)
    leaked = sum(one in train for one in test)
    contradictory = sum(len(found) > 1 for found in labels.values())
    copies = len(train) - len(set(train))
    said = "\n".join(notices(layout, contents))
    for count, words in (
        (leaked, f"{leaked} of {len(test)} test images"),
        (contradictory, f"{contradictory} picture"),
        (copies, f"{copies} of {len(train)} training images"),
    ):
        assert (words in said) is (count > 0)


def test_letters_of_other_scripts_that_look_the_same_are_told_by_their_numbers() -> None:
    assert look_alikes(["cat", "c\u0430t"]) == (r"these classes look alike: 'cat' and 'c\u0430t'")
    assert look_alikes(["\u263a", "\u263a\ufe0f", "\u0441\u043e\u043a", "cok"]) == (
        r"these classes look alike: '\u263a' and '\u263a\ufe0f', '\u0441\u043e\u043a' and 'cok'"
    )
    assert look_alikes(["дом", "dom", "猫", "狗", "a", "b"]) is None


def test_a_sliver_far_from_black_is_said_too(tmp_path: Path) -> None:
    shifted = {
        name: encoded(200 + pixels(8, 8, seed=place) // 5)
        for place, name in enumerate(f"{c}/{n}.png" for c in "ab" for n in range(4))
    }
    assert "all values of all images lie between 200 and" in about(
        noticed(tmp_path, shifted), "lie"
    )
    instrument = {  # 12 bits above the middle of 16, as computed tomography is kept
        name: encoded(32768 + 16 * pixels(8, 8, seed=place).astype(np.uint16))
        for place, name in enumerate(f"{c}/{n}.png" for c in "ab" for n in range(4))
    }
    (tmp_path / "deep").mkdir()
    assert about(noticed(tmp_path / "deep", instrument), "lie between").startswith(
        "all values of all images lie between 128 and 143 of 255"
    )
