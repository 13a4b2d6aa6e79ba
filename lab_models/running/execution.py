"""One attempt at one run, from order to test scores, as a stream of events."""

from collections.abc import Iterator
from time import monotonic

import torch

from lab_models.architectures.sizes import model_size
from lab_models.architectures.stages import stages_of
from lab_models.building_on.going_on import beginning
from lab_models.running.environment import environment, limit_memory, make_deterministic
from lab_models.running.preparing import PreparedRun, newest_checkpoint, prepare
from lab_models.running.publishing import AttemptFolder, publish_classified, publish_trained
from lab_models.running.shortages import named_shortages
from lab_models.running.stopwatch import Stopwatch
from lab_models.specs import ContinueSpec, TransferSpec
from lab_models.training import fitting
from lab_models.training.checkpoints import Best, restore
from lab_models.training.fitting import fit
from lab_models.training.precision import notes_of_precision
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Order,
    Phases,
    Probed,
    Progress,
    SavedCheckpoint,
    Started,
)

PROGRESS_SECONDS = 0.25

ExecutionEvent = Started | Probed | Progress | EpochCompleted | Checkpointed | Completed


class Execution:
    """An attempt in progress. Iterate over `events()`; while an event is held, `checkpoint()` may save and the loop be
    left.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = AttemptFolder(order)
        self._threads = order.threads
        self._prepared: PreparedRun | None = None
        self._last_saved = monotonic()
        self._stopwatch = Stopwatch("building")

    def phases(self) -> Phases:
        """Where its time went until now."""
        return self._stopwatch.phases()

    def events(self) -> Iterator[ExecutionEvent]:
        """Train to the end, then score the best weights on test. Raises a LabError that says why it could not."""
        with named_shortages(self._order.spec):
            yield from self._events()

    def checkpoint(self, *, stopped: bool) -> Checkpointed:
        """Save the state as it stands at the event just yielded. Raises StorageFull, and OSError where the disk is
        full.
        """
        self._stopwatch.enter("checkpoint")
        saved = self._save()
        self._stopwatch.enter("training")
        return Checkpointed(checkpoint=saved, stopped=stopped, phases=self.phases())

    def use_threads(self, threads: int) -> Checkpointed:
        """Compute on so many threads from the event just yielded on, which the checkpoint that is saved keeps. Raises
        as `checkpoint` does.
        """
        self._threads = threads
        torch.set_num_threads(threads)
        return self.checkpoint(stopped=False).model_copy(update={"threads": threads})

    def _events(self) -> Iterator[ExecutionEvent]:
        order, spec = self._order, self._order.spec
        saved, notes = newest_checkpoint(order)
        if saved is not None and saved["threads"] != order.threads:
            notes.append(
                f"resumed with the {saved['threads']} threads of the attempt before, so that the arithmetic stays the"
                " same"
            )
            self._threads = int(saved["threads"])
        make_deterministic(self._threads)
        limit_memory(torch.device(order.device), order.memory_fraction)
        prepared = self._prepared = prepare(order, self._stopwatch)
        state = prepared.state
        if saved is not None:
            restore(state, saved)
        yield Started(
            environment=environment(
                prepared.dataset,
                state.device,
                self._threads,
                order.micro_batches,
                order.foundation,
                precision=spec.precision,
            ),
            resumed_from=None if saved is None else (state.epochs_done, state.step),
            notes=(
                *notes,
                *prepared.dataset.notes,
                *spec.doubts,
                *notes_of_precision(spec.precision, state.device),
                *self._beginning(is_resumed=saved is not None),
            ),
            phases=self.phases(),
        )
        if isinstance(spec, TransferSpec) and spec.strategy == "features":
            self._stopwatch.enter("training")
            yield self._with_phases(self._classify(spec, prepared))
            return
        yield from self._training_events(prepared)
        self._stopwatch.enter("test")
        yield self._with_phases(publish_trained(self._folder, order, prepared))

    def _beginning(self, *, is_resumed: bool) -> tuple[str, ...]:
        """What a network that goes on begins with, for people."""
        origin = self._order.foundation
        if is_resumed or origin is None or not isinstance(self._order.spec, ContinueSpec):
            return ()
        return (beginning(origin),)

    def _training_events(self, prepared: PreparedRun) -> Iterator[ExecutionEvent]:
        state, splits, teacher = prepared.state, prepared.splits, prepared.teacher
        last_progress: float | None = None
        self._last_saved = monotonic()
        self._stopwatch.enter("warm_up")
        for event in fit(
            state,
            self._order.spec,
            self._order.seed,
            splits.train,
            splits.val,
            None if teacher is None else teacher.logits,
            self._order.micro_batches,
        ):
            match event:
                case fitting.ProbeMeasured():
                    yield Probed(metrics=event.metrics, phases=self.phases())
                case fitting.Stepped():
                    now = monotonic()
                    if last_progress is None:
                        self._stopwatch.enter("training")
                    if last_progress is None or now - last_progress >= PROGRESS_SECONDS:
                        last_progress = now
                        yield Progress(
                            epoch=event.epoch,
                            step=event.step,
                            num_steps=event.num_steps,
                            phases=self.phases(),
                        )
                    if now - self._last_saved >= self._order.checkpoint_seconds:
                        yield self.checkpoint(stopped=False)
                case fitting.EpochEnded():
                    assert state.best is not None
                    yield self._epoch_completed(event, state.best)

    def _epoch_completed(self, ended: fitting.EpochEnded, best: Best) -> EpochCompleted:
        self._stopwatch.attribute(ended.metrics["val"]["seconds"], "validation")
        saved = self.checkpoint(stopped=False)
        return EpochCompleted(
            epoch=ended.epoch,
            metrics=ended.metrics,
            best_epoch=best.epoch,
            best_val=best.val,
            stop_reason=ended.stop,
            checkpoint=saved.checkpoint,
            phases=saved.phases,
        )

    def _classify(self, spec: TransferSpec, prepared: PreparedRun) -> Completed:
        """Classical classifiers on the frozen backbone's features, in place of training."""
        # scikit-learn takes a second to load, and only this strategy needs it
        from lab_models.building_on.classifiers import classified_features

        info = prepared.dataset.info
        head = stages_of(model_size(spec.network, info.shape, info.num_classes))[-1]
        found = classified_features(prepared.state.model, prepared.splits, spec, head)
        return publish_classified(self._folder, found)

    def _with_phases(self, completed: Completed) -> Completed:
        return completed.model_copy(update={"phases": self.phases()})

    def _save(self) -> SavedCheckpoint:
        assert self._prepared is not None
        saved = self._folder.save(self._prepared.state, self._threads)
        self._last_saved = monotonic()
        return saved
