"""Who is there to train: workers show themselves in a table, for people and for `no_worker_online`."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run, Worker, utc_now

ONLINE_SECONDS = 20
FORGOTTEN_AFTER = timedelta(days=1)


def register(session: Session, worker: Worker) -> None:
    """Add a worker that starts, or say how it stands now, and forget those not seen for a day."""
    session.execute(delete(Worker).where(col(Worker.seen_at) < utc_now() - FORGOTTEN_AFTER))
    session.merge(worker)


def show(session: Session, worker_id: str) -> None:
    """Say that a worker is alive."""
    session.execute(update(Worker).where(col(Worker.id) == worker_id).values(seen_at=utc_now()))


def sign_off(session: Session, worker_id: str) -> None:
    """Remove a worker that stops."""
    session.execute(delete(Worker).where(col(Worker.id) == worker_id))


def are_training(session: Session, host: str, pids: Collection[int]) -> bool:
    """Whether one of these processes of a machine holds a run."""
    theirs = select(Worker.id).where(col(Worker.host) == host, col(Worker.pid).in_(pids))
    held = select(Run.id).where(
        col(Run.status) == RunStatus.RUNNING, col(Run.worker_id).in_(theirs)
    )
    return session.exec(held.limit(1)).first() is not None


def largest_memory(session: Session) -> int | None:
    """Bytes of memory of the best worker that can train; None when none can, or one does not say."""
    known = session.execute(_memory_online(), {"since": _since()}).scalars().all()
    return max(known, default=None) if None not in known else None


def num_online(session: Session) -> int:
    """How many workers were seen within the last 20 seconds and can train."""
    return int(session.execute(_num_online(), {"since": _since()}).scalar_one())


def kind_of_device(device: str) -> str:
    """`cpu` or `cuda`, of a device as a worker or a run's record names it."""
    return device.partition(":")[0]


def kinds_of_devices(session: Session) -> set[str]:
    """`cpu` or `cuda`, of the workers that can train."""
    devices = session.scalars(_devices_online(), {"since": _since()})
    return {kind_of_device(device) for device in devices}


def kinds_of(session: Session, host: str, pids: Collection[int]) -> set[str]:
    """The same of these processes of a machine, also of those that cannot train; both, until one has shown itself."""
    theirs = select_columns(col(Worker.device)).where(
        col(Worker.host) == host, col(Worker.pid).in_(pids)
    )
    return {kind_of_device(device) for device in session.scalars(theirs)} or {"cpu", "cuda"}


@cache
def _devices_online() -> Select[str]:
    return (
        select_columns(col(Worker.device))
        .where(col(Worker.seen_at) > bindparam("since"), col(Worker.trouble).is_(None))
        .distinct()
    )


@cache
def _num_online() -> Select[int]:
    return (
        select_columns(func.count())
        .select_from(Worker)
        .where(col(Worker.seen_at) > bindparam("since"), col(Worker.trouble).is_(None))
    )


@cache
def _memory_online() -> Select[int | None]:
    return select_columns(col(Worker.memory_bytes)).where(
        col(Worker.seen_at) > bindparam("since"), col(Worker.trouble).is_(None)
    )


def _since() -> datetime:
    return utc_now() - timedelta(seconds=ONLINE_SECONDS)


def online(session: Session) -> list[Worker]:
    """Workers that were seen within the last 20 seconds, also those that cannot train."""
    return list(
        session.exec(select(Worker).where(col(Worker.seen_at) > _since()).order_by(col(Worker.id)))
    )


def fit(session: Session) -> list[Worker]:
    """Workers that were seen within the last 20 seconds and can train."""
    return [worker for worker in online(session) if worker.trouble is None]


def trouble_of(workers: Iterable[Worker]) -> str | None:
    """Which of them cannot train, and why, as a clause: the first, and how many more; None where all can."""
    found = [worker for worker in workers if worker.trouble is not None]
    if not found:
        return None
    first, *others = found
    more = f" (and {len(others)} more cannot)" if others else ""
    return f"the worker on {first.device} cannot train: {first.trouble}{more}"


def are_all_in_trouble(session: Session, host: str, pids: Collection[int], count: int) -> bool:
    """Whether as many of these processes of a machine have shown themselves, and none can train."""
    theirs = [one for one in online(session) if one.host == host and one.pid in pids]
    return len(theirs) >= count and all(one.trouble is not None for one in theirs)


def trained_by(session: Session, worker_ids: Collection[str]) -> Sequence[Row[Any]]:
    """What these workers train: `worker_id`, `run_id`, `experiment_id`, `owner`, `name`, `seed`, `epochs_done` and
    `epochs`, one row a run.
    """
    shown: tuple[Any, ...] = (
        col(Run.worker_id),
        col(Run.id).label("run_id"),
        col(Run.experiment_id),
        col(Run.owner),
        col(Experiment.name),
        col(Run.seed),
        col(Run.epochs_done),
        col(Run.epochs),
    )
    rows = (
        select_columns(*shown)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.RUNNING, col(Run.worker_id).in_(worker_ids))
        .order_by(col(Run.started_at), col(Run.id))
    )
    return session.execute(rows).all()
