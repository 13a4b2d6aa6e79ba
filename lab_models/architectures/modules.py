"""A plan as a network of PyTorch: its layers as modules under their names, run in the plan's order."""

from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures import plan as on_paper
from lab_models.architectures.initial_weights import UndrawnConv, UndrawnLinear, Weighted, draw
from lab_models.architectures.plan import Layers, NetworkPlan
from lab_models.architectures.shapes import Shape, shape_after

Step = Callable[[Tensor], Tensor]
FUNCTIONS: Final[dict[on_paper.ActivationName, Step]] = {
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class LayeredNetwork(nn.Module):
    """A freshly initialized network; torch's generator must be seeded."""

    def __init__(self, plan: NetworkPlan, shape: Shape) -> None:
        super().__init__()
        builder = _Builder(self, shape)
        self._steps = builder.steps(plan.layers)
        draw(builder.weighted, plan.init)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_classes) logits."""
        return _run(self._steps, images)


class Part(nn.Sequential):
    """The modules of one part of a network under their names. The network runs them itself, and calls a stage with what
    the stage has given, for those who hook onto it.
    """

    def forward(self, outputs: Tensor, *, has_run: bool = False) -> Tensor:
        """The same outputs."""
        if not has_run:
            raise RuntimeError(
                "a part of a network does not run alone: run the network, and hook onto the part"
            )
        return outputs


class Resizing(nn.Module):
    """Brings every image to one size, bilinearly.

    There is no filter against aliasing, which only an image that is made smaller could need: ONNX has none in opset 17.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, side, side)."""
        size = [self.side, self.side]
        if images.requires_grad:
            return functional.interpolate(images, size, mode="bilinear", align_corners=False)
        # the same, without a GPU's detour of 35 kernels that gradients need to be deterministic
        return torch.ops.aten.upsample_bilinear2d(images, size, False)  # type: ignore[no-any-return]


class Around:
    """A body and the shortcut around it."""

    def __init__(self, body: tuple[Step, ...], shortcut: tuple[Step, ...]) -> None:
        self._body = body
        self._shortcut = shortcut

    def __call__(self, inputs: Tensor) -> Tensor:
        """The sum of what both make of the inputs."""
        outputs = _run(self._body, inputs)
        return outputs + _run(self._shortcut, inputs)


def padded(inputs: Tensor, *, stride: int, extra: int) -> Tensor:
    """(B, C, H, W) -> (B, C + extra, ⌈H / stride⌉, ⌈W / stride⌉), the zeros last."""
    return functional.pad(inputs[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, extra))


def _run(steps: tuple[Step, ...], signal: Tensor) -> Tensor:
    for step in steps:
        signal = step(signal)
    return signal


class _Builder:
    """Makes the steps of layers and registers their modules; `weighted` are those with weights, in their order."""

    def __init__(self, network: LayeredNetwork, shape: Shape) -> None:
        self.weighted: list[Weighted] = []
        self._network = network
        self._shape = shape
        self._in_shortcut = False

    def steps(self, layers: Layers) -> tuple[Step, ...]:
        """Of layers one after the other."""
        return tuple(self._step(layer) for layer in layers)

    def _step(self, layer: on_paper.Layer) -> Step:
        if isinstance(layer, on_paper.Residual):
            return self._around(layer)
        before, self._shape = self._shape, shape_after(layer, self._shape)
        match layer:
            case on_paper.Activation():
                return FUNCTIONS[layer.function]
            case on_paper.Flatten():
                return partial(torch.flatten, start_dim=1)
            case on_paper.Padded():
                return partial(padded, stride=layer.stride, extra=layer.extra)
            case on_paper.StageEnd():
                return partial(self._part(layer.name), has_run=True)
            case _:
                module = _module(layer, before)
        if isinstance(module, UndrawnConv | UndrawnLinear):
            self.weighted.append(Weighted(module, self._in_shortcut))
        place, _, name = layer.name.rpartition(".")
        self._part(place).add_module(name, module)
        return module

    def _around(self, layer: on_paper.Residual) -> Around:
        start = self._shape
        body = self.steps(layer.body)
        end, self._shape, was_in_shortcut = self._shape, start, self._in_shortcut
        self._in_shortcut = True
        shortcut = self.steps(layer.shortcut)
        self._shape, self._in_shortcut = end, was_in_shortcut
        return Around(body, shortcut)

    def _part(self, path: str) -> nn.Module:
        """The module of that dotted name, made where it is not there yet."""
        found: nn.Module = self._network
        for name in path.split(".") if path else ():
            if name not in found._modules:
                found.add_module(name, Part())
            found = found.get_submodule(name)
        return found


def _module(
    layer: on_paper.Conv
    | on_paper.Linear
    | on_paper.Norm
    | on_paper.Pool
    | on_paper.GlobalPool
    | on_paper.Dropout
    | on_paper.Resize,
    shape: Shape,
) -> nn.Module:
    match layer:
        case on_paper.Conv():
            return UndrawnConv(
                shape[0],
                layer.width,
                layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                bias=layer.bias,
            )
        case on_paper.Linear():
            return UndrawnLinear(shape[0], layer.width, bias=layer.bias)
        case on_paper.Norm():
            return _norm(layer, shape)
        case on_paper.Pool():
            kind = nn.MaxPool2d if layer.kind == "max" else nn.AvgPool2d
            return kind(layer.kernel, layer.stride, layer.padding)
        case on_paper.GlobalPool():
            return nn.AdaptiveAvgPool2d(1)
        case on_paper.Dropout():
            dropout = nn.Dropout if layer.of == "units" else nn.Dropout2d
            return dropout(layer.probability)
        case on_paper.Resize():
            return Resizing(layer.side)
        case _:
            assert_never(layer)


def _norm(layer: on_paper.Norm, shape: Shape) -> nn.Module:
    is_map = len(shape) == 3
    match layer.kind:
        case "batch":
            return nn.BatchNorm2d(shape[0]) if is_map else nn.BatchNorm1d(shape[0])
        case "layer":
            return nn.GroupNorm(1, shape[0]) if is_map else nn.LayerNorm(shape[0])
        case "group":
            return nn.GroupNorm(layer.groups, shape[0])
        case _:
            assert_never(layer.kind)
