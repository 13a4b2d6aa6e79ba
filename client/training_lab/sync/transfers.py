"""Runs on their way to a tracker: what is new since the last time, and the end."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from training_lab.errors import LabError, Refused
from training_lab.experiment import Experiment
from training_lab.lab import Lab
from training_lab.pictures import Picture
from training_lab.run import WEIGHTS, Run
from training_lab.sync.calls import Calls
from training_lab.sync.cursors import Cursor, Cursors
from training_lab.sync.describing import Clock, flow_by_run, numbers_of, run_info, summary_of
from training_lab.sync.sink import ENDED, SUCCEEDED, Sink, Tracker

BEGINNING: Final = "starting"
"""Of a run whose attempt has not said yet from which epoch it goes on."""
GRADIENTS: Final = "gradient_flow"
SLOW_SECONDS: Final = 30.0
"""Between two reads of layers' gradients, which are read of a whole experiment at once."""


class Elsewhere(LabError):
    """Another process is sending this experiment to the same target."""


@dataclass
class Sent:
    """What has come of it so far."""

    epochs: int = 0
    ended: int = 0


@dataclass
class _Open:
    """A run that the tracker has been told of by this process."""

    sink: Sink
    clock: Clock


@dataclass
class _Held:
    """An experiment that this process sends."""

    lock: ExitStack
    probes: Sequence[str] = ()
    not_before: float = 0.0
    """When its gradients may be read again, by the monotonic clock."""


