"""What can be asked about where a network finds its answer."""

from dataclasses import dataclass
from enum import StrEnum

from lab_models.specs import ModelSpec


class Method(StrEnum):
    """How feature maps are weighed."""

    CAM = "cam"
    """By the weights of the linear layer behind their average (Zhou et al. 2016, arXiv:1512.04150); evidence against
    the class is negative.
    """
    GRAD_CAM = "gradcam"
    """By the mean gradient of the class's logit, the negative part cut off (Selvaraju et al. 2017, arXiv:1610.02391,
    equations 1 and 2).
    """
    GRAD_CAM_PLUS_PLUS = "gradcam++"
    """By its positive gradients, each with a weight of its own (Chattopadhay et al. 2018, arXiv:1710.11063, equations
    10 and 19).
    """


class Show(StrEnum):
    """Which examples are asked for."""

    BOTH = "both"
    """Half of them right, half wrong."""
    RIGHT = "right"
    WRONG = "wrong"


@dataclass(frozen=True)
class Question:
    """What is to be explained how: `num_examples` images, the same ones for the same seed."""

    method: Method
    num_examples: int
    show: Show
    seed: int


def unexplainable(model: ModelSpec, method: Method) -> str | None:
    """Why a network has no such maps, or None where it has; without looking at its images."""
    if not model.has_maps:
        return f"{_kind(model)} has no feature maps: CAM, Grad-CAM and Grad-CAM++ explain networks with convolutions"
    if method is Method.CAM and (model.hidden_in_head or model.counts_pixels):
        is_not_so = (
            f"{_kind(model)} has a hidden layer between"
            if model.hidden_in_head
            else f"{_kind(model)} takes every place of its maps"
        )
        return f"CAM needs one linear layer behind averaged maps, and {is_not_so}: ask for method=gradcam or gradcam++"
    return None


def _kind(model: ModelSpec) -> str:
    return {"mlp": "an MLP", "vgg": "a VGG"}.get(model.arch, "this network")
