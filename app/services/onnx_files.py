"""ONNX files on the disk: each is made once, and read from there however slowly clients read and however many there are."""

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO, Final

from app.errors import Conflict, NotFound, StorageFull
from lab_models import errors as lab_errors
from lab_models.errors import LabError
from lab_models.files import FULL_DISK, write_atomically
from lab_models.inference.trained import TrainedNetwork

MOST_BYTES: Final = 2 << 30
"""Of all files that are kept; those asked for longest ago go first."""

FORGOTTEN_SECONDS: Final = 3600.0
"""Age from which half a file is what a killed process left."""


class OnnxFiles:
    """Networks as ONNX files in a folder, the most recently asked ones: at most `most_bytes` together, unless it is one.

    `min_free_bytes` stay free on its disk.
    """

    def __init__(self, folder: Path, min_free_bytes: int, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._min_free_bytes, self._most_bytes = folder, min_free_bytes, most_bytes
        self._making = threading.Lock()  # one at a time: it takes several times the network's size in memory

    def open(self, network: TrainedNetwork) -> BinaryIO:
        """The network's file, made if it is not there; open, it can be read to its end whatever becomes of its name.

        Raises Conflict or NotFound when it cannot be made, StorageFull when there is no room for it.
        """
        path = self._folder / f"{network.digest}.onnx"
        file = _opened(path)
        if file is not None:
            return file
        with self._making:
            file = _opened(path)  # somebody else's, made meanwhile
            if file is None:
                file = self._made(path, network)
                self._keep_few()
            return file

    def _made(self, path: Path, network: TrainedNetwork) -> BinaryIO:
        content = onnx_file(network)
        try:
            write_atomically(path, content, self._min_free_bytes)
        except lab_errors.StorageFull as error:
            raise StorageFull(f"{error}; {error.hint}") from error
        except OSError as error:
            if error.errno in FULL_DISK:
                raise StorageFull(f"the ONNX file could not be kept: {error.strerror}") from error
            raise
        return path.open("rb")

    def _keep_few(self) -> None:
        """Remove what is too much, and what a process left that was killed while it wrote."""
        now, left = time.time(), self._most_bytes
        newest = sorted(((entry.stat(), Path(entry)) for entry in os.scandir(self._folder)), key=lambda one: -one[0].st_mtime)
        for number, (found, path) in enumerate(newest):
            left -= found.st_size
            is_half = path.suffix != ".onnx"
            if (is_half and now - found.st_mtime > FORGOTTEN_SECONDS) or (not is_half and number and left < 0):
                path.unlink(missing_ok=True)


def onnx_file(network: TrainedNetwork) -> bytes:
    """The network as an ONNX file's bytes; raises Conflict or NotFound when it cannot be made."""
    # onnx takes 0.1 s and 30 MB: only a service that is asked for a prediction pays for it.
    from lab_models.inference.export import onnx_file as made

    try:
        return made(network)
    except LabError as error:
        raise Conflict(f"the network cannot be made ready: {error}" + (f"; {error.hint}" if error.hint else "")) from error
    except OSError as error:
        raise NotFound(f"{network.weights.name} cannot be read: {error.strerror}") from error


def _opened(path: Path) -> BinaryIO | None:
    """The file if it is there, which has then been asked for just now."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    os.utime(file.fileno())
    return file
