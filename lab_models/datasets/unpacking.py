"""Image files decoded into the arrays of a prepared data set, with a few of them in memory at a time. Nothing here
loads torch.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from lab_models.common.validation import FieldError
from lab_models.datasets.archives import ImageFiles, UnreadableFile
from lab_models.datasets.decoding import Pixels, Size, UndecodableImage, decode
from lab_models.datasets.layout import Layout
from lab_models.datasets.preparation import write_array
from lab_models.datasets.refusals import MOST_ERRORS, printable, refuse_bad_files

MOST_THREADS = 4
"""Each may hold an image of 50 megapixels; more threads gain little, for files are read in order by one."""
FILES_AT_ONCE, BYTES_AT_ONCE = 64, 64_000_000
ROWS_AT_ONCE = 64

Decoded = Pixels | UndecodableImage | UnreadableFile


def write_splits(
    files: ImageFiles, layout: Layout, folder: Path, size: Size, channels: Literal[1, 3] | None
) -> None:
    """The four arrays; raises ImportRefused with the bad files.

    Unless the channels are given, images are written as RGB and turned grey when all of them were.
    """
    colorful = False
    errors: list[FieldError] = []
    for split, rows in (("train", layout.train), ("test", layout.test)):
        write_array(
            folder / f"{split}-labels.npy", np.array([label for _, label in rows], np.int64)
        )
        with (folder / f"{split}-images.npy").open("wb") as out:
            _write_header(out, (len(rows), channels or 3, size.height, size.width))
            for name, pixels in _decoded(files, [name for name, _ in rows], size, channels or 3):
                if isinstance(pixels, np.ndarray):
                    colorful = colorful or bool((pixels != pixels[:1]).any())
                    out.write(pixels.tobytes())
                else:
                    errors.append(FieldError(printable(name), str(pixels)))
                    if len(errors) > MOST_ERRORS:
                        refuse_bad_files(errors)
            out.flush()
            os.fsync(out.fileno())
    refuse_bad_files(errors)
    if channels is None and not colorful:
        for split in ("train", "test"):
            _make_grey(folder / f"{split}-images.npy")


def mean_and_std(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel over all pixels of (N, C, H, W), in [0, 1], exact by counting; a constant channel has std 1, so that
    it can be divided by.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for rows in _slices(len(images)):
        for channel in range(images.shape[1]):
            counts[channel] += np.bincount(
                np.ascontiguousarray(images[rows, channel]).reshape(-1), minlength=256
            )
    levels = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    std = np.where(counts.max(axis=1) == total, 1.0, np.sqrt(variance))
    return tuple(float(f"{value:.6g}") for value in mean), tuple(
        float(f"{value:.6g}") for value in std
    )


def _decoded(
    files: ImageFiles, names: list[str], size: Size, channels: int
) -> Iterator[tuple[str, Decoded]]:
    """Each image, or why there is none, in order. Files are read here and decoded by threads, some megabytes at a
    time.
    """
    with ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for batch in _batches(files, names):
            yield from zip(
                (name for name, _ in batch),
                pool.map(
                    partial(_try_decode, size=size, channels=channels),
                    (content for _, content in batch),
                ),
                strict=True,
            )


def _batches(
    files: ImageFiles, names: list[str]
) -> Iterator[list[tuple[str, bytes | UnreadableFile]]]:
    batch: list[tuple[str, bytes | UnreadableFile]] = []
    num_bytes = 0
    for name in names:
        try:
            content: bytes | UnreadableFile = files.read(name)
        except UnreadableFile as error:
            content = error
        batch.append((name, content))
        num_bytes += len(content) if isinstance(content, bytes) else 0
        if len(batch) >= FILES_AT_ONCE or num_bytes >= BYTES_AT_ONCE:
            yield batch
            batch, num_bytes = [], 0
    yield batch


def _try_decode(content: bytes | UnreadableFile, size: Size, channels: int) -> Decoded:
    if isinstance(content, UnreadableFile):
        return content
    try:
        return decode(content, channels=channels, size=size)
    except UndecodableImage as error:
        return error


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    """The images follow as they come, so that a full disk is an error of `write` and memory holds a few of them
    only.
    """
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _make_grey(path: Path) -> None:
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    grey = path.with_suffix(".grey")
    with grey.open("wb") as out:
        _write_header(out, (len(images), 1, *images.shape[2:]))
        for rows in _slices(len(images)):
            out.write(np.ascontiguousarray(images[rows, :1]).tobytes())
        out.flush()
        os.fsync(out.fileno())
    grey.replace(path)


def _slices(count: int) -> Iterable[slice]:
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, count, ROWS_AT_ONCE))