class Transfer:
    """Experiments of a service on their way to one tracker. Of one thread."""

    def __init__(
        self,
        lab: Lab,
        tracker: Tracker,
        state: Path,
        *,
        project: str | None = None,
        with_pictures: bool = True,
        with_weights: bool = False,
        calls: Calls | None = None,
    ) -> None:
        self.tracker = tracker
        self.sent = Sent()
        self._lab, self._project = lab, project
        self._with_pictures, self._with_weights = with_pictures, with_weights
        self._cursors = Cursors(state, tracker.name, tracker.target)
        self._calls = calls or Calls()
        self._open: dict[str, _Open] = {}
        self._held: dict[str, _Held] = {}

    def is_told(self, experiment_id: str, run_id: str, attempt: int) -> bool:
        """Whether the tracker has all of a run that has ended."""
        cursor = self._cursors.read(experiment_id).get(run_id)
        return cursor is not None and cursor.is_finished and cursor.attempt == attempt

    def has_sent(self, experiment_id: str) -> bool:
        """Whether the tracker was ever sent anything of it."""
        return bool(self._cursors.read(experiment_id))

    def forget(self, experiment_id: str) -> None:
        """Send all of it anew. Raises Elsewhere."""
        self._hold(experiment_id)
        self._cursors.forget(experiment_id)

    def send(self, run_id: str) -> bool:
        """Send what the tracker does not have of a run yet; returns whether it has all that there ever will be.

        Raises LabError: of the service, of the tracker (TrackerAway, TrackerRefused), or Elsewhere. What has been sent
        is noted; the next time goes on there.
        """
        run = self._lab.run(run_id)
        experiment_id = run.as_text("experiment_id")
        self._hold(experiment_id)
        cursor = self._cursors.read(experiment_id).get(run_id, Cursor())
        attempt, has_ended = run.as_count("attempt"), run.status in ENDED
        if cursor.is_finished and cursor.attempt == attempt:
            return has_ended
        if attempt != cursor.attempt or cursor.is_finished:
            if not has_ended and run.reason == BEGINNING:
                return False
            epoch = min(cursor.epoch, _went_back_to(run, cursor.attempt))
            cursor = Cursor(epoch, attempt)
        try:
            return self._send(run, experiment_id, cursor, has_ended)
        except LabError:
            self._drop(run_id)
            raise

    def not_before(self, experiment_id: str) -> float:
        """When an unfinished run of it may be sent again, by the monotonic clock."""
        held = self._held.get(experiment_id)
        return 0.0 if held is None else held.not_before

    def let_go(self, experiment_id: str) -> None:
        """Of an experiment that has ended: another process may send it."""
        held = self._held.pop(experiment_id, None)
        if held is not None:
            held.lock.close()

    def close(self) -> None:
        """Let go of all."""
        for experiment_id in list(self._held):
            self.let_go(experiment_id)

    def _send(self, run: Run, experiment_id: str, cursor: Cursor, has_ended: bool) -> bool:
        if run.progress.epoch <= cursor.epoch and not has_ended:
            return False
        opened = self._open.get(run.id)
        if opened is None:
            opened = self._begin(run, experiment_id)
            if not opened.sink.keeps_at_once:
                cursor = replace(cursor, epoch=0)
        for epoch, at, values in self._new(run, experiment_id, opened.clock, cursor.epoch):
            self._calls.make(opened.sink.log, epoch, at, values)
            if epoch > 0:
                cursor = replace(cursor, epoch=epoch)
                self._cursors.write(experiment_id, run.id, cursor)
                self.sent.epochs += 1
        if has_ended:
            self._end(run, experiment_id, opened.sink)
            self._cursors.write(experiment_id, run.id, replace(cursor, is_finished=True))
            del self._open[run.id]
            self.sent.ended += 1
        return has_ended

    def _new(
        self, run: Run, experiment_id: str, clock: Clock, after: int
    ) -> Iterator[tuple[int, datetime, dict[str, float]]]:
        """Later epochs with their times and numbers; before the first one what was measured at initialization."""
        flow: Mapping[int, dict[str, float]] = {}
        if GRADIENTS in self._held[experiment_id].probes:
            self._held[experiment_id].not_before = time.monotonic() + SLOW_SECONDS
            document = self._lab.get(f"/experiments/{experiment_id}/gradient-flow.json")
            flow = flow_by_run(document).get(run.id, {})
        if after == 0 and flow.get(0):
            yield 0, clock.started_at, flow[0]
        first = min(clock.epoch, after)
        answer = self._lab.get(f"/runs/{run.id}/metrics", after=first)
        for row in answer["runs"][0]["epochs"]:
            epoch = int(row["epoch"])
            clock.pass_over(epoch, row)
            if epoch > after:
                yield epoch, clock.now, {**numbers_of(row), **flow.get(epoch, {})}

    def _begin(self, run: Run, experiment_id: str) -> _Open:
        experiment = self._lab.experiment(experiment_id)
        self._held[experiment_id].probes = list(experiment.spec.get("probes") or [])
        sink = self.tracker.make()
        info = run_info(self._lab, experiment.raw, run.raw, self._project)
        self._calls.make(sink.begin, info)
        opened = _Open(sink, Clock(info.started_at or datetime.now(UTC)))
        self._open[run.id] = opened
        return opened

    def _end(self, run: Run, experiment_id: str, sink: Sink) -> None:
        experiment = self._lab.experiment(experiment_id)
        with tempfile.TemporaryDirectory(prefix="lab-sync-") as folder:
            files = self._files(run, experiment, Path(folder))
            self._calls.make(sink.end, run.status, summary_of(run.raw), files)

    def _files(self, run: Run, experiment: Experiment, folder: Path) -> list[Path]:
        """Pictures, where the service has any; weights, where they are wanted."""
        found: list[Path] = []
        draw: dict[str, Callable[..., Picture]] = {}
        if self._with_pictures:
            draw["curves.png"] = experiment.curves
            if run.status == SUCCEEDED:
                draw["confusion-matrix.png"] = experiment.confusion
        for name, one in draw.items():
            with suppress(Refused):  # nothing to draw
                found.append(one(format="png").save(folder / name))
        if self._with_weights and run.status == SUCCEEDED:
            found.append(run.weights(folder / WEIGHTS))
        return found

    def _hold(self, experiment_id: str) -> None:
        if experiment_id in self._held:
            return
        stack = ExitStack()
        if not stack.enter_context(self._cursors.held(experiment_id)):
            stack.close()
            raise Elsewhere(
                f"{experiment_id} is being sent to {self.tracker.name} by another `lab sync` right now"
            )
        self._held[experiment_id] = _Held(stack)

    def _drop(self, run_id: str) -> None:
        """The next time begins anew."""
        opened = self._open.pop(run_id, None)
        close = getattr(opened and opened.sink, "close", None)
        if close is not None:
            with suppress(LabError):
                self._calls.make(close)


def _went_back_to(run: Run, attempt: int) -> int:
    """The epoch from which numbers may be others than at that attempt: the earliest that a later one went on from."""
    later = [one for one in run.as_list("attempts") if int(one.get("number") or 0) > attempt]
    return min((_epoch_of(one.get("resumed_from")) for one in later), default=0)


def _epoch_of(resumed_from: Any) -> int:
    """Of epoch and step; 0 where it began anew."""
    return int((resumed_from or {}).get("epoch") or 0)
