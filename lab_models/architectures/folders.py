"""A model folder, as GET /runs/{run_id}/model.zip gives it, as a network of PyTorch. Nothing in the folder is run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lab_models.architectures.build import build_model
from lab_models.datasets.decoding import Rendition, Size, decode
from lab_models.specs import read_spec


@dataclass(frozen=True)
class ModelFolder:
    """`network` is in evaluation mode with the folder's weights; it takes normalized images (N, C, H, W) and gives
    logits (N, classes), in the order of `classes`.
    """

    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]

    def images(self, paths: Sequence[str | Path]) -> Tensor:
        """Image files as the network takes them, (N, C, H, W) float32: brought to its size and channels as the service
        does it. Raises OSError and UndecodableImage.
        """
        said = self.preprocessing
        channels, height, width = said["image_shape"]
        rendition = Rendition(said["ground"], said["peak"])
        pixels = [
            decode(
                Path(path).read_bytes(),
                channels=channels,
                size=Size(height, width),
                rendition=rendition,
            )
            for path in paths
        ]
        mean, std = (torch.tensor(said[name]).view(-1, 1, 1) for name in ("mean", "std"))
        return (torch.from_numpy(np.stack(pixels)).float() / 255 - mean) / std


def open_folder(folder: str | Path) -> ModelFolder:
    """The network of a folder. Raises OSError, and ValueError or RuntimeError where its files do not fit together."""
    place = Path(folder)
    config = json.loads((place / "config.json").read_bytes())
    preprocessing = json.loads((place / "preprocessing.json").read_bytes())
    classes = tuple(json.loads((place / "classes.json").read_bytes()))
    spec = read_spec(config["spec"])
    network = build_model(spec.network, tuple(preprocessing["image_shape"]), len(classes), seed=0)
    network.load_state_dict(load_file(place / "model.safetensors"))
    return ModelFolder(network.eval(), classes, preprocessing)
