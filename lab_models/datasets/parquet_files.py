"""One's own Parquet files of encoded images and labels, as the Hugging Face hub has them, seen as image files in class
folders. Nothing here loads torch.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from lab_models.common.files import require_room
from lab_models.datasets.archives import ImageFiles, StoredFiles
from lab_models.datasets.class_paths import ClassFolders
from lab_models.datasets.column_words import IMAGE_WORDS, LABEL_WORDS, column_of
from lab_models.datasets.member_names import is_parquet
from lab_models.datasets.packed import Packing
from lab_models.datasets.refusals import (
    DAMAGED,
    ImportLimits,
    ImportRefused,
    printable,
    refuse_damaged,
)
from lab_models.datasets.split_words import split_in

ROWS_AT_ONCE: Final = 16
PART: Final = re.compile(
    r"(?P<before>.*?)-?(?P<number>\d{5})-of-(?P<count>\d{5}).*\.parquet", re.IGNORECASE
)
"""`train-00000-of-00002.parquet`"""
MOST_METADATA_BYTES: Final = 10_000_000
HINT: Final = (
    "a column 'image' of encoded images ({bytes, path} as the Hugging Face hub has them, or bytes) and a column 'label'"
    " of whole numbers or names"
)


@contextmanager
def parquet_files(files: StoredFiles, limits: ImportLimits, scratch: Path) -> Iterator[ImageFiles]:
    """The images of all Parquet files, which lie in a file without a name in the folder `scratch` meanwhile. A file's
    name, or its folder's, says the split; train where none does. Raises ImportRefused, or StorageFull.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportRefused(
            "this is Parquet, and pyarrow, which reads it, is not installed where the service runs",
            hint="install training-lab[lab] there, or write the images as files into a zip",
        ) from error
    names = [name for name in files.names if is_parquet(name)]
    _refuse_gaps(names)
    splits = {name: _split_named(PurePosixPath(name)) for name in names}
    known = any(splits.values())
    with tempfile.TemporaryFile(dir=scratch, prefix=".") as out:
        packing, classes = Packing(out, scratch, limits), ClassFolders()
        for number, name in enumerate(names):
            split = splits[name] or ("train" if not known else PurePosixPath(name).stem)
            prefix = f"{split}/{{}}/{split}-{number}-{{}}.png"
            with _on_disk(files, name, limits, scratch) as file:
                _take_rows(name, file, packing, classes, prefix)
        yield packing.packed()


def _refuse_gaps(names: Sequence[str]) -> None:
    """Raises ImportRefused where a file says that it is one of several, and not all of them are there."""
    parts: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if found := PART.fullmatch(name):
            whole = found["before"], int(found["count"])
            parts.setdefault(whole, set()).add(int(found["number"]))
    for (before, count), there in parts.items():
        lacking = [number for number in range(count) if number not in there]
        if lacking:
            raise ImportRefused(
                f"{printable(before)} has {count:,} parts, and {len(lacking):,} of them are not there, such as"
                f" {lacking[0]:05d}-of-{count:05d}",
                hint="add them: a part of the images would be taken for all",
            )


def _split_named(path: PurePosixPath) -> str | None:
    """`train` of `data/train-00000-of-00002.parquet`, and of `train/0000.parquet`."""
    words = (path.stem, *reversed(path.parts[:-1]))
    return next((split for split in map(split_in, words) if split is not None), None)


@contextmanager
def _on_disk(
    files: StoredFiles, name: str, limits: ImportLimits, scratch: Path
) -> Iterator[IO[bytes]]:
    """One of the files, in a file that can be read from any place."""
    require_room(scratch, files.size(name), limits.min_free_bytes)
    with tempfile.TemporaryFile(dir=scratch, prefix=".") as out:
        try:
            with files.open(name) as packed:
                shutil.copyfileobj(packed, out, 1 << 20)
        except DAMAGED as error:
            refuse_damaged(name, error)
        out.seek(0)
        yield out


def _take_rows(
    name: str, file: IO[bytes], packing: Packing, classes: ClassFolders, path: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(
            file,
            pre_buffer=False,
            buffer_size=1 << 16,
            thrift_string_size_limit=MOST_METADATA_BYTES,
            thrift_container_size_limit=1_000_000,
        ) as table:
            labels = _Labels(name, table.schema_arrow, classes)
            batches = table.iter_batches(
                ROWS_AT_ONCE, columns=[labels.image, labels.column], use_threads=False
            )
            row = 0
            for batch in batches:
                for image, label in zip(
                    batch.column(labels.image).to_pylist(),
                    batch.column(labels.column).to_pylist(),
                    strict=True,
                ):
                    content = image.get("bytes") if isinstance(image, dict) else image
                    if not content:
                        raise ImportRefused(
                            f"row {row:,} of {printable(name)} has no image in it, but a path at most",
                            hint="write the images into the Parquet file: datasets' `to_parquet` does so",
                        )
                    packing.add(path.format(labels.folder(label, row), row), content)
                    row += 1
    except (*DAMAGED, pa.ArrowException, MemoryError, TypeError) as error:
        refuse_damaged(name, error, " as Parquet")


class _Labels:
    """The two columns of a file, and which folder each label has."""

    def __init__(self, name: str, schema: Any, classes: ClassFolders) -> None:
        import pyarrow as pa

        from lab_models.datasets.parquet import label_names

        kinds = {field.name: field.type for field in schema}
        images = [
            column
            for column, kind in kinds.items()
            if (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
            or pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
        ]
        image = column_of(IMAGE_WORDS, images) or (images[0] if len(images) == 1 else None)
        column = column_of(LABEL_WORDS, [one for one in kinds if one != image])
        if image is None or column is None:
            listed = ", ".join(f"{one} ({kind})" for one, kind in list(kinds.items())[:10])
            missing = "of images" if image is None else "with a label"
            raise ImportRefused(
                f"{printable(name)} has no column {missing}: {printable(listed)}", hint=HINT
            )
        self.image, self.column = image, column
        self._name, self._classes = name, classes
        self._names = label_names(schema, column)

    def folder(self, label: Any, row: int) -> str:
        """Raises ImportRefused for what is no label."""
        where = f"row {row:,} of {printable(self._name)}"
        if isinstance(label, str):
            return self._classes.of(label)
        if not isinstance(label, int) or label < 0:
            raise ImportRefused(
                f"{where} has no label: {printable(repr(label))}",
                hint="leave out splits whose labels were not published; labels are whole numbers from 0, or names",
            )
        if self._names is None:
            return self._classes.of(str(int(label)))
        if label >= len(self._names):
            raise ImportRefused(f"{where} has the label {label}, of {len(self._names):,} names")
        return self._classes.of(self._names[label])
