"""Everything that resuming needs, saved so that a file is whole or absent and a flipped bit is noticed."""

import copy
import io
import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn, optim

from lab_models.common.errors import CheckpointDamaged
from lab_models.common.files import WrittenFile, sha256_of, write_atomically
from lab_models.training.best_epoch import val_rank
from lab_models.training.freezing import Freezer
from lab_models.training.gradient_flow import GradientFlow
from lab_models.training.layer_gradients import LayerGradients
from lab_models.training.matching import Matcher
from lab_models.training.protocol import Metrics

FORMAT = 3
FOLD_STEPS = 64
"""Losses and logits of this many steps are kept before they are counted: reading them at every step would wait for the
device.
"""


@dataclass
class Best:
    """The best epoch so far and its weights; see `TrainSpec.best_by`."""

    epoch: int
    val: dict[str, float]
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """Where training stands: `epochs_done` whole epochs and `step` steps of the next one.

    `average` holds the moving average of the weights where one is asked for; `freezer` says which stages stand still in
    which epoch; `matcher` compares a student's stages with its teacher's and may be trained itself. `learning_rate` is
    that of the last step; `bad_step` the first step of this epoch, from 1, whose loss was found not to be finite.
    Between epochs `step`, `loss_sum`, `part_sums`, `num_correct`, `num_seen` and `seconds` are 0, and no generator
    state is needed: the next epoch seeds its own.
    """

    model: nn.Module
    optimizer: optim.Optimizer
    device: torch.device
    average: nn.Module | None = None
    flow: GradientFlow | None = None
    layer_gradients: LayerGradients | None = None
    freezer: Freezer | None = None
    matcher: Matcher | None = None
    epochs_done: int = 0
    step: int = 0
    num_seen: int = 0
    num_correct: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    learning_rate: float = math.nan
    bad_step: int | None = None
    best: Best | None = None
    history: list[Metrics] = field(default_factory=list)
    part_sums: dict[str, float] = field(default_factory=dict)
    _losses: list[Tensor] = field(default_factory=list)
    _logits: list[Tensor] = field(default_factory=list)
    _labels: list[Tensor] = field(default_factory=list)
    _parts: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated, tested and published: the average where there is one."""
        return self.model if self.average is None else self.average

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimizer may move: the network's, and those of what is trained beside it and never
        published.
        """
        return [
            *self.model.parameters(),
            *([] if self.matcher is None else self.matcher.parameters()),
        ]

    @property
    def val_losses(self) -> list[float]:
        """Val loss of each epoch done."""
        return [metrics["val"]["loss"] for metrics in self.history]

    def count(
        self, loss: Tensor, logits: Tensor, labels: Tensor, parts: dict[str, Tensor] | None = None
    ) -> None:
        """Count one step's loss () with its parts and logits (B, C); they are read every `FOLD_STEPS` steps, see
        `fold`.
        """
        self._losses.append(loss)
        for name, part in (parts or {}).items():
            self._parts.setdefault(name, []).append(part)
        self._logits.append(logits)
        self._labels.append(labels)
        self.step += 1
        if len(self._losses) >= FOLD_STEPS:
            self.fold()

    def fold(self) -> None:
        """Add up what was counted since the last time, step by step, so that when it is done changes no bit."""
        if not self._losses:
            return
        first = self.step - len(self._losses)
        losses = torch.stack(self._losses).tolist()
        sizes = [len(labels) for labels in self._labels]
        for loss, size in zip(losses, sizes, strict=True):
            self.loss_sum += loss * size
        for name, values in self._parts.items():
            for value, size in zip(torch.stack(values).tolist(), sizes, strict=True):
                self.part_sums[name] = self.part_sums.get(name, 0.0) + value * size
        self.num_seen += sum(sizes)
        self.num_correct += int(
            (torch.cat(self._logits).argmax(1) == torch.cat(self._labels)).sum()
        )
        self._losses, self._logits, self._labels, self._parts = [], [], [], {}
        if self.bad_step is None:
            self.bad_step = next(
                (first + i + 1 for i, loss in enumerate(losses) if not math.isfinite(loss)), None
            )

    def begin_epoch(self) -> None:
        """Clear what is counted within an epoch."""
        self.step, self.num_seen, self.num_correct, self.loss_sum, self.seconds = 0, 0, 0, 0.0, 0.0
        self._losses, self._logits, self._labels, self._parts, self.part_sums = [], [], [], {}, {}

    def end_epoch(self, metrics: Metrics, best_by: str) -> None:
        """Count the epoch as done and keep its weights if it is the best so far (the earliest wins a tie)."""
        self.epochs_done += 1
        self.history.append(metrics)
        val = {"loss": metrics["val"]["loss"], "accuracy": metrics["val"]["accuracy"]}
        if self.best is None or val_rank(val, best_by) < val_rank(self.best.val, best_by):
            self.best = Best(self.epochs_done, val, copied_weights(self.evaluated))
        self.begin_epoch()


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers on the CPU, contiguous."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in model.state_dict().items()
    }


