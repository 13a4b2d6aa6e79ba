"""Taking back the runs of silent workers, judged by this process's own monotonic clock and never by wall time.

A lease has expired when the run's heartbeat counter has not changed for the lease's length since *this* process first
saw that value: the rule of Kubernetes' leader election. A clock that jumps expires nothing.

Silence is no sign of death while nobody could have spoken: a process that could not itself write to the database begins
to count anew.
"""

import logging
import time
from collections.abc import Callable

from sqlmodel import Session, col, select

from app.services.lifecycle import reap
from app.storage.states import RunStatus
from app.storage.tables import Run

log = logging.getLogger("lab.reconcile")


class LeaseWatch:
    """What one process has seen of all running runs' heartbeats. It says with `wrote` and `failed` whether the database
    could be written to meanwhile.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._seen: dict[str, tuple[int, int, float]] = {}
        self._wrote: float | None = None

    def wrote(self) -> None:
        """This process has just written. To be said several times in half a lease: after a longer gap all silence so
        far is forgotten.

        A holder lets go of its run after most of a lease without a write, so that an outage which can have made it do
        so is always such a gap.
        """
        now = self._clock()
        if not self._has_written_lately(now):
            self._begin_anew(now)
        self._wrote = now

    def failed(self) -> None:
        """A look or a write of this process has failed: all silence so far is forgotten."""
        self._wrote = None
        self._begin_anew(self._clock())

    def silent(self, session: Session) -> list[tuple[str, int, int]]:
        """(run id, fence, heartbeat) of each run whose heartbeat stood still for the lease's length. Reads only."""
        now = self._clock()
        rows = session.exec(
            select(Run.id, Run.fence, Run.heartbeat).where(col(Run.status) == RunStatus.RUNNING)
        ).all()
        before, self._seen = self._seen, {}
        expired = []
        for run_id, fence, heartbeat in rows:
            last = before.get(run_id)
            since = last[2] if last is not None and last[:2] == (fence, heartbeat) else now
            self._seen[run_id] = (fence, heartbeat, since)
            if now - since >= self._lease_seconds:
                expired.append((run_id, fence, heartbeat))
        return expired if self._has_written_lately(now) else []

    def _has_written_lately(self, now: float) -> bool:
        return self._wrote is not None and now - self._wrote <= self._lease_seconds / 2

    def _begin_anew(self, now: float) -> None:
        self._seen = {
            run_id: (fence, heartbeat, now) for run_id, (fence, heartbeat, _) in self._seen.items()
        }


def take_back(session: Session, expired: list[tuple[str, int, int]], max_crashes: int) -> None:
    """Reap each of the silent runs, unless it gave a sign of life in the meantime."""
    for run_id, fence, heartbeat in expired:
        became = reap(session, run_id, fence, heartbeat, max_crashes)
        if became is not None:
            log.warning("%s: its worker gave no sign of life; now %s", run_id, became)
