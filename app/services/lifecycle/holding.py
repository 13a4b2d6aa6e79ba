"""What makes a holder of a run and keeps it one: claim, renew, and hear what is asked of the run meanwhile."""

from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import ColumnElement, false, update
from sqlmodel import Session, col, select

from app.services.lifecycle.kinds import UNDECIDED, decide, for_kind
from app.services.lifecycle.moves import Move, remember
from app.services.lifecycle.queueing import has_been_served, next_run, one_at_a_time
from app.services.lifecycle.reports import Report, columns_of
from app.services.quotas import first_day
from app.storage.states import RunStatus, StatusReason, TrainsOn
from app.storage.tables import Attempt, Run, utc_now


@dataclass(frozen=True)
class Lease:
    """The right to write for a run, as long as `fence` is the run's own."""

    run_id: str
    fence: int
    attempt: int
    worker_id: str


class LeaseLost(Exception):
    """Somebody else holds the run now, or it is finished: stop, write nothing."""


class Intent(IntEnum):
    """What a person has asked of a run that is under way; what is asked last and most holds."""

    NOTHING = 0
    PAUSE = 1
    CANCEL = 2


def claim(
    session: Session,
    worker_id: str,
    memory_bytes: int | None = None,
    max_running_per_owner: int = 0,
    kind: str = TrainsOn.CPU,
) -> Lease | None:
    """Take the best queued run, as `queueing` orders them, of those that a device of this kind may take.

    With `memory_bytes`, which a worker has that shares its machine, runs that need more for certain are left to others.
    With `max_running_per_owner`, or a quota instead of it, so are those of an owner who has that many under way; and
    those of one who has trained as long as they may.
    """
    one_at_a_time(session)
    now = utc_now()
    claimed = session.execute(
        update(Run)
        .where(
            col(Run.id) == next_run(memory_bytes, max_running_per_owner, for_kind(session, kind)),
            col(Run.status) == RunStatus.QUEUED,
        )
        .values(
            status=RunStatus.RUNNING,
            status_reason=StatusReason.STARTING,
            fence=col(Run.fence) + 1,
            heartbeat=col(Run.heartbeat) + 1,
            attempt=col(Run.attempt) + 1,
            worker_id=worker_id,
        )
        .returning(
            col(Run.id),
            col(Run.fence),
            col(Run.attempt),
            col(Run.started_at),
            col(Run.owner),
            col(Run.micro_batches),
            col(Run.experiment_id),
            col(Run.trains_on),
        ),
        {"first_day": first_day(now)},
    ).one_or_none()
    if claimed is None:
        return None
    lease = Lease(claimed.id, claimed.fence, claimed.attempt, worker_id)
    if claimed.started_at is None:
        session.execute(update(Run).where(col(Run.id) == lease.run_id).values(started_at=now))
    if claimed.trains_on in UNDECIDED:
        decide(session, claimed.experiment_id, kind)
    attempt = Attempt(
        run_id=lease.run_id,
        number=lease.attempt,
        fence=lease.fence,
        worker_id=worker_id,
        started_at=now,
        micro_batches=claimed.micro_batches,
    )
    session.add(attempt)
    remember(
        session,
        [
            Move(
                lease.run_id,
                lease.attempt,
                RunStatus.QUEUED,
                RunStatus.RUNNING,
                StatusReason.STARTING,
            )
        ],
        worker_id,
    )
    has_been_served(session, claimed.owner)
    return lease


def renew(session: Session, lease: Lease, report: Report | None = None) -> Intent:
    """Prove and extend the lease, writing the report in the same statement; returns what a person has asked for.

    Raises LeaseLost when the run is no longer this holder's.
    """
    row = session.execute(
        update(Run)
        .where(*held(lease))
        .values(heartbeat=col(Run.heartbeat) + 1, **columns_of(report))
        .returning(col(Run.cancel_requested), col(Run.pause_requested))
    ).one_or_none()
    if row is None:
        raise LeaseLost(lease.run_id)
    return intent_of(*row)


def asked(session: Session, lease: Lease, *, lock: bool = False) -> Intent:
    """Without writing: what a person has asked for; with `lock`, nothing more can be asked until the transaction ends.
    Raises LeaseLost.
    """
    wishes = select(Run.cancel_requested, Run.pause_requested).where(*held(lease))
    row = session.exec(wishes.with_for_update() if lock else wishes).one_or_none()
    if row is None:
        raise LeaseLost(lease.run_id)
    return intent_of(*row)


def try_to_write(session: Session) -> None:
    """Take what every holder's heartbeat needs, and change nothing; raises OperationalError where that cannot be
    had.
    """
    session.execute(
        update(Run).where(false()).values(heartbeat=Run.heartbeat, change=col(Run.change))
    )


def intent_of(cancel_requested: bool, pause_requested: bool) -> Intent:
    """What two columns of a run's row say."""
    return (
        Intent.CANCEL if cancel_requested else Intent.PAUSE if pause_requested else Intent.NOTHING
    )


def held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    """Whether the run is still this holder's, as what a statement asks for."""
    return (
        col(Run.id) == lease.run_id,
        col(Run.status) == RunStatus.RUNNING,
        col(Run.fence) == lease.fence,
    )
