"""Images and labels as arrays in one NumPy archive, as MedMNIST and Keras have them, seen as image files in class
folders. Nothing here loads torch.
"""

import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from lab_models.datasets.refusals import ImportRefused, printable

SPLITS: Final = {"train": "train", "test": "test", "val": "train"}
"""Splits by their names in the archive, and the folder that their images go to: val is cut from train by each
experiment.
"""

SPELLINGS: Final = (
    ("{}_images", "{}_labels"),
    ("x_{}", "y_{}"),
    ("X_{}", "y_{}"),
    ("{}_x", "{}_y"),
)
"""Names of a split's images and labels: MedMNIST's, Keras's and scikit-learn's, and the reverse."""

HINT: Final = (
    "images are (number, height, width) or (number, height, width, 3) of uint8, labels (number,) or (number, 1) of"
    " whole numbers from 0: np.savez_compressed('own.npz', x_train=…, y_train=…, x_test=…, y_test=…)"
)
LARGEST_LABEL: Final = 100_000


@dataclass(frozen=True)
class _Part:
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


class ArrayFiles:
    """`archives.ImageFiles` over arrays: `train/7/12.png` is the image of row 12, whose label is 7."""

    def __init__(self, parts: Mapping[str, _Part]) -> None:
        self._rows = {
            f"{SPLITS[split]}/{int(label)}/{split}-{row}.png": part.images[row]
            for split, part in parts.items()
            for row, label in enumerate(part.labels)
        }
        self.names = sorted(self._rows)
        self.folders: list[str] = []

    def open(self, name: str) -> IO[bytes]:
        """The image as an uncompressed PNG."""
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(self._rows[name])).save(file, "PNG", compress_level=0)
        file.seek(0)
        return file

    def read(self, name: str) -> bytes:
        """The same, whole."""
        return self.open(name).read()


@contextmanager
def array_files(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]
) -> Iterator[ArrayFiles]:
    """The images of an archive's arrays, which lie unpacked on the disk meanwhile. Raises ImportRefused."""
    names = {
        split: pair for split in SPLITS for pair in [_pair(split, members)] if pair is not None
    }
    if "train" not in names:
        raise ImportRefused(
            f"these arrays are no images with labels: {', '.join(map(printable, list(members)[:10]))}",
            hint=HINT,
        )
    with ExitStack() as stack:
        parts = {
            split: _part(*(_mapped(archive, members[name], stack) for name in pair), names=pair)
            for split, pair in names.items()
        }
        yield ArrayFiles(parts)


def _pair(split: str, members: Mapping[str, zipfile.ZipInfo]) -> tuple[str, str] | None:
    for images, labels in SPELLINGS:
        pair = images.format(split) + ".npy", labels.format(split) + ".npy"
        if all(name in members for name in pair):
            return pair
    return None


def _mapped(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, stack: ExitStack
) -> npt.NDArray[Any]:
    """One array, memory-mapped from a file without a name."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is its context
    try:
        with archive.open(member) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        size, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, file.seek(0, 2)
        start = _length_of_header(file)
        if size <= 0 or start + size > there:
            raise ValueError(f"it is cut off: {there:,} bytes of {start + size:,}")
        order = "F" if is_fortran else "C"
        return np.memmap(file, dtype, "r", start, shape, order)  # type: ignore[call-overload, no-any-return]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ImportRefused(
            f"{printable(member.filename)} cannot be read as an array: {error}", hint=HINT
        ) from error


def _length_of_header(file: IO[bytes]) -> int:
    file.seek(0)
    np.lib.format.read_magic(file)
    file.seek(6)
    major = file.read(2)[0]
    width = 2 if major == 1 else 4
    return 8 + width + int.from_bytes(file.read(width), "little")


def _part(images: npt.NDArray[Any], labels: npt.NDArray[Any], *, names: tuple[str, str]) -> _Part:
    shape = images.shape
    if images.dtype != np.uint8:
        raise ImportRefused(
            f"{names[0]} holds {images.dtype}: as uint8 from 0 to 255 it can be taken", hint=HINT
        )
    if len(shape) == 4 and shape[3] == 1:
        images = images[..., 0]
    elif len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise ImportRefused(f"{names[0]} has the shape {shape}", hint=HINT)
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise ImportRefused(
            f"{names[1]} has {labels.shape[1]} numbers an image: an image has one class here",
            hint=HINT,
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(images):
        raise ImportRefused(
            f"{names[1]} holds {labels.dtype} of the shape {labels.shape}, for {len(images):,} images",
            hint=HINT,
        )
    whole = np.asarray(labels, np.int64).reshape(-1)
    if len(whole) and not 0 <= whole.min() <= whole.max() <= LARGEST_LABEL:
        raise ImportRefused(f"{names[1]} has labels from {whole.min()} to {whole.max()}", hint=HINT)
    return _Part(images, whole)
