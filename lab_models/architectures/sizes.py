"""How large a network is, in closed form: parameters and multiply-accumulates, without building it."""

import math
from dataclasses import dataclass
from itertools import pairwise

from lab_models.specs import MLPSpec, ModelSpec


@dataclass(frozen=True)
class ModelSize:
    """`parameters`: trainable numbers. `macs_per_sample`: multiply-accumulates of one image's forward pass, linear layers only."""

    parameters: int
    macs_per_sample: int


def model_size(model: ModelSpec, input_shape: tuple[int, int, int], num_classes: int) -> ModelSize:
    """Size of the network that `build_model` makes for images of shape (channels, height, width)."""
    return _mlp_size(model, math.prod(input_shape), num_classes)


def _mlp_size(model: MLPSpec, num_inputs: int, num_classes: int) -> ModelSize:
    layers = (num_inputs, *model.widths, num_classes)
    macs = sum(fan_in * fan_out for fan_in, fan_out in pairwise(layers))
    biases = sum(layers[1:])
    scales_and_shifts = 0 if model.norm == "none" else 2 * sum(model.widths)
    return ModelSize(parameters=macs + biases + scales_and_shifts, macs_per_sample=macs)
