"""An ONNX file made ready to answer, on the CPU."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime

from lab_models.inference.graph import IMAGES, LOGITS, PROBABILITIES

Floats = npt.NDArray[np.float32]
ERRORS_ONLY = 3


@dataclass(frozen=True)
class Outputs:
    """Of N images: logits and probabilities (N, num_classes)."""

    logits: Floats
    probabilities: Floats


class Predictor:
    """Answers from several threads at once, each call on the one thread that makes it, so that whoever trains beside it
    keeps the other cores.
    """

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self.size_bytes = len(content)

    def predict(self, images: npt.NDArray[np.uint8]) -> Outputs:
        """What the network says of images (N, C, H, W)."""
        return Outputs(*self.tensors(images, [LOGITS, PROBABILITIES]))

    def tensors(self, images: npt.NDArray[np.uint8], names: list[str]) -> list[Floats]:
        """Outputs of the file by their names, for images (N, C, H, W)."""
        found: list[Floats] = self._session.run(names, {IMAGES: images})
        return found
