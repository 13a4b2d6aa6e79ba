"""Images from Parquet shards in the layout of the Hugging Face hub: `train-00000-of-00010.parquet`, encoded images,
labels.

A directory of shards says itself how many there are, so that a missing one is noticed, and how many rows it has, so
that a copy may hold fewer images than were published.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.decoding import UndecodableImage, decode
from lab_models.datasets.preparation import Images, Labels, RawDataset
from lab_models.datasets.presence import SHARD

IMAGE_COLUMNS = ("img", "image")
# of CIFAR-100's two labels, the class and not its superclass
LABEL_COLUMNS = ("fine_label", "label")
ROWS_AT_ONCE = 1000
HUB_SPELLINGS = {"cra": "crab"}
"""A slip in the hub's metadata of CIFAR-100."""


def read_parquet(info: DatasetInfo, folder: Path) -> RawDataset:
    """Both splits, decoded; of the encoded images only a thousand are in memory at once. Raises DatasetUnavailable."""
    return RawDataset(*_read_split(info, folder, "train"), *_read_split(info, folder, "test"))


def _read_split(info: DatasetInfo, folder: Path, split: str) -> tuple[Images, Labels]:
    paths = _shards(info, folder, split)
    counts = [_read_metadata(info, path) for path in paths]
    images: Images = np.empty((sum(counts), *info.shape), np.uint8)
    labels: Labels = np.empty(sum(counts), np.int64)
    row = 0
    for path in paths:
        for number, (content, label) in enumerate(_rows(path)):
            if content is None or label is None:
                raise DatasetUnavailable(
                    f"{info.name}: row {number} of {path} has no image bytes or no label",
                    hint="fetch that file again",
                )
            images[row], labels[row] = _decoded(info, path, number, content), label
            row += 1
    return images, labels


def _shards(info: DatasetInfo, folder: Path, split: str) -> list[Path]:
    """The split's files in order; a set that is not whole is refused with the names that are missing."""
    found = {
        match["number"]: (match["count"], path)
        for path in folder.iterdir()
        if (match := SHARD.fullmatch(path.name)) and match["split"] == split
    }
    if not found:
        raise DatasetUnavailable(
            f"{info.name}: {folder} has no file {split}-….parquet",
            hint="put the missing files there, or remove the folder",
        )
    counts = {count for count, _ in found.values()}
    if len(counts) > 1:
        raise DatasetUnavailable(
            f"{info.name}: {folder} mixes {split} files of {' and of '.join(sorted(counts))} parts",
            hint="keep the files of one set",
        )
    count = counts.pop()
    missing = [
        f"{split}-{number:05d}-of-{count}.parquet"
        for number in range(int(count))
        if f"{number:05d}" not in found
    ]
    if missing:
        raise DatasetUnavailable(
            f"{info.name}: {folder} lacks {', '.join(missing)}",
            hint="put the missing files there, or remove the folder",
        )
    return [found[number][1] for number in sorted(found)]


def _read_metadata(info: DatasetInfo, path: Path) -> int:
    """The file's number of rows, once its columns and class names are seen to be right."""
    try:
        with pq.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DatasetUnavailable(
            f"{info.name}: {path} cannot be read: {error}", hint="fetch that file again"
        ) from error
    columns = _columns(schema)
    if columns is None:
        raise DatasetUnavailable(
            f"{info.name}: {path} has columns {', '.join(schema.names)}; expected {' or '.join(IMAGE_COLUMNS)} with"
            f" 'bytes', and {' or '.join(LABEL_COLUMNS)}"
        )
    names = label_names(schema, columns[1])
    spelled = None if names is None else tuple(HUB_SPELLINGS.get(name, name) for name in names)
    if names is not None and spelled != info.class_names:
        raise DatasetUnavailable(
            f"{info.name}: the class names of {path} are others than this data set's: {', '.join(names[:5])}, …"
        )
    return int(num_rows)


def _columns(schema: Any) -> tuple[str, str] | None:
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
    if image is None or label is None:
        return None
    kind = schema.field(image).type
    is_image = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return (image, label) if is_image and pa.types.is_integer(schema.field(label).type) else None


def label_names(schema: Any, label: str) -> tuple[str, ...] | None:
    """The names that the file's metadata gives to the labels; None when it gives none."""
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(map(str, names))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _rows(path: Path) -> Iterator[tuple[bytes | None, int | None]]:
    """(encoded image, label) in the order of the file."""
    with pq.ParquetFile(path) as file:
        columns = _columns(file.schema_arrow)
        assert columns is not None
        image, label = columns
        try:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[image, label], use_threads=False):
                yield from zip(
                    batch.column(image).field("bytes").to_pylist(),
                    batch.column(label).to_pylist(),
                    strict=True,
                )
        except (OSError, pa.ArrowException) as error:
            raise DatasetUnavailable(
                f"{path} is damaged: {error}", hint="fetch that file again"
            ) from error


def _decoded(info: DatasetInfo, path: Path, row: int, content: bytes) -> Images:
    try:
        pixels = decode(content, channels=info.channels)
    except UndecodableImage as error:
        raise DatasetUnavailable(
            f"{info.name}: the image in row {row} of {path} is {error}",
            hint="fetch that file again",
        ) from error
    if pixels.shape != info.shape:
        raise DatasetUnavailable(
            f"{info.name}: the image in row {row} of {path} has shape {pixels.shape}, expected {info.shape}"
        )
    return pixels
