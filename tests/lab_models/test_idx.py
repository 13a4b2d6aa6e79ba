"""The idx files of MNIST, as people keep them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from lab_models.datasets.idx import MNIST_FILES, find_mnist, read_idx


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(">HBB", 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}i", *array.shape)
        + array.tobytes()
    )


PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("folder", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_the_four_files_are_found_and_read(
    folder: str, end: str, dotted: bool, tmp_path: Path
) -> None:
    place = tmp_path / "second" / folder
    place.mkdir(parents=True)
    for name in MNIST_FILES:
        content = idx(PIXELS)
        spelled = name.replace("-idx", ".idx") if dotted else name
        (place / (spelled + end)).write_bytes(gzip.compress(content) if end else content)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / MNIST_FILES[0]).write_bytes(idx(PIXELS))
    found = find_mnist([tmp_path / "first", tmp_path / "second"])
    assert found is not None
    assert [path.parent for path in found] == [place] * 4
    assert all(np.array_equal(read_idx(path), PIXELS) for path in found)


def test_three_files_are_not_four(tmp_path: Path) -> None:
    for name in MNIST_FILES[:3]:
        (tmp_path / name).write_bytes(idx(PIXELS))
    assert find_mnist([tmp_path]) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no idx file of bytes"),
        (b"PK\x03\x04" + b"0" * 40, "no idx file of bytes"),
        (struct.pack(">HBB", 0, 13, 1) + struct.pack(">i", 1) + b"0000", "no idx file of bytes"),
        (idx(PIXELS)[:-1], "says that it holds 24 bytes and has 23"),
        (idx(PIXELS) + b"0", "has more"),
        (struct.pack(">HBB2i", 0, 8, 2, -1, 5), "impossible shape"),
        (struct.pack(">HBB2i", 0, 8, 2, 1 << 30, 1 << 30), "impossible shape"),
        (struct.pack(">HBBi", 0, 8, 3, 5), "impossible shape"),
    ],
)
def test_what_is_no_idx_file_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / MNIST_FILES[0]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_idx(path)


def test_a_damaged_packed_file_is_an_error_that_readers_know(tmp_path: Path) -> None:
    path = tmp_path / (MNIST_FILES[0] + ".gz")
    whole = gzip.compress(idx(np.random.RandomState(0).randint(0, 256, (50, 28, 28), np.uint8)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EOFError):
        read_idx(path)
