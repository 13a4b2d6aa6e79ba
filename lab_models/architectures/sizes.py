"""How large a network is, in closed form and without torch: its layers, parameters, multiply-accumulates and dead
weights.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from lab_models.architectures.expansion import plan_of
from lab_models.architectures.layers import LayerSize, Tape
from lab_models.architectures.listed import LayerFault, listed
from lab_models.architectures.pixels import shape_within
from lab_models.architectures.shapes import Shape
from lab_models.specs import CNNSpec, LayersSpec, ModelSpec, ResNet18Spec

InputShape = tuple[int, int, int]

KEPT_SIZES = 64
"""Sizes that are remembered: the cells of a table have few networks among them, and the largest has a few thousand
layers.
"""


@dataclass(frozen=True)
class ModelSize:
    """The layers of `model` for images of `input_shape` in the order of the forward pass, and what they come to.

    `activations`: elements that autograd keeps of one image until the backward pass, batch norm's few per channel left
    out. Training takes about 4 · (activations · batch size + parameters · (2 + the optimizer's numbers per parameter))
    bytes in float32, and what the kernels need in passing. `ends`: what stages give whose end is said, which the last
    of their `layers` may not give yet: some layers have no name.
    """

    model: ModelSpec
    input_shape: InputShape
    layers: tuple[LayerSize, ...] = field(hash=False)
    activations: int
    ends: tuple[tuple[str, Shape], ...] = ()

    @cached_property
    def parameters(self) -> int:
        """Trainable numbers."""
        return sum(layer.parameters for layer in self.layers)

    @cached_property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates of one image's forward pass, in linear layers and convs."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def dead_weights(self) -> int:
        """Weights whose gradient is zero for ever, because they meet nothing but zero padding."""
        return sum(layer.dead_weights for layer in self.layers)


def model_size(model: ModelSpec, input_shape: InputShape, num_classes: int) -> ModelSize:
    """Size of the network that `build_model` makes for images of shape (channels, height, width).

    Equal networks are worked out once. Raises ValueError for images that `impossible` calls too small.
    """
    reason = impossible(model, input_shape)
    if reason is not None:
        raise ValueError(reason)
    return _recorded(model, input_shape, num_classes)


@lru_cache(maxsize=KEPT_SIZES)
def _recorded(model: ModelSpec, input_shape: InputShape, num_classes: int) -> ModelSize:
    shape = shape_within(model, input_shape)
    tape = Tape(shape)
    tape.record(plan_of(model, shape, num_classes).layers)
    ends = tuple(tape.ends.items())
    return ModelSize(model, input_shape, tuple(tape.layers), tape.activations, ends)


def impossible(model: ModelSpec, input_shape: InputShape) -> str | None:
    """Why the network cannot take images of shape (channels, height, width), in a sentence; None where it can."""
    fault = fault_of(model, input_shape)
    return None if fault is None else f"{fault.pointer}: {fault}".removeprefix(": ")


@lru_cache(maxsize=KEPT_SIZES)
def fault_of(model: ModelSpec, input_shape: InputShape) -> LayerFault | None:
    """The same with a pointer from the network to the layer that does not fit, empty where it is the network itself."""
    reason = _misfit(model, input_shape)
    if reason is not None:
        return LayerFault("", reason)
    if isinstance(model, LayersSpec):
        try:
            listed(model, shape_within(model, input_shape), num_classes=1)
        except LayerFault as fault:
            return fault
    return None


def _misfit(model: ModelSpec, input_shape: InputShape) -> str | None:
    """Only max pools without padding can run out of pixels: every other layer of the lab's own networks makes at least
    one of one.
    """
    if model.input_channels is not None and model.input_channels != input_shape[0]:
        made_for, given = _KIND[model.input_channels], _KIND[input_shape[0]]
        return (
            f"the network is made for {made_for} and these are {given}; set 'input_channels' to null, or choose another"
            " data set"
        )
    height, width = input_shape[1:]
    most = min(height, width).bit_length() - 1
    if model.unpadded_pools <= most:
        return None
    remedy = f"give at most {most} 'widths'" if most else "choose another architecture"
    return (
        f"a {height}x{width} image has no pixel left after max pool {most + 1} of {model.unpadded_pools}: {remedy}, or"
        " larger images"
    )


_KIND = {1: "grey images", 3: "color images"}


def dead_weight_warning(size: ModelSize) -> str | None:
    """How many weights never get a gradient, from which layer on, and what to do, in a sentence; None where all get
    one.
    """
    first = next((layer for layer in size.layers if layer.dead_weights), None)
    if first is None:
        return None
    share = f"{size.dead_weights:,} of {size.parameters:,} weights ({100 * size.dead_weights / size.parameters:.1f} %)"
    side = "x".join(map(str, first.output_shape[1:]))
    return (
        f"{share} never get a gradient: from layer {first.name} on the feature map is {side}, and they meet nothing but"
        f" zero padding; {_remedy(size)}"
    )


def _remedy(size: ModelSize) -> str:
    def all_live(model: ModelSpec) -> bool:
        return model_size(model, size.input_shape, 1).dead_weights == 0

    match size.model:
        case CNNSpec() as model:
            for halvings in reversed(range(len(model.stage_widths) - 1)):
                # more blocks see maps of the same size
                if all_live(
                    model.model_copy(update={"max_halvings": halvings, "blocks_per_stage": 1})
                ):
                    return f"set max_halvings to {halvings} or less"
        case ResNet18Spec(stem="imagenet", image_size=None, statistics="dataset"):
            if all_live(ResNet18Spec(stem="cifar")):
                return "set stem to cifar"
        case ResNet18Spec():
            return "set a larger image_size"
        case _:
            pass
    return "use larger images"
