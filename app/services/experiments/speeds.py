"""How fast this service's workers are: what runs that finished lately took, against what they cost nominally. The one
place that makes of a nominal cost the time to be expected here.
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from statistics import median
from typing import Any

from sqlalchemy import Executable, Row, and_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.estimates import LAYERS_WITHOUT_CONVS, Estimate
from app.services.lifecycle.workers import kind_of_device, kinds_of_devices
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Attempt, Experiment, Run
from lab_models.specs import ARCHITECTURES

RUNS_LOOKED_AT = 200
NEAREST = 9
"""Of so many runs, those nearest in cost, the median counts: a network ten times as large has another speed, and one
run that was disturbed moves nothing.
"""
LEAST_RUNS = 3
"""With fewer, one odd run could decide."""
OF_WORK = ("training", "validation", "checkpoint")
"""Phases that grow with the nominal cost; the others are there once a run."""
PRICED_ANEW = "micro_batches"
"""What the environments of older versions lack, which priced runs by other constants: their nominal seconds are not
today's.
"""
LINEAR = frozenset(
    {
        *(each.model_fields["arch"].default for each in ARCHITECTURES if not each().has_maps),
        LAYERS_WITHOUT_CONVS,
    }
)
"""Networks without convolutions, which are another family: their cost is of another kind."""


@dataclass(frozen=True)
class Finished:
    """A run that has succeeded: `nominal_seconds` of what it trained, what that took, and `fixed_seconds` beside it."""

    kind: str
    arch: str | None
    nominal_seconds: float
    seconds: float
    fixed_seconds: float
    precision: str = "float32"


@dataclass(frozen=True)
class Forecast:
    """What one run will take: by `num_runs` that finished here lately, or, with 0 of them, nominally."""

    seconds: float
    nominal_seconds: float
    num_runs: int = 0


def basis(found: Sequence[Forecast]) -> str:
    """What expectations rest on, in words."""
    measured = [one.num_runs for one in found if one.num_runs]
    if not measured:
        return "nominal, on two CPU cores: fewer than three runs like it have finished here"
    if len(measured) == len(found):
        return f"by {max(measured)} runs like it that finished here lately"
    return (
        f"{len(measured)} of {len(found)} cells by runs like them that finished here lately, the others nominally, on"
        " two CPU cores"
    )


class Speeds:
    """What is known of a service's speed, from its latest finished runs, the newest first."""

    def __init__(self, finished: Sequence[Finished] = ()) -> None:
        self._finished = finished
        self._expected: dict[tuple[str, str | None, float, str | None], Forecast] = {}

    @property
    def are_known(self) -> bool:
        """Whether any run has finished."""
        return bool(self._finished)

    def expected(
        self, kind: str, arch: str | None, nominal_seconds: float, precision: str | None = None
    ) -> Forecast:
        """What one run takes, by runs of the same kind and architecture, or else of a network like it, linear or
        convolutional; nominally, where there are fewer than three. Of these those of the same precision count, where
        there are three: what another number format gains differs from machine to machine.
        """
        asked = (kind, arch, nominal_seconds, precision)
        if asked not in self._expected:
            comparable = self._comparable(kind, arch)
            same = [one for one in comparable if one.precision == precision]
            found = same if len(same) >= LEAST_RUNS else comparable
            self._expected[asked] = self._by(found, nominal_seconds)
        return self._expected[asked]

    def of(self, cost: Estimate) -> Forecast:
        """What one run of that cost takes, as `expected`."""
        return self.expected(cost.kind, cost.arch, cost.seconds, cost.precision)

    def seconds(self, kind: str, arch: str | None, nominal_seconds: float) -> float:
        """The same for the queue, where any run that has finished says more than none."""
        found = self.expected(kind, arch, nominal_seconds)
        return found.seconds if found.num_runs else self._by_any(nominal_seconds)

    def _by_any(self, nominal_seconds: float) -> float:
        return self._by(self._finished, nominal_seconds).seconds

    def _comparable(self, kind: str, arch: str | None) -> Sequence[Finished]:
        alike = [one for one in self._finished if (one.kind, one.arch) == (kind, arch)]
        if len(alike) < LEAST_RUNS:
            alike = [one for one in self._named if (one.arch in LINEAR) == (arch in LINEAR)]
        return alike if arch is not None and len(alike) >= LEAST_RUNS else ()

    @cached_property
    def _named(self) -> Sequence[Finished]:
        return [one for one in self._finished if one.arch is not None]

    @staticmethod
    def _by(finished: Sequence[Finished], nominal_seconds: float) -> Forecast:
        if not finished or nominal_seconds <= 0:
            return Forecast(nominal_seconds, nominal_seconds)
        size = math.log(nominal_seconds)
        nearest = sorted(finished, key=lambda one: abs(math.log(one.nominal_seconds) - size))
        ratio = median(one.seconds / one.nominal_seconds for one in nearest[:NEAREST])
        fixed = median(one.fixed_seconds for one in nearest[:NEAREST])
        return Forecast(ratio * nominal_seconds + fixed, nominal_seconds, len(finished))


