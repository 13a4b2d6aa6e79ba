"""Everything that resuming needs, saved so that a file is whole or absent and a flipped bit is noticed."""

import copy
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn, optim

from lab_models.errors import CheckpointDamaged
from lab_models.files import WrittenFile, sha256_of, write_atomically

FORMAT = 1

Metrics = dict[str, dict[str, float]]
"""Split to name to value, of one epoch."""


@dataclass
class Best:
    """The epoch of lowest val loss so far and its weights."""

    epoch: int
    val: dict[str, float]
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """Where training stands: `epochs_done` whole epochs and `step` steps of the next one.

    Between epochs `step`, `loss_sum`, `num_correct`, `num_seen` and `seconds` are 0, and no generator state is needed:
    the next epoch seeds its own.
    """

    model: nn.Module
    optimizer: optim.Optimizer
    device: torch.device
    epochs_done: int = 0
    step: int = 0
    num_seen: int = 0
    seconds: float = 0.0
    loss_sum: Tensor = field(init=False)
    num_correct: Tensor = field(init=False)
    best: Best | None = None
    history: list[Metrics] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Clear what is counted within an epoch."""
        self.step, self.num_seen, self.seconds = 0, 0, 0.0
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.num_correct = torch.zeros((), dtype=torch.int64, device=self.device)

    def end_epoch(self, metrics: Metrics) -> None:
        """Count the epoch as done and keep its weights if its val loss is the lowest so far (the earliest wins a tie)."""
        self.epochs_done += 1
        self.history.append(metrics)
        if self.best is None or metrics["val"]["loss"] < self.best.val["loss"]:
            scores = {"loss": metrics["val"]["loss"], "accuracy": metrics["val"]["accuracy"]}
            self.best = Best(self.epochs_done, scores, copied_weights(self.model))
        self.begin_epoch()


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers on the CPU, contiguous."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}


def save_checkpoint(state: TrainState, path: Path, *, fingerprint: str, seed: int, threads: int) -> WrittenFile:
    """Write the state whole; within an epoch also the generators, so that resuming continues at the next step."""
    document = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "seed": seed,
        "threads": threads,
        "epochs_done": state.epochs_done,
        "step": state.step,
        "num_seen": state.num_seen,
        "seconds": state.seconds,
        "loss_sum": state.loss_sum.item(),
        "num_correct": int(state.num_correct.item()),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "history": state.history,
        "best": None if state.best is None else _best_document(state),
        "generators": _generators(state.device) if state.step else None,
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return write_atomically(path, buffer.getvalue())


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
    state.loss_sum.fill_(document["loss_sum"])
    state.num_correct.fill_(document["num_correct"])
    state.history = list(document["history"])
    if document["best"] is not None:
        best = document["best"]
        weights = best["weights"] if best["weights"] is not None else copied_weights(state.model)
        state.best = Best(best["epoch"], best["val"], weights)
    if document["generators"] is not None:
        _set_generators(document["generators"], state.device)


def write_weights(weights: dict[str, Tensor], path: Path) -> WrittenFile:
    """Publish weights as safetensors; equal weights give equal bytes."""
    return write_atomically(path, safetensors_bytes(weights))


def _best_document(state: TrainState) -> dict[str, Any]:
    """The best epoch; its weights are left out right after it, when they are the model's own."""
    assert state.best is not None
    are_the_models = state.best.epoch == state.epochs_done and state.step == 0
    return {"epoch": state.best.epoch, "val": state.best.val, "weights": None if are_the_models else copy.copy(state.best.weights)}


def _generators(device: torch.device) -> dict[str, Tensor | None]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None}


def _set_generators(saved: dict[str, Tensor | None], device: torch.device) -> None:
    if saved["cpu"] is not None:
        torch.set_rng_state(saved["cpu"])
    if saved["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(saved["cuda"], device)