def save_checkpoint(
    state: TrainState,
    path: Path,
    *,
    fingerprint: str,
    seed: int,
    threads: int,
    min_free_bytes: int = 0,
) -> WrittenFile:
    """Write the state whole; within an epoch also the generators, so that resuming continues at the next step.
    `min_free_bytes` as in `write_atomically`.
    """
    state.fold()
    document = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "seed": seed,
        "threads": threads,
        "epochs_done": state.epochs_done,
        "step": state.step,
        "num_seen": state.num_seen,
        "seconds": state.seconds,
        "loss_sum": state.loss_sum,
        "num_correct": state.num_correct,
        "part_sums": dict(state.part_sums),
        "bad_step": state.bad_step,
        "model": state.model.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "flow": None if state.flow is None else state.flow.state(),
        "layer_gradients": None if state.layer_gradients is None else state.layer_gradients.state(),
        "matcher": None if state.matcher is None else state.matcher.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "history": state.history,
        "best": None if state.best is None else _best_document(state),
        "generators": _generators(state.device) if state.step else None,
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return write_atomically(path, buffer.getvalue(), min_free_bytes)


def read_checkpoint(path: Path, sha256: str) -> dict[str, Any]:
    """The checkpoint's document on the CPU; raises CheckpointDamaged unless its bytes are those that were written."""
    try:
        if sha256_of(path) != sha256:
            raise CheckpointDamaged(f"{path.name}: the SHA-256 is not the recorded one")
        document: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointDamaged(f"{path.name}: {error}") from error
    if document.get("format") != FORMAT:
        raise CheckpointDamaged(f"{path.name}: format {document.get('format')} is not {FORMAT}")
    return document


def restore(state: TrainState, document: dict[str, Any]) -> None:
    """Bring model, optimizer, counters and, within an epoch, the generators to where the checkpoint was taken."""
    state.model.load_state_dict(document["model"])
    state.optimizer.load_state_dict(document["optimizer"])
    state.epochs_done, state.step = document["epochs_done"], document["step"]
    state.num_seen, state.seconds = document["num_seen"], document["seconds"]
    state.part_sums = dict(document["part_sums"])
    state.loss_sum, state.num_correct, state.bad_step = (
        document["loss_sum"],
        document["num_correct"],
        document["bad_step"],
    )
    if state.average is not None:
        state.average.load_state_dict(document["average"])
    if state.matcher is not None:
        state.matcher.load_state_dict(document["matcher"])
    if state.flow is not None and document["flow"] is not None:
        state.flow.load_state(document["flow"])
    if state.layer_gradients is not None and document.get("layer_gradients") is not None:
        state.layer_gradients.load_state(document["layer_gradients"])
    state.history = list(document["history"])
    if document["best"] is not None:
        best = document["best"]
        weights = (
            best["weights"] if best["weights"] is not None else copied_weights(state.evaluated)
        )
        state.best = Best(best["epoch"], best["val"], weights)
    if document["generators"] is not None:
        _set_generators(document["generators"], state.device)


def write_weights(weights: dict[str, Tensor], path: Path, min_free_bytes: int = 0) -> WrittenFile:
    """Publish weights as safetensors; equal weights give equal bytes. `min_free_bytes` as in `write_atomically`."""
    return write_atomically(path, safetensors_bytes(weights), min_free_bytes)


def _best_document(state: TrainState) -> dict[str, Any]:
    """The best epoch; its weights are left out right after it, when they are the model's own."""
    assert state.best is not None
    are_the_models = state.best.epoch == state.epochs_done and state.step == 0
    return {
        "epoch": state.best.epoch,
        "val": state.best.val,
        "weights": None if are_the_models else copy.copy(state.best.weights),
    }


def _generators(device: torch.device) -> dict[str, Tensor | None]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _set_generators(saved: dict[str, Tensor | None], device: torch.device) -> None:
    if saved["cpu"] is not None:
        torch.set_rng_state(saved["cpu"])
    if saved["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(saved["cuda"], device)
