"""What a tracker is to this package: a `Sink` for each run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from training_lab.errors import LabError

SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
ENDED = (SUCCEEDED, FAILED, CANCELLED)


class TrackerAway(LabError):
    """The tracker gives no answer, or says that it cannot now; the same again may go well."""


class TrackerRefused(LabError):
    """The tracker does not take this run, and the same again will not change that; the message says why and what to
    do.
    """


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told of a run when it begins."""

    id: str
    experiment_id: str
    name: str
    """Such as `a name · seed 3`."""
    project: str
    kind: str
    seed: int
    experiment_name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """Texts, numbers, truth values and None, by dotted path."""
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    started_at: datetime | None = None

    @property
    def tags(self) -> list[str]:
        """The labels as `key:value`."""
        return [f"{key}:{value}" for key, value in self.labels.items()]


@dataclass(frozen=True)
class SinkOptions:
    """How a sink was asked for."""

    project: str | None = None
    to: str | None = None
    """An address or a folder, by the kind of tracker; None: what the environment says, or the usual one."""


class Sink(Protocol):
    """One run at a tracker. Raises TrackerAway and TrackerRefused; whatever else it raises counts as the former. Its
    methods are called from one thread. It may have a `close()`, called where it is given up before the end.
    """

    keeps_at_once: bool
    """Whether what `log` has returned from outlives this process. Where it does not, an unfinished run's epochs are
    sent again by the next one.
    """

    def begin(self, run: RunInfo) -> None:
        """Make the run, or go on with the one of this id."""

    def log(self, epoch: int, at: datetime, values: Mapping[str, float]) -> None:
        """An epoch's numbers. The same epoch may come again: it then replaces what there is of it."""

    def end(self, status: str, summary: Mapping[str, float | str], files: Sequence[Path]) -> None:
        """It has ended: `succeeded`, `failed` or `cancelled`; returns when all has arrived."""


@dataclass(frozen=True)
class Tracker:
    """A tracker that can be sent to."""

    name: str
    target: str
    """Where it is, as text: what was sent to one target was not sent to another."""
    make: Callable[[], Sink]
    """A sink for one run."""
    reach: Callable[[], object] = lambda: None
    """Asks whether it is there, where nothing is sent; raises TrackerAway or TrackerRefused."""
