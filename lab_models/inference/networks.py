"""A network's layers written as an ONNX graph, without torch.

Dropout is left out, as in evaluation. Tests hold every network equal to its torch module.
"""

from typing import assert_never

from lab_models.architectures.plan import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Layers,
    Linear,
    Norm,
    Padded,
    Pool,
    Residual,
    Resize,
    StageEnd,
)
from lab_models.architectures.shapes import Shape, shape_after
from lab_models.inference.graph import Graph


def write_layers(graph: Graph, layers: Layers, shape: Shape) -> None:
    """From what has this shape for each image to what the last layer gives; raises UnfitWeights where a layer's weights
    are missing.
    """
    for layer in layers:
        _write(graph, layer, shape)
        shape = shape_after(layer, shape)


def _write(graph: Graph, layer: Layer, shape: Shape) -> None:
    match layer:
        case Conv():
            graph.conv(
                layer.name,
                kernel=layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                bias=layer.bias,
            )
        case Linear():
            graph.linear(layer.name, bias=layer.bias)
        case Norm():
            _write_norm(graph, layer, shape)
        case Activation():
            graph.activation(layer.function)
        case Pool():
            pool = graph.max_pool if layer.kind == "max" else graph.mean_pool
            pool(layer.name, kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
        case GlobalPool():
            graph.global_pool(layer.name)
        case Flatten():
            graph.flatten()
        case Resize():
            graph.resize(layer.name, layer.side)
        case Padded():
            graph.padded(layer.name, stride=layer.stride, extra=layer.extra)
        case Dropout() | StageEnd():
            pass
        case Residual():
            _write_both(graph, layer, shape)
        case _:
            assert_never(layer)


def _write_both(graph: Graph, layer: Residual, shape: Shape) -> None:
    start = graph.signal
    write_layers(graph, layer.body, shape)
    end, graph.signal = graph.signal, start
    write_layers(graph, layer.shortcut, shape)
    other, graph.signal = graph.signal, end
    graph.add(other)


def _write_norm(graph: Graph, layer: Norm, shape: Shape) -> None:
    if layer.kind == "batch":
        graph.batch_norm(layer.name)
    elif layer.kind == "layer" and len(shape) == 1:
        graph.layer_norm(layer.name)
    else:
        graph.group_norm(layer.name, layer.groups, shape)
