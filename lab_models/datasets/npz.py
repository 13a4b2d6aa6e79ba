"""Images and labels as arrays in one NumPy archive, as MedMNIST and Keras have them, seen as image files in class
folders. Nothing here loads torch.
"""

import io
import shutil
import tempfile
import tokenize
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from lab_models.common.files import FULL_DISK, require_room
from lab_models.datasets.archives import StoredFiles
from lab_models.datasets.decoding import UNDECODABLE
from lab_models.datasets.name_letters import Guess
from lab_models.datasets.refusals import ImportLimits, ImportRefused, UnreadableFile, printable

SPLITS: Final = ("train", "test", "val")
"""As they are called in the archive."""

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

# a header is a Python literal, which NumPy hands to Python's parser
UNREADABLE: Final = (*UNDECODABLE, UnreadableFile, MemoryError, tokenize.TokenError)


@dataclass(frozen=True)
class LabeledImages:
    """A split: `images` (N, H, W) or (N, H, W, 3), and `labels` (N,) from 0."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


class ArrayFiles:
    """`archives.ImageFiles` over arrays: `train/7/12.png` is the image of row 12, whose label is 7."""

    def __init__(self, parts: Mapping[str, LabeledImages]) -> None:
        self._rows = {
            f"{split}/{int(label)}/{split}-{row}.png": part.images[row]
            for split, part in parts.items()
            for row, label in enumerate(part.labels)
        }
        self.names = sorted(self._rows)
        self.folders: list[str] = []
        self.guessed: Guess = ""

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
def array_files(files: StoredFiles, limits: ImportLimits, scratch: Path) -> Iterator[ArrayFiles]:
    """The images of an archive's arrays, which lie unpacked in the folder `scratch` meanwhile, in files without a name.
    Raises ImportRefused, or StorageFull before anything is unpacked.
    """
    names = {
        split: pair for split in SPLITS for pair in [_pair(split, files.names)] if pair is not None
    }
    if "train" not in names:
        raise ImportRefused(
            f"these arrays are no images with labels: {', '.join(map(printable, files.names[:10]))}",
            hint=HINT,
        )
    unpacked = sum(files.size(name) for pair in names.values() for name in pair)
    require_room(scratch, unpacked, limits.min_free_bytes)
    with ExitStack() as stack:
        parts = {
            split: checked_part(
                *(_mapped(files, name, scratch, stack) for name in pair),
                names=pair,
                limits=limits,
            )
            for split, pair in names.items()
        }
        yield ArrayFiles(parts)


def _pair(split: str, members: Collection[str]) -> tuple[str, str] | None:
    for images, labels in SPELLINGS:
        pair = images.format(split) + ".npy", labels.format(split) + ".npy"
        if all(name in members for name in pair):
            return pair
    return None


def _mapped(files: StoredFiles, name: str, scratch: Path, stack: ExitStack) -> npt.NDArray[Any]:
    """One array, memory-mapped."""
    file = stack.enter_context(tempfile.TemporaryFile(dir=scratch, prefix="."))  # noqa: SIM115
    try:
        with files.open(name) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        return _array_in(file)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        raise ImportRefused(
            f"{printable(name)} cannot be read as an array: {error or type(error).__name__}",
            hint=HINT,
        ) from error


def _array_in(file: IO[bytes]) -> npt.NDArray[Any]:
    """Raises one of UNREADABLE for what is no array of numbers."""
    there = file.seek(0, 2)
    file.seek(0)
    is_first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    start, size = file.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size <= 0:
        raise ValueError(f"it is empty, of the shape {shape}")
    if start + size > there:
        raise ValueError(f"it is cut off: {there:,} bytes of {start + size:,}")
    order = "F" if is_fortran else "C"
    return np.memmap(file, dtype, "r", start, shape, order)  # type: ignore[call-overload, no-any-return]


def checked_part(
    images: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    names: tuple[str, str],
    limits: ImportLimits,
) -> LabeledImages:
    """The arrays as a split; raises ImportRefused for what is none."""
    shape = images.shape
    if images.dtype != np.uint8:
        raise ImportRefused(
            f"{names[0]} holds {images.dtype}: as uint8 from 0 to 255 it can be taken", hint=HINT
        )
    if len(shape) == 4 and shape[3] == 1:
        images = images[..., 0]
    elif len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise ImportRefused(f"{names[0]} has the shape {shape}", hint=HINT)
    # before a name is made for each
    if len(images) > limits.max_images:
        raise ImportRefused(f"{len(images):,} images are more than {limits.max_images:,}")
    if images[0].nbytes > limits.max_file_bytes:
        raise ImportRefused(
            f"an image of {names[0]} has {images[0].nbytes:,} bytes, more than {limits.max_file_bytes:,}"
        )
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
    if not 0 <= whole.min() <= whole.max() <= LARGEST_LABEL:
        raise ImportRefused(f"{names[1]} has labels from {whole.min()} to {whole.max()}", hint=HINT)
    return LabeledImages(images, whole)
