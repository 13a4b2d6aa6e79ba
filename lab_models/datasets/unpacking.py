"""Image files decoded into the arrays of a prepared data set, with a few of them in memory at a time. Nothing here
loads torch.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np

from lab_models.common.cores import usable_cores
from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.decoding import Rendition, Size, UndecodableImage, decode, peak_of
from lab_models.datasets.layout import Layout
from lab_models.datasets.preparation import write_array
from lab_models.datasets.refusals import BadFile, UnreadableFile
from lab_models.datasets.statistics import slices

MOST_THREADS = 4
"""Each may hold an image of 64 megapixels; more threads gain little, for files are read in order by one."""
FILES_AT_ONCE, BYTES_AT_ONCE = 64, 64_000_000

Value = TypeVar("Value")


@dataclass(frozen=True)
class Form:
    """What all images become; without `channels` grey if every image is, else RGB."""

    size: Size
    channels: Literal[1, 3] | None
    rendition: Rendition


def write_splits(
    files: ImageFiles, layout: Layout, folder: Path, form: Form, most_bad: int
) -> list[BadFile]:
    """The four arrays; where files are bad, these instead, one more than `most_bad` at most.

    Unless the channels are given, images are written as RGB and turned grey when all of them were.
    """
    colorful = False
    size, channels = form.size, form.channels
    found: list[BadFile] = []
    for split, rows in (("train", layout.train), ("test", layout.test)):
        write_array(
            folder / f"{split}-labels.npy", np.array([label for _, label in rows], np.int64)
        )
        with (folder / f"{split}-images.npy").open("wb") as out:
            _write_header(out, (len(rows), channels or 3, size.height, size.width))
            decoding = partial(decode, channels=channels or 3, size=size, rendition=form.rendition)
            for name, pixels in _read(files, [name for name, _ in rows], decoding):
                if isinstance(pixels, np.ndarray):
                    content = pixels.tobytes()
                    colorful = colorful or not _is_grey(content)
                    out.write(content)
                else:
                    found.append(BadFile(name, str(pixels)))
                    if len(found) > most_bad:
                        return found
            out.flush()
            os.fsync(out.fileno())
    if channels is None and not colorful and not found:
        for split in ("train", "test"):
            _make_grey(folder / f"{split}-images.npy")
    return found


def highest_peak(files: ImageFiles, layout: Layout) -> float:
    """The largest value of all images that can be read, as a share of their range; 1 where all are black."""
    names = [name for name, _ in (*layout.train, *layout.test)]
    peaks = [peak for _, peak in _read(files, names, peak_of) if isinstance(peak, float)]
    return max(peaks, default=0.0) or 1.0


def _read(
    files: ImageFiles, names: list[str], reading: Callable[[bytes], Value]
) -> Iterator[tuple[str, Value | UndecodableImage | UnreadableFile]]:
    """Of each image what `reading` makes of its bytes, or why there is nothing, in order. Files are read here and
    decoded by threads, some megabytes at a time.
    """
    with ThreadPoolExecutor(min(MOST_THREADS, usable_cores())) as pool:
        for batch in _batches(files, names):
            yield from zip(
                (name for name, _ in batch),
                pool.map(partial(_try, reading), (content for _, content in batch)),
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


def _try(
    reading: Callable[[bytes], Value], content: bytes | UnreadableFile
) -> Value | UndecodableImage | UnreadableFile:
    if isinstance(content, UnreadableFile):
        return content
    try:
        return reading(content)
    except UndecodableImage as error:
        return error


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> None:
    """The images follow as they come, so that a full disk is an error of `write` and memory holds a few of them
    only.
    """
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _is_grey(content: bytes) -> bool:
    """Whether the three planes of an RGB image are the same: to compare bytes takes a tenth of what arrays do."""
    plane = len(content) // 3
    return content[:plane] == content[plane : 2 * plane] == content[2 * plane :]


def _make_grey(path: Path) -> None:
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    grey = path.with_suffix(".grey")
    with grey.open("wb") as out:
        _write_header(out, (len(images), 1, *images.shape[2:]))
        for rows in slices(len(images)):
            out.write(np.ascontiguousarray(images[rows, :1]).tobytes())
        out.flush()
        os.fsync(out.fileno())
    grey.replace(path)
