"""Who shares a machine's cores."""

from sqlmodel import Session, col, select

from app.services.lifecycle.queueing import is_any_to_take
from app.services.lifecycle.workers import kind_of_device
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Run, Worker


def has_neighbors(session: Session, run_id: str, host: str, max_running_per_owner: int) -> bool:
    """Whether another run is under way on the CPU of this host, or is there to be taken by a CPU."""
    others = (
        select(Worker.device)
        .join(Run, col(Run.worker_id) == col(Worker.id))
        .where(
            col(Run.status) == RunStatus.RUNNING, col(Run.id) != run_id, col(Worker.host) == host
        )
    )
    if any(kind_of_device(device) == TrainsOn.CPU for device in session.exec(others)):
        return True
    return is_any_to_take(session, max_running_per_owner, (TrainsOn.CPU,))
