"""ONNX files on the disk: each is made once, and read from there however slowly clients read and however many there
are.
"""

import os
import threading
from pathlib import Path
from typing import BinaryIO, Final

from app.errors import Conflict, NotFound
from app.services.disk import storing
from lab_models.common.errors import LabError
from lab_models.common.files import write_atomically
from lab_models.inference.trained import TrainedNetwork

MOST_BYTES: Final = 2 << 30
"""Of all files that are kept; those asked for longest ago go first."""


class OnnxFiles:
    """Networks as ONNX files in a folder, the most recently asked ones: at most `most_bytes` together, unless it is
    one.

    `min_free_bytes` stay free on its disk.
    """

    def __init__(self, folder: Path, min_free_bytes: int, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._min_free_bytes, self._most_bytes = folder, min_free_bytes, most_bytes
        # one at a time: it takes several times the network's size in memory
        self._making = threading.Lock()

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
        with storing("the ONNX file"):
            write_atomically(path, content, self._min_free_bytes)
        return path.open("rb")

    def _keep_few(self) -> None:
        """Remove what is too much; what a process left that was killed while it wrote goes with `lab gc`."""
        left = self._most_bytes
        newest = sorted(
            ((path.stat(), path) for path in self._folder.glob("*.onnx")),
            key=lambda one: -one[0].st_mtime,
        )
        for number, (found, path) in enumerate(newest):
            left -= found.st_size
            if number and left < 0:
                path.unlink(missing_ok=True)


def onnx_file(network: TrainedNetwork) -> bytes:
    """The network as an ONNX file's bytes; raises Conflict or NotFound when it cannot be made."""
    # onnx takes 0.1 s and 30 MB: only a service that is asked for a prediction pays for it.
    from lab_models.inference.export import onnx_file as made

    try:
        return made(network)
    except LabError as error:
        raise Conflict(f"the network cannot be made ready: {error.sentence}") from error
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