class LatestSpeeds:
    """What was known at most `seconds` ago, read once for all who ask."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._read: tuple[float, Speeds] | None = None

    def __call__(self, session: Session) -> Speeds:
        """As `speeds`."""
        with self._lock:
            now = time.monotonic()
            if self._read is None or now - self._read[0] >= self._seconds:
                self._read = now, speeds(session)
            return self._read[1]


def speeds(session: Session) -> Speeds:
    """From the runs that succeeded lately at their first attempt, on devices as the workers online have; on any, where
    no worker is online.
    """
    rows = session.execute(_lately()).all()
    kinds = kinds_of_devices(session) if rows else set()
    return Speeds(
        [
            finished
            for row in rows
            if (not kinds or _kind_of_device(row.environment) in (None, *kinds))
            if (finished := _finished(row)) is not None
        ]
    )


@cache
def _lately() -> Executable:
    return (
        select_columns(
            col(Run.started_at),
            col(Run.finished_at),
            col(Run.status_reason),
            col(Run.epochs),
            col(Run.epochs_done),
            col(Run.environment),
            col(Attempt.phases),
            col(Experiment.kind),
            col(Experiment.arch),
            col(Experiment.nominal_seconds),
            col(Experiment.spec)["precision"].as_string().label("precision"),
        )
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .join(Attempt, and_(col(Attempt.run_id) == col(Run.id), col(Attempt.number) == 1))
        .where(
            col(Run.status) == RunStatus.SUCCEEDED,
            col(Run.attempt) == 1,
            col(Experiment.nominal_seconds) > 0,
        )
        .order_by(col(Run.finished_at).desc())
        .limit(RUNS_LOOKED_AT)
    )


def _finished(row: Row[Any]) -> Finished | None:
    stopped = row.status_reason == StatusReason.EARLY_STOPPED
    nominal = row.nominal_seconds * (row.epochs_done / row.epochs if stopped else 1.0)
    if nominal <= 0 or not math.isfinite(nominal):
        return None
    if PRICED_ANEW not in (row.environment or {PRICED_ANEW: 1}):
        return None
    if row.phases:
        worked = sum(row.phases.get(phase, 0.0) for phase in OF_WORK)
        beside = max(0.0, sum(row.phases.values()) - worked)
        return Finished(row.kind, row.arch, nominal, worked, beside, row.precision)
    # an attempt that does not say what its time went to
    lasted = _lasted(row.started_at, row.finished_at)
    return Finished(row.kind, row.arch, nominal, lasted, 0.0, row.precision)


def _lasted(started_at: datetime, finished_at: datetime) -> float:
    """No less than nothing, where a clock was set back."""
    return max(finished_at - started_at, timedelta()).total_seconds()


def _kind_of_device(environment: dict[str, Any] | None) -> str | None:
    """`cpu` or `cuda`, as the run's record has it; None where it says nothing."""
    device = (environment or {}).get("device")
    return kind_of_device(device) if isinstance(device, str) else None
