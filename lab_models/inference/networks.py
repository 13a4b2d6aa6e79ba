"""The lab's networks, layer by layer: the forward passes of `lab_models.architectures` once more, without torch.

Dropout is left out, as in evaluation. Tests hold every one of them equal to its torch module.
"""

from collections.abc import Callable
from functools import partial
from typing import assert_never

from lab_models.inference.graph import Graph
from lab_models.specs import CNNSpec, HeNetSpec, MLPSpec, ModelSpec, ResNet18Spec, VGGSpec

Shortcut = Callable[[Graph], None]


def write_layers(graph: Graph, model: ModelSpec) -> None:
    """From normalized images (N, C, H, W) to logits (N, num_classes); raises UnfitWeights where a layer's weights are
    missing.
    """
    match model:
        case MLPSpec():
            _mlp(graph, model)
        case CNNSpec():
            _cnn(graph, model)
        case HeNetSpec():
            _henet(graph, model)
        case VGGSpec():
            _vgg(graph, model)
        case ResNet18Spec():
            _resnet18(graph, model)
        case _:
            assert_never(model)


def _mlp(graph: Graph, model: MLPSpec) -> None:
    graph.flatten()
    given: list[str] = []  # what each layer takes
    for i in range(len(model.widths)):
        given.append(graph.signal)
        if i > 0 and model.block == "inverted_bottleneck":
            _inverted_bottleneck(graph, f"hidden.{i}", model)
            continue
        graph.linear(f"hidden.{i}.linear")
        _norm(graph, f"hidden.{i}.norm", model)
        if model.residual and i > 0 and i % model.shortcut_layers == 0:
            graph.add(given[i + 1 - model.shortcut_layers])
        graph.relu()
    graph.linear("head")


def _inverted_bottleneck(graph: Graph, name: str, model: MLPSpec) -> None:
    start = graph.signal
    graph.linear(f"{name}.linear1")
    _norm(graph, f"{name}.norm1", model)
    graph.relu()
    graph.linear(f"{name}.linear2")
    _norm(graph, f"{name}.norm2", model)
    if model.residual:
        graph.add(start)


def _norm(graph: Graph, name: str, model: MLPSpec) -> None:
    match model.norm:
        case "batch":
            graph.batch_norm(name)
        case "layer":
            graph.layer_norm(name)
        case "none":
            pass
        case _:
            assert_never(model.norm)


def _cnn(graph: Graph, model: CNNSpec) -> None:
    _stem(graph)
    before = model.stage_widths[0]
    for i, (width, stride) in enumerate(zip(model.stage_widths, model.stage_strides, strict=True)):
        for j in range(model.blocks_per_stage):
            name = f"stages.{i}.{j}"
            changes = j == 0 and (stride != 1 or width != before)
            projection = partial(
                _projection,
                conv=f"{name}.shortcut.conv",
                norm=f"{name}.shortcut.norm",
                stride=stride,
            )
            _block(
                graph,
                name,
                stride if j == 0 else 1,
                shortcut=(projection if changes else _identity) if model.residual else None,
            )
        before = width
    graph.average_pool("pool")
    graph.linear("head")


def _henet(graph: Graph, model: HeNetSpec) -> None:
    _stem(graph)
    for i in range(3):
        for j in range(model.blocks_per_stage):
            name = f"stages.{i}.{j}"
            halves = i > 0 and j == 0
            padded = (
                partial(
                    Graph.padded,
                    name=f"{name}.shortcut",
                    stride=2,
                    extra=model.width * 2 ** (i - 1),
                )
                if halves
                else _identity
            )
            _block(graph, name, 2 if halves else 1, shortcut=padded if model.residual else None)
    graph.average_pool("pool")
    graph.linear("head")


def _resnet18(graph: Graph, model: ResNet18Spec) -> None:
    if model.image_size is not None:
        graph.resize("resized", model.image_size)
    graph.conv("conv1", stride=1 if model.stem == "cifar" else 2)
    graph.batch_norm("bn1")
    graph.relu()
    if model.stem == "imagenet":
        graph.max_pool("maxpool", kernel=3, stride=2, padding=1)
    for i in range(1, 5):
        for j in range(2):
            name = f"layer{i}.{j}"
            halves = i > 1 and j == 0
            projection = partial(
                _projection, conv=f"{name}.downsample.0", norm=f"{name}.downsample.1", stride=2
            )
            _block(
                graph,
                name,
                2 if halves else 1,
                shortcut=projection if halves else _identity,
                norm="bn",
            )
    graph.average_pool("avgpool")
    graph.linear("fc")


def _vgg(graph: Graph, model: VGGSpec) -> None:
    for i in range(len(model.widths)):
        for j in range(model.convs_per_stage):
            graph.conv(f"stages.{i}.{j}.conv")
            graph.batch_norm(f"stages.{i}.{j}.norm")
            graph.relu()
        graph.max_pool(f"stages.{i}.pool", kernel=2, stride=2)
    graph.flatten()
    graph.linear("hidden")
    graph.relu()
    graph.linear("head")


def _stem(graph: Graph) -> None:
    graph.conv("stem.conv")
    graph.batch_norm("stem.norm")
    graph.relu()


def _block(
    graph: Graph, name: str, stride: int, *, shortcut: Shortcut | None, norm: str = "norm"
) -> None:
    start = graph.signal
    graph.conv(f"{name}.conv1", stride=stride)
    graph.batch_norm(f"{name}.{norm}1")
    graph.relu()
    graph.conv(f"{name}.conv2")
    graph.batch_norm(f"{name}.{norm}2")
    if shortcut is not None:
        end, graph.signal = graph.signal, start
        shortcut(graph)
        graph.add(end)
    graph.relu()


def _identity(graph: Graph) -> None:
    """The input itself."""


def _projection(graph: Graph, *, conv: str, norm: str, stride: int) -> None:
    graph.conv(conv, stride=stride)
    graph.batch_norm(norm)
