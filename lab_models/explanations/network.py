"""A trained network cut open before its last pool: the feature maps, what follows them, and the same network with
layers drawn anew.
"""

import math

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lab_models.architectures.stages import stage_of
from lab_models.common.errors import LabError
from lab_models.explanations.maps import Floats, Seen, Tail
from lab_models.inference.graph import LOGITS, PROBABILITIES
from lab_models.inference.predictor import Predictor

Pixels = npt.NDArray[np.uint8]

BATCH = 64
BATCH_NORM_START = (1.0, 0.0, 0.0, 1.0)
"""Scale, shift, mean and variance of a batch norm that has seen nothing."""


class Unexplainable(LabError):
    """The network has no feature maps before its head, or gives numbers that are not finite."""

    code = "unexplainable"


class OpenNetwork:
    """A network from its ONNX file, see `lab_models.inference.export`; raises Unexplainable where no pool stands before
    the head.

    A model that is read already becomes this network's own. `stages` are the parts with weights, input side first, the
    head last; `stage` is the one whose maps are looked at, `tail` what follows them.
    """

    def __init__(self, content: bytes | onnx.ModelProto) -> None:
        self._model = onnx.load_from_string(content) if isinstance(content, bytes) else content
        graph = self._model.graph
        nodes = list(graph.node)
        pools = [
            place
            for place, node in enumerate(nodes)
            if node.op_type in ("GlobalAveragePool", "MaxPool")
        ]
        tail = nodes[pools[-1] :] if pools else []
        linear = [node for node in tail if node.op_type == "Gemm"]
        if not linear or any(
            node.op_type
            not in ("GlobalAveragePool", "MaxPool", "Flatten", "Gemm", "Relu", "Softmax")
            for node in tail
        ):
            raise Unexplainable("the network has no feature maps right before its head")
        constants = {tensor.name: tensor for tensor in graph.initializer}
        layers = [
            tuple(
                numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:]
            )
            for node in linear
        ]
        self.tail = Tail(
            tail[0].op_type == "GlobalAveragePool", [(weight, bias) for weight, bias in layers]
        )
        self._weighted = [
            node for node in nodes if node.op_type in ("Conv", "BatchNormalization", "Gemm")
        ]
        self.stages = tuple(dict.fromkeys(stage_of(_layer(node)) for node in self._weighted))
        self.stage = stage_of(
            _layer(next(node for node in reversed(nodes[: pools[-1]]) if node.op_type == "Conv"))
        )
        self._opened = [tail[0].input[0], linear[0].input[0]]
        known = {output.name for output in graph.output}
        graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in self._opened
            if name not in known
        )
        self._predictor = Predictor(self._model.SerializeToString())

    def look(self, images: Pixels) -> Seen:
        """Feature maps, features and probabilities of images (N, C, H, W); raises Unexplainable for logits that are not
        finite.
        """
        maps, features, logits, probabilities = self._run(
            images, [*self._opened, LOGITS, PROBABILITIES]
        )
        if not np.isfinite(logits).all():
            raise Unexplainable(
                "what the network gives for these images is not finite: its weights are too large"
            )
        return Seen(maps, features, probabilities)

    def probabilities(self, images: Pixels) -> Floats:
        """Of images (N, C, H, W): (N, num_classes)."""
        return self._run(images, [PROBABILITIES])[0]

    def redrawn(self, stages: tuple[str, ...], generator: np.random.Generator) -> "OpenNetwork":
        """The network with these stages as before any training.

        Convs: normal of variance 2 / fan_out (He et al. 2015, arXiv:1502.01852, equation 14); linear layers: normal of
        variance 1 / fan_in, no bias; batch norms as they start.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self._weighted:
            if stage_of(_layer(node)) in stages:
                for number, name in enumerate(node.input[1:]):
                    constants[name].raw_data = (
                        _fresh(node.op_type, number, tuple(constants[name].dims), generator)
                        .astype("<f4")
                        .tobytes()
                    )
        return OpenNetwork(model)

    def _run(self, images: Pixels, names: list[str]) -> list[Floats]:
        parts = [
            self._predictor.tensors(images[first : first + BATCH], names)
            for first in range(0, len(images), BATCH)
        ]
        return [np.concatenate(arrays).astype(np.float64) for arrays in zip(*parts, strict=True)]


def _layer(node: onnx.NodeProto) -> str:
    """The layer that a node's weights are of."""
    weight: str = node.input[1]
    return weight.rpartition(".")[0]


def _fresh(
    operator: str, number: int, shape: tuple[int, ...], generator: np.random.Generator
) -> Floats:
    """First values of a node's constant of that number."""
    match operator:
        case "BatchNormalization":
            return np.full(shape, BATCH_NORM_START[number])
        case "Conv":
            return generator.normal(0, math.sqrt(2 / (shape[0] * math.prod(shape[2:]))), shape)
        case _:
            return (
                generator.normal(0, math.sqrt(1 / shape[1]), shape)
                if number == 0
                else np.zeros(shape)
            )
