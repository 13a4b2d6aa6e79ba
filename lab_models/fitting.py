"""The training loop, the only one. It yields after every step and every epoch; leaving it early is cancelling."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch

from lab_models.checkpoints import Metrics, TrainState
from lab_models.datasets.batches import ImageSplit, epoch_batches
from lab_models.errors import Diverged
from lab_models.evaluation import Scores, evaluate
from lab_models.objectives import make_objective
from lab_models.optimization import set_learning_rate
from lab_models.seeding import epoch_seed
from lab_models.specs import Spec


@dataclass(frozen=True)
class Stepped:
    """One optimizer step is done: `step` of `num_steps` in `epoch`, all counted from 1."""

    epoch: int
    step: int
    num_steps: int


@dataclass(frozen=True)
class EpochEnded:
    """One epoch is done and its val scores are known. The state stands between two epochs."""

    epoch: int
    metrics: Metrics


def fit(state: TrainState, spec: Spec, seed: int, train: ImageSplit, val: ImageSplit) -> Iterator[Stepped | EpochEnded]:
    """Train from where `state` stands until `spec.epochs`, as a pure function of (state, spec, seed).

    While the caller holds an event the state is whole: saving it there and resuming gives the same bits. Metrics: train
    loss and accuracy are means over the epoch's batches as they were trained on; val is evaluated after the epoch;
    `seconds` is time spent here, not in the caller. Raises Diverged when a loss is no longer finite.
    """
    objective = make_objective(spec)
    for epoch in range(state.epochs_done + 1, spec.epochs + 1):
        learning_rate = set_learning_rate(state.optimizer, spec)
        batches = epoch_batches(len(train), spec.batch_size, seed, epoch, state.device)
        if state.step == 0:
            torch.manual_seed(epoch_seed(seed, epoch, "dropout"))
        state.model.train()
        for step in range(state.step, len(batches)):
            started = perf_counter()
            batch = train.batch(batches[step])
            loss = objective(state.model, batch)
            state.optimizer.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            state.optimizer.step()
            state.loss_sum += loss.total.detach().double() * len(batch.labels)
            state.num_correct += (loss.logits.detach().argmax(1) == batch.labels).sum()
            state.num_seen += len(batch.labels)
            state.step = step + 1
            state.seconds += perf_counter() - started
            yield Stepped(epoch, step + 1, len(batches))

        started = perf_counter()
        scores = Scores(state.loss_sum.item() / state.num_seen, state.num_correct.item() / state.num_seen)
        _require_finite(scores, "training", epoch, learning_rate)
        train_seconds = state.seconds + perf_counter() - started
        started = perf_counter()
        val_scores = evaluate(state.model, val)
        _require_finite(val_scores, "validation", epoch, learning_rate)
        metrics = {
            "train": {"loss": scores.loss, "accuracy": scores.accuracy, "learning_rate": learning_rate, "seconds": train_seconds},
            "val": {"loss": val_scores.loss, "accuracy": val_scores.accuracy, "seconds": perf_counter() - started},
        }
        state.end_epoch(metrics)
        yield EpochEnded(epoch, metrics)


def _require_finite(scores: Scores, split: str, epoch: int, learning_rate: float) -> None:
    if not math.isfinite(scores.loss):
        raise Diverged(f"the {split} loss of epoch {epoch} is {scores.loss} at learning rate {learning_rate:g}", hint="lower the learning rate")
