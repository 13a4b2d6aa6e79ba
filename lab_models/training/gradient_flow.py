"""How large the gradient of every layer's weight is, at initialization and along training."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lab_models.training.layer_metrics import (
    BIAS_GRADIENT_L2,
    GRADIENT_L2,
    GRADIENT_MEAN_ABS,
    LAYER_POSITION,
    WEIGHT_NORM,
)
from lab_models.training.protocol import Metrics

NUM_INITIAL_BATCHES = 20
"""Batches averaged at initialization: between batches of 64 of digits a norm scatters by 5 to 50 %, so its mean over 20
by 1 to 11 %.
"""

MOST_STEPS_MEASURED = 20
LEAST_STEPS_PER_MEASURED = 4


@dataclass(frozen=True)
class Layer:
    """A module with a weight matrix or kernel. `name` is its path in the model, such as `layer2.1.conv2`."""

    name: str
    weight: nn.Parameter
    bias: nn.Parameter | None


def weight_layers(model: nn.Module) -> tuple[Layer, ...]:
    """The model's layers in the order they were registered, which in this lab is the order of the forward pass, head
    last.

    A layer is a module whose own `weight` has two or more dimensions: linear and convolutional ones. Scales of norms
    are not weights of a layer, of whatever shape. A weight that two modules share counts once, under its first name. A
    1x1 conv of a shortcut stands where it was registered: after the convs that it goes around.
    """
    layers: dict[int, Layer] = {}
    for name, module in model.named_modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if (
            isinstance(weight, nn.Parameter)
            and weight.ndim >= 2
            and not isinstance(module, nn.LayerNorm | nn.RMSNorm)
        ):
            layers.setdefault(
                id(weight),
                Layer(
                    name or type(module).__name__,
                    weight,
                    bias if isinstance(bias, nn.Parameter) else None,
                ),
            )
    return tuple(layers.values())


def steps_measured(num_steps: int) -> range:
    """Which of an epoch's steps, counted from 0, are measured: the last quarter, but at least one and at most 20.

    The last, so that an epoch's number says where it ended; few, so that the cost stays far below a tenth of the epoch.
    """
    measured = max(1, min(MOST_STEPS_MEASURED, num_steps // LEAST_STEPS_PER_MEASURED))
    return range(num_steps - measured, num_steps)


class GradientFlow:
    """Running sums of every layer's gradient norms, kept on the device: nothing waits for it until `metrics()` is read.

    Norms are taken in float64. In float32 the squares of a gradient of 1e-25 are 0, and a vanishing gradient would read
    as none. A weight that was left out of the backward pass counts as a gradient of 0; one that is frozen
    (`requires_grad` False) has no gradient to speak of, and no number.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.layers = weight_layers(model)
        self._weights: list[Tensor] = [layer.weight for layer in self.layers]
        self._biased = [layer for layer in self.layers if layer.bias is not None]
        self._biases: list[Tensor] = [layer.bias for layer in self.layers if layer.bias is not None]
        self._device = self._weights[0].device if self._weights else torch.device("cpu")
        self._reset()

    def at_initialization(self, step_gradients: Callable[[int], None]) -> Metrics:
        """The numbers of epoch 0: means over 20 batches at the weights as they stand, in training mode, and the layers'
        positions.

        `step_gradients(i)` leaves the gradients of probe batch i in `.grad` and changes no parameter. Whatever happens,
        afterwards buffers (batch norm's running statistics), each module's mode and the generators of the CPU and of
        the model's device are as before, and `.grad` is None.
        """
        self._reset()
        with _unchanged(self._model, self._device):
            self._model.train()
            for batch in range(NUM_INITIAL_BATCHES):
                self._model.zero_grad(set_to_none=True)
                step_gradients(batch)
                self.record()
        return {
            **self.metrics(),
            LAYER_POSITION: {
                layer.name: float(position) for position, layer in enumerate(self.layers)
            },
        }

    @torch.no_grad()
    def record(self) -> None:
        """Add the norms of the gradients as they stand in `.grad`: after backward, before they are clipped."""
        both = _gradient_norms([*self._weights, *self._biases], 2, self._device)
        self._l2 += both[: len(self._weights)]
        self._bias_l2 += both[len(self._weights) :]
        self._l1 += _gradient_norms(self._weights, 1, self._device)
        self._steps += 1

    @torch.no_grad()
    def metrics(self) -> Metrics:
        """Means over the recorded steps by split and layer, and the weights' norms as they stand; then starts anew.

        Empty when no step was recorded. What is not finite is left out, because it can be neither sent nor drawn.
        """
        if not self._steps:
            return {}
        names = [layer.name for layer in self.layers]
        sizes = torch.tensor(
            [weight.numel() for weight in self._weights], dtype=torch.float64, device=self._device
        )
        weight_norms = _stacked(
            torch._foreach_norm(self._weights, 2, dtype=torch.float64) if self._weights else (),
            self._device,
        )
        found = {
            GRADIENT_L2: _by_name(names, self._l2 / self._steps, self._weights),
            GRADIENT_MEAN_ABS: _by_name(names, self._l1 / sizes / self._steps, self._weights),
            BIAS_GRADIENT_L2: _by_name(
                [layer.name for layer in self._biased], self._bias_l2 / self._steps, self._biases
            ),
            WEIGHT_NORM: _by_name(names, weight_norms, None),
        }
        self._reset()
        return {split: values for split, values in found.items() if values}

    def state(self) -> dict[str, Tensor]:
        """Copies of the running sums, for a checkpoint within an epoch."""
        return {
            "steps": torch.tensor(self._steps),
            "l2": self._l2.clone(),
            "l1": self._l1.clone(),
            "bias_l2": self._bias_l2.clone(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from sums that `state()` gave for a model of the same layers; raises RuntimeError for another number of
        layers.
        """
        self._steps = int(state["steps"])
        for mine, saved in (
            (self._l2, state["l2"]),
            (self._l1, state["l1"]),
            (self._bias_l2, state["bias_l2"]),
        ):
            mine.copy_(saved)

    def _reset(self) -> None:
        self._steps = 0
        self._l2 = torch.zeros(len(self._weights), dtype=torch.float64, device=self._device)
        self._l1 = torch.zeros_like(self._l2)
        self._bias_l2 = torch.zeros(len(self._biases), dtype=torch.float64, device=self._device)


def _gradient_norms(parameters: Sequence[Tensor], order: int, device: torch.device) -> Tensor:
    """Norms of the parameters' gradients as (len(parameters),) float64; 0 where there is no gradient."""
    gradients = [parameter.grad for parameter in parameters]
    present = [gradient for gradient in gradients if gradient is not None]
    norms = iter(torch._foreach_norm(present, order, dtype=torch.float64) if present else ())
    if len(present) == len(gradients):
        return _stacked(norms, device)
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return _stacked((zero if gradient is None else next(norms) for gradient in gradients), device)


def _stacked(norms: Iterable[Tensor], device: torch.device) -> Tensor:
    listed = list(norms)
    return torch.stack(listed) if listed else torch.zeros(0, dtype=torch.float64, device=device)


def _by_name(
    names: Sequence[str], values: Tensor, parameters: Sequence[Tensor] | None
) -> dict[str, float]:
    """The finite values by layer, without those of frozen parameters."""
    trained = (
        [True] * len(names)
        if parameters is None
        else [parameter.requires_grad for parameter in parameters]
    )
    return {
        name: value
        for name, value, is_trained in zip(names, values.tolist(), trained, strict=True)
        if is_trained and math.isfinite(value)
    }


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put buffers, modes and generators back, and take the gradients away, however the block ends."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            model.zero_grad(set_to_none=True)
            for module, was_training in modes:
                module.training = was_training
            with torch.no_grad():
                for buffer, saved in buffers:
                    buffer.copy_(saved)
