"""Gradients of a few parameters step by step: which, how often, and no more than can be kept."""

from typing import Annotated

from pydantic import AfterValidator, Field

from lab_models.specs.base import Frozen, all_different

MOST_LAYERS = 8
MOST_POINTS = 2000
"""Steps of one run that are measured: more than a picture is pixels wide. With histograms they take 4 MB at most."""

ParameterName = Annotated[str, Field(min_length=1, max_length=100)]


class LayerGradientsSpec(Frozen):
    """The gradients of a few parameters over the steps of training, kept in a file of the run. At most 2,000 steps of
    one run are measured.
    """

    layers: Annotated[
        tuple[ParameterName, ...],
        Field(min_length=1, max_length=MOST_LAYERS, strict=False),
        AfterValidator(all_different),
    ]
    """Names of parameters, as in `weights.safetensors`, such as `layer2.1.conv2.weight` or `hidden.0.linear.bias`."""
    every_steps: int = Field(default=10, ge=1, le=100_000_000)
    """One of so many optimizer steps is measured, the first among them, counted over all epochs."""
    histograms: bool = False
    """Also count the gradient's elements by their magnitude, in quarter decades from 1e-10 to 100."""
