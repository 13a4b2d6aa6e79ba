"""What a prediction depends on: a network, the file with its weights, and the images it was trained on. Loads neither
torch nor onnx.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import ModelSpec

GRAPH_VERSION = 2
"""Grows with the code that writes graphs, so that a file of an older version is not taken for the same."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of `model` for the images of `dataset`, with the published safetensors file of its weights and that
    file's SHA-256.
    """

    model: ModelSpec
    dataset: DatasetInfo
    weights: Path
    weights_sha256: str

    @property
    def digest(self) -> str:
        """Names the ONNX file, in hexadecimal: not the weights alone, because a plain and a residual network may have
        the same ones.
        """
        info = self.dataset
        facts = [
            GRAPH_VERSION,
            self.weights_sha256,
            self.model.model_dump(mode="json"),
            info.shape,
            info.class_names,
            info.mean,
            info.std,
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
