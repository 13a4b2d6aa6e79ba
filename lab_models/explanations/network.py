"""A trained network cut open where its maps become a vector: the feature maps, what follows them, and the same network
with layers drawn anew.
"""

import math

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lab_models.architectures.stages import stage_of
from lab_models.common.errors import LabError
from lab_models.explanations.maps import Floats, Seen
from lab_models.explanations.tail import OPERATORS, Tail
from lab_models.inference.graph import LOGITS, PROBABILITIES
from lab_models.inference.predictor import Predictor

Pixels = npt.NDArray[np.uint8]

BATCH = 64


class Unexplainable(LabError):
    """The network has no feature maps, or gives numbers that are not finite."""

    code = "unexplainable"


class OpenNetwork:
    """A network from its ONNX file, see `lab_models.inference.export`; raises Unexplainable where it has no conv.

    A model that is read already becomes this network's own. Its last maps are those that become a vector, or those
    before a pool that stands there. `stages` are the parts with weights, input side first, the head last; `stage` is
    the one whose maps are looked at, `tail` what follows them.
    """

    def __init__(self, content: bytes | onnx.ModelProto) -> None:
        self._model = onnx.load_from_string(content) if isinstance(content, bytes) else content
        graph = self._model.graph
        nodes = list(graph.node)
        end = next((place for place, node in enumerate(nodes) if node.op_type == "Flatten"), 0)
        convs = [node for node in nodes[:end] if node.op_type == "Conv"]
        if not convs:
            raise Unexplainable("the network has no feature maps: no conv stands before its head")
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        pool = nodes[end - 1]
        last = pool if _divides(pool) else nodes[end]
        tail = [node for node in nodes[end + 1 :] if node.op_type != "Softmax"]
        unknown = {node.op_type for node in tail} - OPERATORS.keys()
        if unknown:
            raise Unexplainable(f"what follows its maps has {', '.join(sorted(unknown))}")
        self.tail = Tail(tail, constants, _averaged(last))
        self._weighted = [node for node in nodes if _has_weights(node)]
        self.stages = tuple(dict.fromkeys(stage_of(_layer(node)) for node in self._weighted))
        self.stage = stage_of(_layer(convs[-1]))
        self._opened = [last.input[0], nodes[end].output[0]]
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
        variance 1 / fan_in; no bias; norms as they start.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self._weighted:
            if stage_of(_layer(node)) in stages:
                for name in node.input[1:]:
                    constants[name].raw_data = (
                        _fresh(name, tuple(constants[name].dims), node.op_type, generator)
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


def _divides(node: onnx.NodeProto) -> bool:
    """Whether it is a pool that takes every place at most once."""
    if node.op_type == "GlobalAveragePool":
        return True
    said = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return (
        node.op_type in ("MaxPool", "AveragePool")
        and said["kernel_shape"] == said["strides"]
        and not any(said["pads"])
    )


def _averaged(node: onnx.NodeProto) -> int | None:
    """See Tail."""
    if node.op_type == "GlobalAveragePool":
        return None
    if node.op_type != "AveragePool":
        return 1
    kernel = next(one for one in node.attribute if one.name == "kernel_shape")
    return math.prod(map(int, kernel.ints))


def _has_weights(node: onnx.NodeProto) -> bool:
    """Whether its first constant has been learned; a group norm's scale and shift are nodes of their own."""
    return len(node.input) > 1 and node.input[1].endswith((".weight", ".bias"))


def _layer(node: onnx.NodeProto) -> str:
    """The layer that a node's weights are of."""
    weight: str = node.input[1]
    return weight.rpartition(".")[0]


def _fresh(
    name: str, shape: tuple[int, ...], operator: str, generator: np.random.Generator
) -> Floats:
    """First values of a node's constant of that name."""
    match operator, name.rpartition(".")[2]:
        case _, "bias" | "running_mean":
            return np.zeros(shape)
        case "Conv", _:
            return generator.normal(0, math.sqrt(2 / (shape[0] * math.prod(shape[2:]))), shape)
        case "Gemm", _:
            return generator.normal(0, math.sqrt(1 / shape[1]), shape)
        case _:
            return np.ones(shape)
