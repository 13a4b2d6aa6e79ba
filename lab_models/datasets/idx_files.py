"""The idx files of MNIST and of sets in its form (Fashion-MNIST, KMNIST, EMNIST), seen as image files in class folders.
Nothing here loads torch.
"""

import gzip
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from lab_models.datasets.archives import ImageFiles, StoredFiles
from lab_models.datasets.idx import read_shape
from lab_models.datasets.member_names import IDX_NAME
from lab_models.datasets.npz import ArrayFiles, LabeledImages, checked_part
from lab_models.datasets.packed import Packing
from lab_models.datasets.refusals import (
    DAMAGED,
    ImportLimits,
    ImportRefused,
    printable,
    refuse_damaged,
)

SPLITS: Final = {"train": "train", "t10k": "test", "test": "test"}
READ_BYTES: Final = 1 << 20


@contextmanager
def idx_files(files: StoredFiles, limits: ImportLimits, scratch: Path) -> Iterator[ImageFiles]:
    """The images of idx files of bytes, packed by gzip or not, which lie unpacked in the folder `scratch` meanwhile.
    Raises ImportRefused, or StorageFull.
    """
    pairs = _pairs(files.names)
    with ExitStack() as stack:
        parts: dict[str, LabeledImages] = {}
        for split, pair in pairs.items():
            images, labels = (
                _mapped(files, pair[kind], limits, scratch, stack) for kind in ("images", "labels")
            )
            parts[split] = checked_part(
                images, labels, names=(pair["images"], pair["labels"]), limits=limits
            )
        yield ArrayFiles(parts)


def _pairs(names: Collection[str]) -> dict[str, dict[str, str]]:
    """By split the file of the images and that of the labels."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        match = IDX_NAME.search(PurePosixPath(name).name)
        if match is None:
            continue
        split, kind = SPLITS[match["split"].lower()], match["kind"].lower()
        if kind in found[split]:
            raise ImportRefused(
                f"{printable(found[split][kind])} and {printable(name)} are both the {kind} of {split}",
                hint="pack the files of one data set",
            )
        found[split][kind] = name
    short = [split for split, pair in found.items() if len(pair) < 2]
    if short or "train" not in found:
        missing = short[0] if short else "train"
        raise ImportRefused(
            f"of {missing} the idx files of images and of labels are not both there",
            hint="pack train-images-idx3-ubyte and train-labels-idx1-ubyte, and those of t10k, together",
        )
    return found


def _mapped(
    files: StoredFiles, name: str, limits: ImportLimits, scratch: Path, stack: ExitStack
) -> npt.NDArray[np.uint8]:
    file = stack.enter_context(tempfile.TemporaryFile(dir=scratch, prefix="."))  # noqa: SIM115
    packing = Packing(file, scratch, limits)
    try:
        with files.open(name) as stored:
            stream = gzip.GzipFile(fileobj=stored) if name.lower().endswith(".gz") else stored
            most = limits.most_unpacked(files.size(name))
            while chunk := stream.read(READ_BYTES):
                packing.write(chunk)
                if packing.size > most:
                    raise ValueError(f"it unpacks to more than {limits.max_ratio} times its size")
        file.flush()
        there = file.seek(0, 2)
        file.seek(0)
        shape = read_shape(file, name)
        start, size = file.tell(), int(np.prod(shape, dtype=object))
        if size <= 0 or start + size != there:
            raise ValueError(f"it says that it holds {size:,} bytes and has {there - start:,}")
        return np.memmap(file, np.uint8, "r", start, shape)
    except DAMAGED as error:
        refuse_damaged(name, error, " as idx")
