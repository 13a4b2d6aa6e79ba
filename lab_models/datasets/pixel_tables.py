"""Tables with an image in each row, its label and its grey values, as MNIST is passed on (CSV), seen as image files in
class folders. Nothing here loads torch.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from lab_models.datasets.archives import ImageFiles, StoredFiles
from lab_models.datasets.class_paths import ClassFolders
from lab_models.datasets.column_words import LABEL_WORDS, column_of
from lab_models.datasets.member_names import is_table
from lab_models.datasets.packed import Packing
from lab_models.datasets.refusals import (
    DAMAGED,
    ImportLimits,
    ImportRefused,
    printable,
    refuse_damaged,
)
from lab_models.datasets.split_words import split_in
from lab_models.datasets.table_lines import lines_of, separator_of

LONGEST_LINE: Final = 4_000_000
SMALLEST_SIDE: Final = 4
HINT: Final = (
    "a table is taken whose rows are a label and the grey values 0 to 255 of a square image, such as 784 of 28x28; or"
    " put the images into the same zip as the table that names them"
)


@contextmanager
def pixel_files(files: StoredFiles, limits: ImportLimits, scratch: Path) -> Iterator[ImageFiles]:
    """The images of all tables, as PGM in a file without a name in the folder `scratch` meanwhile. A file's name says
    the split; train where none does. Raises ImportRefused, or StorageFull.
    """
    names = [name for name in files.names if is_table(name)]
    splits = {name: split_in(PurePosixPath(name).stem) for name in names}
    known = any(splits.values())
    with tempfile.TemporaryFile(dir=scratch, prefix=".") as out:
        packing, classes = Packing(out, scratch, limits), ClassFolders()
        for name in names:
            split = splits[name] or ("train" if not known else PurePosixPath(name).stem)
            try:
                for row, (label, image) in enumerate(_images(files, name)):
                    packing.add(f"{split}/{classes.of(label)}/{split}-{row}.pgm", image)
            except DAMAGED as error:
                refuse_damaged(name, error)
        yield packing.packed()


def _images(files: StoredFiles, name: str) -> Iterator[tuple[str, bytes]]:
    """Of each row the label, and the pixels as a PGM."""
    lines = lines_of(files, name, LONGEST_LINE)
    first = next(lines, "")
    separator = separator_of(first)
    cells = [cell.strip().strip('"') for cell in first.split(separator)]
    side = math.isqrt(len(cells) - 1)
    if side < SMALLEST_SIDE or side * side != len(cells) - 1:
        raise ImportRefused(
            f"{printable(name)} has {len(cells):,} columns, which is no label and the pixels of a square image",
            hint=HINT,
        )
    has_names = any(not cell.isdigit() for cell in cells)
    label = column_of(LABEL_WORDS, cells) if has_names else None
    if has_names and label is None and any(cell.isalpha() for cell in cells[:1]):
        raise ImportRefused(
            f"{printable(name)} has no column with a label: {printable(', '.join(cells[:3]))}, …",
            hint=HINT,
        )
    place = 0 if label is None else cells.index(label)
    for number, line in enumerate(lines if has_names else chain([first], lines), 1 + has_names):
        if line.strip():
            yield _image(name, number, line.rstrip("\r\n").split(separator), place, side)


def _image(name: str, number: int, cells: list[str], place: int, side: int) -> tuple[str, bytes]:
    label = cells.pop(place).strip().strip('"') if place < len(cells) else ""
    try:
        values = np.array(cells, np.float64)
    except ValueError as error:
        raise ImportRefused(f"line {number:,} of {printable(name)} holds no numbers") from error
    if len(values) != side * side or not label:
        raise ImportRefused(
            f"line {number:,} of {printable(name)} has {len(values):,} values beside its label, expected"
            f" {side * side:,}"
        )
    if not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        raise ImportRefused(
            f"line {number:,} of {printable(name)} has values that are no whole numbers from 0 to 255"
        )
    return label, f"P5 {side} {side} 255\n".encode() + values.astype(np.uint8).tobytes()
