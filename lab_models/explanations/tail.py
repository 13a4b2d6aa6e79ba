"""What follows a network's last feature maps, and its gradient: the vector part of an ONNX graph, run and walked back
in NumPy. The service that explains networks has no torch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from scipy.special import erf

from lab_models.explanations.maps import Floats, Integers

Back = Callable[[Floats], tuple[Floats, ...]]
"""From the gradient of what an operator gives to those of the vectors that it takes."""


class Tail:
    """The nodes from the first that takes a vector to the logits. `averaged`: over how many places of a map each number
    of that vector is a mean, 1 where it is one of them; None: over all.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, npt.NDArray[np.generic]],
        averaged: int | None,
    ) -> None:
        self.averaged = averaged
        self._nodes = nodes
        self._constants = constants

    def gradients(self, features: Floats, classes: Integers) -> Floats:
        """Of the logits of `classes` (N,) by the `features` (N, F) that the first node takes: (N, F)."""
        start = self._nodes[0].input[0]
        known: dict[str, Floats] = {start: features}
        passed: list[tuple[onnx.NodeProto, Back]] = []
        for node in self._nodes:
            known[node.output[0]], back = self._forward(node, known)
            passed.append((node, back))
        logits = known[self._nodes[-1].output[0]]
        found: dict[str, Floats] = {self._nodes[-1].output[0]: np.eye(logits.shape[1])[classes]}
        for node, back in reversed(passed):
            taken = [name for name in node.input if name in known]
            for name, gradient in zip(taken, back(found.pop(node.output[0])), strict=True):
                found[name] = found[name] + gradient if name in found else gradient
        return found[start]

    def _forward(self, node: onnx.NodeProto, known: dict[str, Floats]) -> tuple[Floats, Back]:
        vectors = [known[name] for name in node.input if name in known]
        constants = [
            self._constants[name].astype(np.float64) for name in node.input if name not in known
        ]
        return OPERATORS[node.op_type](node, vectors, constants)


def _linear(
    _: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    weight, *bias = constants
    return vectors[0] @ weight.T + sum(bias), lambda gradient: (gradient @ weight,)


def _relu(_: onnx.NodeProto, vectors: list[Floats], __: list[Floats]) -> tuple[Floats, Back]:
    is_passed = vectors[0] > 0
    return vectors[0] * is_passed, lambda gradient: (gradient * is_passed,)


def _leaky_relu(
    node: onnx.NodeProto, vectors: list[Floats], _: list[Floats]
) -> tuple[Floats, Back]:
    slope = np.where(vectors[0] > 0, 1.0, _attribute(node, "alpha"))
    return vectors[0] * slope, lambda gradient: (gradient * slope,)


def _tanh(_: onnx.NodeProto, vectors: list[Floats], __: list[Floats]) -> tuple[Floats, Back]:
    given = np.tanh(vectors[0])
    return given, lambda gradient: (gradient * (1 - given**2),)


def _sigmoid(_: onnx.NodeProto, vectors: list[Floats], __: list[Floats]) -> tuple[Floats, Back]:
    given = (1 + np.tanh(vectors[0] / 2)) / 2  # does not overflow
    return given, lambda gradient: (gradient * given * (1 - given),)


def _erf(_: onnx.NodeProto, vectors: list[Floats], __: list[Floats]) -> tuple[Floats, Back]:
    slope = 2 / math.sqrt(math.pi) * np.exp(-(vectors[0] ** 2))
    return erf(vectors[0]), lambda gradient: (gradient * slope,)


def _add(_: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]) -> tuple[Floats, Back]:
    total = reduce(np.add, [*vectors, *constants])
    return total, lambda gradient: (gradient,) * len(vectors)


def _multiply(
    _: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    one, other = vectors[0], (vectors + constants)[1]
    return one * other, lambda gradient: (gradient * other, gradient * one)[: len(vectors)]


def _divide(
    _: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    return vectors[0] / constants[0], lambda gradient: (gradient / constants[0],)


def _batch_norm(
    node: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    scale, shift, mean, variance = constants
    slope = scale / np.sqrt(variance + _attribute(node, "epsilon"))
    return (vectors[0] - mean) * slope + shift, lambda gradient: (gradient * slope,)


def _norm(
    node: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    """Over the last axis; an instance norm's scales are those of the axis before."""
    scale, shift = (
        values[:, None] if node.op_type == "InstanceNormalization" else values
        for values in constants
    )
    centered = vectors[0] - vectors[0].mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + _attribute(node, "epsilon"))
    normal = centered / deviation

    def back(gradient: Floats) -> tuple[Floats]:
        scaled = gradient * scale
        along = (scaled * normal).mean(axis=-1, keepdims=True)
        return ((scaled - scaled.mean(axis=-1, keepdims=True) - normal * along) / deviation,)

    return normal * scale + shift, back


def _reshape(
    _: onnx.NodeProto, vectors: list[Floats], constants: list[Floats]
) -> tuple[Floats, Back]:
    before = vectors[0].shape
    shape = [len(vectors[0]), *(int(side) for side in constants[0][1:])]
    return vectors[0].reshape(shape), lambda gradient: (gradient.reshape(before),)


def _flatten(_: onnx.NodeProto, vectors: list[Floats], __: list[Floats]) -> tuple[Floats, Back]:
    return vectors[0], lambda gradient: (gradient,)


def _attribute(node: onnx.NodeProto, name: str) -> float:
    return next(
        float(helper.get_attribute_value(one)) for one in node.attribute if one.name == name
    )


OPERATORS: Final = {
    "Gemm": _linear,
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "Tanh": _tanh,
    "Sigmoid": _sigmoid,
    "Erf": _erf,
    "Add": _add,
    "Mul": _multiply,
    "Div": _divide,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _norm,
    "InstanceNormalization": _norm,
    "Reshape": _reshape,
    "Flatten": _flatten,
}
"""All that a network's graph has behind its maps; see `inference.graph`."""
