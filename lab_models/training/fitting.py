"""The training loop, the only one. It yields after every step and every epoch; leaving it early is cancelling."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from lab_models.common.errors import Diverged
from lab_models.common.seeding import epoch_seed
from lab_models.datasets.batches import ImageSplit
from lab_models.specs import Spec
from lab_models.training.accumulation import Gradients
from lab_models.training.averaging import update_average
from lab_models.training.checkpoints import TrainState
from lab_models.training.evaluation import evaluate
from lab_models.training.gradient_flow import steps_measured
from lab_models.training.objectives import TeacherLogits, balanced_weights, make_objective
from lab_models.training.optimization import learning_rates, set_learning_rate
from lab_models.training.protocol import Metrics
from lab_models.training.stopping import StopReason, early_stop

DIVERGED_HINT = "lower the learning rate, warm it up (schedule.warmup_epochs), or set gradient_clip"


@dataclass(frozen=True)
class Stepped:
    """One optimizer step is done: `step` of `num_steps` in `epoch`, all counted from 1."""

    epoch: int
    step: int
    num_steps: int


@dataclass(frozen=True)
class EpochEnded:
    """One epoch is done and its val scores are known. The state stands between two epochs; `stop` says whether and why
    this was the last.
    """

    epoch: int
    metrics: Metrics
    stop: StopReason | None


@dataclass(frozen=True)
class ProbeMeasured:
    """What a probe found before the first step."""

    metrics: Metrics


def fit(
    state: TrainState,
    spec: Spec,
    seed: int,
    train: ImageSplit,
    val: ImageSplit,
    teacher: TeacherLogits | None = None,
    micro_batches: int = 1,
) -> Iterator[ProbeMeasured | Stepped | EpochEnded]:
    """Train from where `state` stands until the last epoch or an early stop, as a pure function of (state, spec, seed).

    While the caller holds an event the state is whole: saving it there and resuming gives the same bits. Metrics: train
    loss and accuracy are means over the epoch's batches as they were trained on; val is evaluated after the epoch;
    `seconds` is time spent here, not in the caller. A student's `teacher` gives its logits. A batch is computed in
    `micro_batches` parts. Raises Diverged when a loss is no longer finite.
    """
    stop = _stop(spec, state)
    weights = None if spec.class_weights is None else balanced_weights(train.labels)
    objective = make_objective(spec, teacher, state.matcher, weights)
    gradients = Gradients(state, spec, train, objective, micro_batches)
    if state.flow is not None and state.epochs_done == 0 and state.step == 0:
        if state.freezer is not None:
            state.freezer.begin_epoch(1)  # what is frozen has no gradient from the beginning
        yield ProbeMeasured(state.flow.at_initialization(_InitialGradients(gradients, seed)))
    while stop is None:
        epoch = state.epochs_done + 1
        for step, num_steps in _train(gradients, seed, epoch):
            yield Stepped(epoch, step, num_steps)
        metrics = _epoch_metrics(state, spec, epoch, val, micro_batches)
        state.end_epoch(metrics, spec.best_by)
        stop = _stop(spec, state)
        yield EpochEnded(epoch, metrics, stop)


def _train(gradients: Gradients, seed: int, epoch: int) -> Iterator[tuple[int, int]]:
    """The epoch's steps from where the state stands; yields (step, num_steps), counted from 1."""
    state, spec, train = gradients.state, gradients.spec, gradients.train
    batches = train.batches(spec.batch_size, seed, epoch)
    rates = learning_rates(spec, epoch, len(batches), state.val_losses)
    views = train.views(seed, epoch)
    parameters = state.parameters
    measured = steps_measured(len(batches)) if state.flow is not None else range(0)
    if state.step == 0:
        torch.manual_seed(epoch_seed(seed, epoch, "dropout"))
    state.model.train()
    for module in [] if state.freezer is None else state.freezer.begin_epoch(epoch):
        module.eval()

    def check(loss: Tensor) -> None:
        # a GPU would have to be waited for: there the count finds it
        if state.device.type == "cpu" and not math.isfinite(loss.item()):
            state.bad_step = state.step + 1
            _require_finite(state, epoch, rates, parameters)

    for step in range(state.step, len(batches)):
        started = perf_counter()
        loss, labels = gradients(batches[step], views, check)
        if state.flow is not None and step in measured:
            state.flow.record()
        if state.layer_gradients is not None:
            state.layer_gradients.record((epoch - 1) * len(batches) + step)
        if spec.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, spec.gradient_clip)
        set_learning_rate(state.optimizer, rates[step])
        state.optimizer.step()
        if state.average is not None and spec.ema_decay is not None:
            update_average(
                state.average, state.model, spec.ema_decay, (epoch - 1) * len(batches) + step
            )
        state.count(loss.total.detach(), loss.logits.detach(), labels, loss.parts)
        _require_finite(state, epoch, rates, parameters)
        state.seconds += perf_counter() - started
        yield step + 1, len(batches)
    started = perf_counter()
    state.fold()  # a GPU is waited for here
    _require_finite(state, epoch, rates, parameters)
    state.seconds += perf_counter() - started
    state.learning_rate = rates[-1]


def _epoch_metrics(
    state: TrainState, spec: Spec, epoch: int, val: ImageSplit, micro_batches: int
) -> Metrics:
    """The numbers of the epoch whose steps are all done."""
    started = perf_counter()
    scores = evaluate(state.evaluated, val, spec.precision, micro_batches)
    if not math.isfinite(scores.loss):
        raise Diverged(
            f"the val loss after epoch {epoch} is {scores.loss} at learning rate {state.learning_rate:g}",
            hint=DIVERGED_HINT,
        )
    train_scores = {
        "loss": state.loss_sum / state.num_seen,
        "accuracy": state.num_correct / state.num_seen,
    }
    parts = {name: total / state.num_seen for name, total in state.part_sums.items()}
    return {
        "train": {
            **train_scores,
            **parts,
            "learning_rate": state.learning_rate,
            "seconds": state.seconds,
        },
        "val": {
            "loss": scores.loss,
            "accuracy": scores.accuracy,
            "seconds": perf_counter() - started,
        },
        **({} if state.flow is None else state.flow.metrics()),
    }


def _stop(spec: Spec, state: TrainState) -> StopReason | None:
    return early_stop(spec.early_stopping, state.val_losses) or (
        "all_epochs" if state.epochs_done >= spec.epochs else None
    )


def _require_finite(
    state: TrainState, epoch: int, rates: list[float], parameters: list[nn.Parameter]
) -> None:
    if state.bad_step is None:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = (
        f"the last gradient's norm was {nn.utils.get_total_norm(gradients).item():.4g}"
        if gradients
        else "no gradient was computed before it"
    )
    raise Diverged(
        f"the training loss is not finite at step {state.bad_step} of epoch {epoch}, learning rate"
        f" {rates[state.bad_step - 1]:g}; {norm}",
        hint=DIVERGED_HINT,
    )


class _InitialGradients:
    """Gradients of probe batches at the initial weights: calling it with i leaves those of batch i in `.grad`."""

    def __init__(self, gradients: Gradients, seed: int) -> None:
        self._gradients = gradients
        self._batches = gradients.train.batches(gradients.spec.batch_size, seed, 0)
        self._views = gradients.train.views(seed, 0)
        torch.manual_seed(epoch_seed(seed, 0, "dropout"))

    def __call__(self, index: int) -> None:
        self._gradients(self._batches[index % len(self._batches)], self._views)
