"""The idx files of MNIST, found as people keep them and read: packed or not, beside each other or in torchvision's
folders. Nothing here loads torch.
"""

import gzip
import math
from collections.abc import Iterable, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt

MNIST_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""As they were published, without `.gz`."""

FOLDERS: Final = ("MNIST/raw", "raw", ".")
UNSIGNED_BYTES: Final = 0x08
LARGEST: Final = 1 << 30


def find_mnist(roots: Iterable[Path]) -> tuple[Path, ...] | None:
    """The four files, in the order of `MNIST_FILES`, in the first place that has them all; their names may have dots
    for hyphens (`train-images.idx3-ubyte`) and `.gz` at the end.
    """
    return find_together(MNIST_FILES, FOLDERS, roots)


def find_together(
    names: Sequence[str], folders: Sequence[str], roots: Iterable[Path]
) -> tuple[Path, ...] | None:
    """The files, in the order of their names, in the first of the folders below the first root that has them all."""
    for folder in (root / folder for root in roots for folder in folders):
        found = [path for path in (named_idx(folder, name) for name in names) if path is not None]
        if len(found) == len(names):
            return tuple(found)
    return None


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of an idx file of bytes (http://yann.lecun.com/exdb/mnist/, "THE IDX FILE FORMAT"): two zeros, the
    type, the number of dimensions, each as a big-endian int32, and the numbers. Raises ValueError for what is none,
    OSError and EOFError for what cannot be read.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        shape = read_shape(file, path.name)
        size = math.prod(shape)
        if size > LARGEST:
            raise ValueError(f"{path.name} has an impossible shape: {shape}")
        content = file.read(size + 1)
    if len(content) != size:
        more = "more" if len(content) > size else f"{len(content):,}"
        raise ValueError(f"{path.name} says that it holds {size:,} bytes and has {more}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_shape(file: IO[bytes] | BufferedIOBase, name: str) -> tuple[int, ...]:
    """The shape that the header says, behind which the file then stands; raises ValueError for what is no idx file of
    bytes.
    """
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != UNSIGNED_BYTES:
        raise ValueError(f"{name} is no idx file of bytes")
    sizes = file.read(4 * head[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">i4"))
    if len(shape) != head[3] or min(shape, default=0) < 0:
        raise ValueError(f"{name} has an impossible shape: {shape}")
    return shape


def named_idx(folder: Path, name: str) -> Path | None:
    """The file of that name in the folder; of idx files also packed, or with a dot for the last hyphen."""
    stem, is_idx, kind = name.rpartition("-idx")
    spellings = (name, f"{stem}.idx{kind}") if is_idx else (name,)
    ends = ("", ".gz") if is_idx else ("",)
    candidates = (folder / f"{spelling}{end}" for spelling in spellings for end in ends)
    return next((path for path in candidates if path.is_file()), None)
