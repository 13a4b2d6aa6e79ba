"""Taking back the runs of silent workers, judged by this process's own monotonic clock and never by wall time.

A lease has expired when the run's heartbeat counter has not changed for the lease's length since *this* process first saw
that value: the rule of Kubernetes' leader election. A clock that jumps expires nothing.
"""

import logging
import time
from collections.abc import Callable

from sqlmodel import Session, col, select

from app.services.lifecycle import reap
from app.states import RunStatus
from app.tables import Run

log = logging.getLogger("lab.reconcile")


class LeaseWatch:
    """What one process has seen of all running runs' heartbeats."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[int, int, float]] = {}

    def silent(self, session: Session) -> list[tuple[str, int, int]]:
        """(run id, fence, heartbeat) of each run whose heartbeat stood still for the lease's length. Reads only."""
        now = self._clock()
        rows = session.exec(select(Run.id, Run.fence, Run.heartbeat).where(col(Run.status) == RunStatus.RUNNING)).all()
        before, self._seen = self._seen, {}
        expired = []
        for run_id, fence, heartbeat in rows:
            last = before.get(run_id)
            since = last[2] if last is not None and last[:2] == (fence, heartbeat) else now
            self._seen[run_id] = (fence, heartbeat, since)
            if now - since >= self._lease_seconds:
                expired.append((run_id, fence, heartbeat))
        return expired


def take_back(session: Session, expired: list[tuple[str, int, int]], max_crashes: int) -> None:
    """Reap each of the silent runs, unless it gave a sign of life in the meantime."""
    for run_id, fence, heartbeat in expired:
        became = reap(session, run_id, fence, heartbeat, max_crashes)
        if became is not None:
            log.warning("%s: its worker gave no sign of life; now %s", run_id, became)
