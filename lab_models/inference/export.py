"""From a published run to an ONNX file that needs nothing beside it: pixels in, logits and probabilities out."""

import json
from collections.abc import Callable, Iterable

import onnx
from onnx import TensorProto, helper
from safetensors import SafetensorError, safe_open

from lab_models.architectures.expansion import plan_of
from lab_models.architectures.pixels import as_seen, shape_within
from lab_models.common.errors import LabError
from lab_models.common.files import sha256_of
from lab_models.inference.graph import IMAGES, LOGITS, PROBABILITIES, Array, Graph, UnfitWeights
from lab_models.inference.networks import write_layers
from lab_models.inference.trained import TrainedNetwork

OPSET, IR_VERSION = 17, 8
"""The oldest with LayerNormalization, so that the most runtimes read it:
https://onnx.ai/onnx/intro/converters.html#opsets (ONNX 1.12, June 2022).
"""
MOST_WEIGHT_BYTES = 1 << 29
"""134 million numbers. Writing a file takes four times its size in memory; Protocol Buffers end at 2 GiB."""


class TooLarge(LabError):
    """The network's weights are more than this can write as one ONNX file."""

    code = "too_large"


def onnx_file(network: TrainedNetwork) -> bytes:
    """The network as an ONNX file; equal networks give equal bytes.

    Input: `images` (N, C, H, W) uint8, pixels as they are, because normalization is part of the graph. Outputs:
    `logits` and `probabilities`, (N, num_classes) float32 each, in the order of the metadata's `class_names`. Raises
    TooLarge, UnfitWeights for weights that are damaged or of another network, and OSError.
    """
    size = network.weights.stat().st_size
    if size > MOST_WEIGHT_BYTES:
        raise TooLarge(
            f"weights of {size:,} bytes are more than {MOST_WEIGHT_BYTES:,}",
            hint="load the run's weights.safetensors into the network itself",
        )
    if sha256_of(network.weights) != network.weights_sha256:
        raise UnfitWeights(
            f"{network.weights.name} is damaged: its SHA-256 is not the recorded one"
        )
    try:
        with safe_open(network.weights, framework="numpy") as file:
            content: bytes = _model(network, file.keys(), file.get_tensor).SerializeToString(
                deterministic=True
            )
    except SafetensorError as error:
        raise UnfitWeights(f"{network.weights.name} is no safetensors file: {error}") from error
    return content


def _model(
    network: TrainedNetwork, names: Iterable[str], read: Callable[[str], Array]
) -> onnx.ModelProto:
    info = network.dataset
    images = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", *info.shape])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", info.num_classes])
        for name in (LOGITS, PROBABILITIES)
    ]
    model = helper.make_model(
        helper.make_graph([], network.model.arch, [images], outputs),
        producer_name="training-lab",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(
        model,
        {
            "class_names": json.dumps(info.class_names),
            "dataset": info.name,
            "model": network.model.model_dump_json(),
        },
    )
    graph = Graph(model.graph, names, read)
    seen = as_seen(network.model, info)
    graph.normalize(seen.mean, seen.std)
    shape = shape_within(network.model, info.shape)
    write_layers(graph, plan_of(network.model, shape, info.num_classes).layers, shape)
    graph.outputs()
    return model
