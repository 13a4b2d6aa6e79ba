"""Weights that torchvision publishes: found on disk or downloaded, and checked before they are believed."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab_models.common.errors import PretrainedUnavailable
from lab_models.common.files import exclusive, require_room, sha256_of
from lab_models.datasets.readers import (
    DOWNLOAD_TIMEOUT_SECONDS,
    UNREADABLE,
    DataFolders,
    socket_timeout,
)
from lab_models.specs import PretrainedName

FOLDER = "weights"
DOWNLOADED_BYTES = 50_000_000
"""What one file of `PUBLISHED` takes at most."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights; the eight digits at the end of its name begin its SHA-256, as torch.hub has it."""

    title: str
    url: str

    @property
    def file(self) -> str:
        """Its name."""
        return self.url.rpartition("/")[2]

    @property
    def sha256_begins(self) -> str:
        """The first digits of its SHA-256."""
        return self.file.rpartition("-")[2].partition(".")[0]


PUBLISHED: dict[PretrainedName, PublishedFile] = {
    "resnet18": PublishedFile(
        "ResNet-18 from ImageNet", "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    )
}
"""torchvision's `ResNet18_Weights.IMAGENET1K_V1` (a test holds the address equal to torchvision's)."""


def pretrained_weights(name: PretrainedName, folders: DataFolders) -> dict[str, Tensor]:
    """The published state_dict, on the CPU: from the first data folder that has the file, from torch's own cache, else
    downloaded.

    Raises PretrainedUnavailable, which names the file and the folders.
    """
    published = PUBLISHED[name]
    path = _file(published, folders)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, pickle.UnpicklingError) as error:
        raise PretrainedUnavailable(
            f"{published.title}: {path} cannot be read: {error or type(error).__name__}",
            hint=_remedy(path),
        ) from error
    if not _is_state_dict(weights):
        raise PretrainedUnavailable(
            f"{published.title}: {path} holds no weights by name", hint=_remedy(path)
        )
    return {key: tensor.detach() for key, tensor in weights.items()}


def _file(published: PublishedFile, folders: DataFolders) -> Path:
    """Where the file lies, whole."""
    downloaded = folders.download / FOLDER / published.file
    for path in _places(published, folders):
        # a broken download is mended by downloading again
        if path.is_file() and path != downloaded:
            if not _is_whole(path, published):
                message = (
                    f"{published.title}: {path} is damaged or another file: its SHA-256 does not begin with"
                    f" {published.sha256_begins}"
                )
                raise PretrainedUnavailable(message, hint=_remedy(path))
            return path
    downloaded.parent.mkdir(parents=True, exist_ok=True)
    # several runs may need it at once: one fetches it
    with exclusive(downloaded.with_suffix(".lock")):
        if not downloaded.is_file() or not _is_whole(downloaded, published):
            _download(published, downloaded, folders)
    return downloaded


def _places(published: PublishedFile, folders: DataFolders) -> Iterator[Path]:
    for folder in folders.search:
        yield folder / published.file
        yield folder / FOLDER / published.file
    yield Path(torch.hub.get_dir()) / "checkpoints" / published.file


def _is_whole(path: Path, published: PublishedFile) -> bool:
    return sha256_of(path).startswith(published.sha256_begins)


def _download(published: PublishedFile, path: Path, folders: DataFolders) -> None:
    require_room(path.parent, DOWNLOADED_BYTES, folders.min_free_bytes)
    try:
        with socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
            torch.hub.download_url_to_file(
                published.url, str(path), hash_prefix=published.sha256_begins, progress=False
            )
    except UNREADABLE as error:
        searched = ", ".join(str(root) for root in folders.search)
        raise PretrainedUnavailable(
            f"{published.title}: {published.file} is in none of the data folders ({searched}) and could not be"
            f" downloaded: {error}",
            hint=(
                f"connect to the network once, or fetch {published.url} elsewhere and put it into {path.parent}, or"
                " into a folder of LAB_DATA_DIR"
            ),
        ) from error


def _is_state_dict(weights: Any) -> bool:
    return isinstance(weights, dict) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    )


def _remedy(path: Path) -> str:
    return f"remove {path}, or put torchvision's file there"
