"""Arrays in one NumPy archive become data sets as image files do."""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab_models.common.errors import StorageFull
from lab_models.datasets.importing import import_images
from lab_models.datasets.preparation import PreparedDataset, open_imported
from lab_models.datasets.refusals import ImportLimits, ImportRefused

RANDOM = np.random.RandomState(0)


def images(count: int, *shape: int) -> np.ndarray:
    return RANDOM.randint(0, 256, (count, *shape)).astype(np.uint8)


def labels(count: int) -> np.ndarray:
    return np.arange(count) % 3


def taken(tmp_path: Path, arrays: dict[str, Any], **options: Any) -> PreparedDataset:
    tmp_path.mkdir(exist_ok=True)
    np.savez_compressed(tmp_path / "own.npz", **arrays)
    info = import_images(tmp_path / "own.npz", "own", tmp_path / "imported", **options)
    return open_imported(info, tmp_path / "imported")


def refused(tmp_path: Path, arrays: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ImportRefused) as caught:
        taken(tmp_path, arrays, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
    ],
)
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_arrays_become_a_data_set_value_for_value(
    names: tuple[str, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    pixels, tested = images(12, *shape), images(6, *shape)
    arrays = dict(zip(names, (pixels, labels(12)[:, None], tested, labels(6)), strict=True))
    dataset = taken(tmp_path, arrays)
    assert dataset.info.class_names == ("0", "1", "2")
    assert dataset.info.shape == (3 if shape[-1] == 3 else 1, 8, 8)
    planes = pixels.reshape(12, 8, 8, -1).transpose(0, 3, 1, 2)
    for label in range(3):
        found = dataset.train_images[dataset.train_labels == label]
        wanted = planes[labels(12) == label]
        assert sorted(row.tobytes() for row in found) == sorted(row.tobytes() for row in wanted)
    assert (dataset.info.num_train, dataset.info.num_test) == (12, 6)


def test_published_validation_images_are_a_split_of_their_own(tmp_path: Path) -> None:
    arrays = {
        f"{split}_{part}": array
        for split, count in (("train", 12), ("val", 6), ("test", 6))
        for part, array in (("images", images(count, 8, 8)), ("labels", labels(count)))
    }
    dataset = taken(tmp_path, arrays)
    assert (dataset.info.num_train, dataset.info.num_val, dataset.info.num_test) == (18, 6, 6)
    found, wanted = dataset.train_images[-6:, 0], arrays["val_images"]
    assert sorted(row.tobytes() for row in found) == sorted(row.tobytes() for row in wanted)


def test_without_test_a_fifth_is_cut(tmp_path: Path) -> None:
    dataset = taken(tmp_path, {"x_train": images(30, 8, 8), "y_train": labels(30)})
    assert (dataset.info.num_train, dataset.info.num_test) == (24, 6)


def test_more_than_ten_classes_come_in_the_order_of_numbers(tmp_path: Path) -> None:
    dataset = taken(tmp_path, {"x_train": images(60, 8, 8), "y_train": np.arange(60) % 12})
    assert dataset.info.class_names == tuple(map(str, range(12)))


@pytest.mark.parametrize("order", ["C", "F"])
def test_either_order_in_memory_is_read(order: Any, tmp_path: Path) -> None:
    pixels = images(12, 8, 6)
    dataset = taken(
        tmp_path, {"x_train": np.array(pixels, order=order), "y_train": labels(12)}, size=(8, 6)
    )
    rows = {row.tobytes() for row in (*dataset.train_images[:, 0], *dataset.test_images[:, 0])}
    assert rows == {row.tobytes() for row in pixels}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.zeros(3)}, "no images with labels: a.npy"),
        ({"x_train": images(6, 8, 8)}, "no images with labels"),
        ({"x_train": images(6, 8, 8) / 255, "y_train": labels(6)}, "holds float64"),
        ({"x_train": images(6, 8), "y_train": labels(6)}, "has the shape (6, 8)"),
        ({"x_train": images(6, 8, 8, 2), "y_train": labels(6)}, "has the shape (6, 8, 8, 2)"),
        ({"x_train": images(6, 8, 8), "y_train": labels(5)}, "for 6 images"),
        ({"x_train": images(6, 8, 8), "y_train": labels(6) / 1}, "holds float64"),
        ({"x_train": images(6, 8, 8), "y_train": np.eye(6, dtype=int)}, "6 numbers an image"),
        ({"x_train": images(0, 8, 8), "y_train": labels(0)}, "is empty, of the shape (0, 8, 8)"),
        ({"x_train": images(6, 8, 8), "y_train": labels(6) - 1}, "labels from -1 to 1"),
        ({"x_train": np.array([{}] * 6), "y_train": labels(6)}, "Python objects"),
    ],
)
def test_what_cannot_be_taken_is_said(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path, arrays)


@pytest.mark.parametrize("change", [lambda b: b[:-3], lambda b: b[:20], lambda b: b"x" + b[1:]])
def test_a_damaged_array_is_said(change: Any, tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, images(6, 8, 8))
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("x_train.npy", change(file.getvalue()))
        archive.writestr("y_train.npy", file.getvalue())
    with pytest.raises(ImportRefused, match=r"x_train.npy cannot be read as an array"):
        import_images(tmp_path / "own.npz", "own", tmp_path / "imported")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (), 'fortran_order': False, 'shape': (6, 8, 8)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-6, -8, 8)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (6, 8, 10**30)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (600000000000, 8, 8)}",
        "{'descr': ",
        "(" * 9000,
        "-" * 9000 + "1",
        "\0",
    ],
)
def test_a_strangers_header_is_no_array(header: str, tmp_path: Path) -> None:
    """NumPy reads it with Python's parser, which answers in many ways."""
    said = header.encode()
    content = b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said + bytes(384)
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("x_train.npy", content)
        archive.writestr("y_train.npy", content)
    with pytest.raises(ImportRefused, match=r"x_train.npy cannot be read as an array"):
        import_images(tmp_path / "own.npz", "own", tmp_path / "imported")


def test_too_many_images_are_refused_before_each_has_a_name(tmp_path: Path) -> None:
    arrays = {"x_train": images(12, 8, 8), "y_train": labels(12)}
    said = refused(tmp_path, arrays, limits=ImportLimits(max_images=11))
    assert said == "12 images are more than 11"


def test_the_limit_of_one_file_is_that_of_one_image(tmp_path: Path) -> None:
    """MedMNIST's PathMNIST has 212 MB of training images in one array."""
    arrays = {"x_train": images(12, 8, 8), "y_train": labels(12)}
    assert taken(tmp_path, arrays, limits=ImportLimits(max_file_bytes=200)).info.num_train == 9
    said = refused(tmp_path / "again", arrays, limits=ImportLimits(max_file_bytes=60))
    assert "an image of x_train.npy has 64 bytes, more than 60" in said


def test_arrays_are_unpacked_beside_the_data_sets_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the temporary folder lies in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    arrays = {"x_train": images(12, 80, 80), "y_train": labels(12)}
    assert taken(tmp_path, arrays).info.num_train == 9
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StorageFull, match=r"writing 77,\d\d\d bytes"):
        taken(tmp_path / "full", arrays, limits=ImportLimits(min_free_bytes=2 * free))
    assert [path.name for path in (tmp_path / "full" / "imported").iterdir()] == []


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "touched",))

    arrays = {"x_train": np.array([Evil()], dtype=object), "y_train": labels(1)}
    assert "Python objects" in refused(tmp_path, arrays)
    assert not (tmp_path / "touched").exists()
