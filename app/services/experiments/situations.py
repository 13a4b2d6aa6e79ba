"""How experiments stand: status, why, which place in the queue, and when they will be done; of one, or of a page of
them by as few statements.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

from sqlmodel import Session

from app.services.experiments.how_far import Advancing, epochs_trained
from app.services.experiments.metrics import paces
from app.services.experiments.standing import Standing
from app.services.experiments.waiting import QueuePlace, places_of
from app.services.quotas import HoursUsedUp
from app.storage.states import RunStatus, StatusReason, TrainsOn, experiment_status
from app.storage.tables import utc_now


class Explainable(Advancing, Protocol):
    """A run, or those columns of it that say why it has its status."""

    @property
    def status_reason(self) -> StatusReason:
        """As its row has it; `run_reason` says more."""

    @property
    def cancel_requested(self) -> bool:
        """Whether it is to be cancelled."""

    @property
    def pause_requested(self) -> bool:
        """Whether it is to be paused."""


class Situated(Explainable, Protocol):
    """A run, or those columns of it that say how it stands."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def position(self) -> int:
        """Among the experiment's runs, from 0."""

    @property
    def attempt(self) -> int:
        """How often it has been claimed."""

    @property
    def started_at(self) -> datetime | None:
        """When it was claimed first."""

    @property
    def worker_id(self) -> str | None:
        """Who has it."""

    @property
    def needs(self) -> str | None:
        """The run that it builds on."""

    @property
    def trains_on(self) -> str:
        """Which kind of device may take it, a `TrainsOn`."""

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it has failed."""


@dataclass(frozen=True)
class Situation:
    """How an experiment stands; its sentence is made of this."""

    owner: str
    runs: Sequence[Situated]
    status: RunStatus
    status_reason: StatusReason
    place: QueuePlace | None
    out_of_hours: HoursUsedUp | None
    unfit: str | None
    estimated_finish_at: datetime | None


def situations_of(
    session: Session,
    owners: Mapping[str, str],
    runs: Mapping[str, Sequence[Situated]],
    look: Callable[[Session], Standing],
) -> dict[str, Situation]:
    """How each experiment of a page stands, by its id, as its record says it; `owners` and `runs` by the same. One
    statement for all that wait, and one for all that train.
    """
    look = cache(look)
    queued = {one for one, its in runs.items() if _has(its, RunStatus.QUEUED)}
    running = [run.id for its in runs.values() if _has(its, RunStatus.RUNNING) for run in its]
    places = places_of(session, queued, look) if queued else {}
    lately = paces(session, running) if running else {}
    found = {}
    for one, its in runs.items():
        status = experiment_status(run.status for run in its)
        spent = look(session).spent.get(owners[one]) if one in queued else None
        found[one] = Situation(
            owner=owners[one],
            runs=its,
            status=status,
            status_reason=reason_of(status, its, spent, lambda: look(session)),
            place=places.get(one),
            out_of_hours=spent,
            unfit=look(session).unfit if one in queued else None,
            estimated_finish_at=finish_of(status, its, lately),
        )
    return found


def reason_of(
    status: RunStatus,
    runs: Sequence[Situated],
    spent: HoursUsedUp | None,
    stands: Callable[[], Standing],
) -> StatusReason:
    """Why the experiment has its status: the reason of the first run that decides it."""
    deciding = [run for run in runs if run.status == status] or [
        run for run in runs if not run.status.is_terminal
    ]
    reasons = [run_reason(run) for run in deciding]
    if set(reasons) == {StatusReason.WAITING_FOR_WORKER}:
        if spent is not None:
            return StatusReason.WAITING_FOR_HOURS
        if not stands().num_online:
            return StatusReason.NO_WORKER_ONLINE
        if not any(TrainsOn(run.trains_on).may_go(stands().kinds) for run in deciding):
            return StatusReason.NO_DEVICE_ONLINE
    return reasons[0]


def run_reason(run: Explainable) -> StatusReason:
    """Why a run has its status; what the row cannot say by itself is derived here."""
    if run.status == RunStatus.RUNNING:
        if run.cancel_requested:
            return StatusReason.CANCELLING
        if run.pause_requested:
            return StatusReason.PAUSING
        if run.epochs_done >= run.epochs:
            return StatusReason.EVALUATING
    return run.status_reason


def finish_of(
    status: RunStatus, runs: Sequence[Situated], lately: Mapping[str, float]
) -> datetime | None:
    """Remaining epochs at the mean pace so far, shared among the runs that are running; None before the first step is
    known. `lately` are the runs' seconds per epoch, as of `metrics.paces`.
    """
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    if status is not RunStatus.RUNNING or not running:
        return None
    known = [lately[run.id] for run in runs if run.id in lately]
    pace = sum(known) / len(known) if known else None
    pace = pace or _pace_within_first_epoch(running)
    if pace is None:
        return None
    remaining = sum(run.epochs - epochs_trained(run) for run in runs if not run.status.is_terminal)
    return utc_now() + timedelta(seconds=max(0.0, remaining) * pace / len(running))


def _pace_within_first_epoch(running: Sequence[Situated]) -> float | None:
    """Seconds per epoch of the first run that has taken steps since it was first claimed, the time to load data and
    model included.
    """
    for run in running:
        if run.attempt == 1 and run.started_at is not None and epochs_trained(run) > 0:
            return (utc_now() - run.started_at).total_seconds() / epochs_trained(run)
    return None


def _has(runs: Sequence[Situated], status: RunStatus) -> bool:
    return any(run.status == status for run in runs)
