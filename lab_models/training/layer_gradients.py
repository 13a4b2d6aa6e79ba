"""Gradients of a few parameters over the steps of training: their norms, and how large their elements are."""

import json
import math

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from lab_models.specs import LayerGradientsSpec
from lab_models.training.layer_metrics import MAGNITUDES, STATISTICS

State = dict[str, Tensor]
COUNTED_AT_ONCE = 1 << 20
"""Elements: each takes twelve bytes for as long as it is counted."""


class LayerGradients:
    """What has been measured so far, kept on the device: nothing waits for it but the counting of a histogram.

    Statistics are taken in float64, of the gradient after the backward pass, before it is clipped. A parameter without
    a gradient, because it is frozen, has NaN and no counts.
    """

    def __init__(self, model: nn.Module, spec: LayerGradientsSpec, device: torch.device) -> None:
        self._spec = spec
        self._device = device
        parameters = dict(model.named_parameters())
        self._parameters = [parameters[name] for name in spec.layers]
        self._edges = torch.tensor(MAGNITUDES, dtype=torch.float32, device=device)
        self._steps: list[int] = []
        self._statistics: list[Tensor] = []
        self._counts: list[Tensor] = []

    @torch.no_grad()
    def record(self, step: int) -> None:
        """Look at the gradients as they stand in `.grad` after the backward pass of a step, counted from 0 over all
        epochs, if it is one of those that are measured. Nothing is changed.
        """
        if step % self._spec.every_steps:
            return
        gradients = [parameter.grad for parameter in self._parameters]
        self._steps.append(step + 1)
        self._statistics.append(torch.stack([self._statistics_of(grad) for grad in gradients]))
        if self._spec.histograms:
            self._counts.append(torch.stack([self._counts_of(grad) for grad in gradients]))

    def state(self) -> State:
        """All that was measured: `steps` (P,) int64, from 1; `statistics` (P, L, 3) float64, see STATISTICS; with
        histograms `counts` (P, L, bins) int32. For a checkpoint and for the file.
        """
        layers, bins = len(self._parameters), len(MAGNITUDES) + 1
        statistics = (
            torch.stack(self._statistics).cpu()
            if self._statistics
            else torch.zeros(0, layers, len(STATISTICS), dtype=torch.float64)
        )
        found = {"steps": torch.tensor(self._steps, dtype=torch.int64), "statistics": statistics}
        if self._spec.histograms:
            found["counts"] = (
                torch.stack(self._counts).cpu()
                if self._counts
                else torch.zeros(0, layers, bins, dtype=torch.int32)
            )
        return found

    def load_state(self, state: State) -> None:
        """Go on from what `state()` gave."""
        self._steps = state["steps"].tolist()
        self._statistics = list(state["statistics"].to(self._device))
        self._counts = list(state["counts"].to(self._device)) if "counts" in state else []

    def file(self, steps_per_epoch: int) -> bytes:
        """Safetensors of the state; what names its layers is in the metadata. Equal numbers give equal bytes."""
        about = {
            "layers": list(self._spec.layers),
            "every_steps": self._spec.every_steps,
            "steps_per_epoch": steps_per_epoch,
            "statistics": list(STATISTICS),
            "magnitudes": list(MAGNITUDES) if self._spec.histograms else [],
        }
        return safetensors_bytes(self.state(), {"layer_gradients": json.dumps(about)})

    def _statistics_of(self, gradient: Tensor | None) -> Tensor:
        """L2 norm, mean and largest absolute value: (3,) float64."""
        if gradient is None:
            return torch.full(
                (len(STATISTICS),), math.nan, dtype=torch.float64, device=self._device
            )
        norms = [
            torch.linalg.vector_norm(gradient, order, dtype=torch.float64)
            for order in (2, 1, math.inf)
        ]
        return torch.stack([norms[0], norms[1] / gradient.numel(), norms[2]])

    def _counts_of(self, gradient: Tensor | None) -> Tensor:
        """Elements by magnitude: (bins,) int32."""
        bins = len(MAGNITUDES) + 1
        counts = torch.zeros(bins, dtype=torch.int64, device=self._device)
        elements = gradient.reshape(-1) if gradient is not None else counts[:0]
        for part in elements.split(COUNTED_AT_ONCE):  # type: ignore[no-untyped-call]
            places = torch.bucketize(part.abs(), self._edges, right=True)
            counts += torch.bincount(places, minlength=bins)
        return counts.to(torch.int32)
