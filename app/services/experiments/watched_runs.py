"""Runs as who watches them sees them, by two statements however many."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.how_far import fraction_done
from app.services.experiments.metrics import SCORE_SPLITS
from app.services.experiments.situations import run_reason
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Metric, Run


@dataclass(frozen=True)
class WatchedRun:
    """A run, and the numbers of its last whole epoch by split and name."""

    id: str
    experiment_id: str
    seed: int
    status: RunStatus
    status_reason: StatusReason
    cancel_requested: bool
    pause_requested: bool
    attempt: int
    epochs: int
    epochs_done: int
    step: int
    num_steps: int
    best: dict[str, Any] | None
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)

    @property
    def reason(self) -> StatusReason:
        """Why it has its status."""
        return run_reason(self)

    @property
    def fraction(self) -> float:
        """The part of its work that is done."""
        return fraction_done(self)


COLUMNS = tuple(name for name in WatchedRun.__dataclass_fields__ if name != "metrics")


def read(session: Session, run_ids: Sequence[str]) -> list[WatchedRun]:
    """Those of the runs that are there."""
    if not run_ids:
        return []
    rows = session.execute(
        select_columns(*(col(getattr(Run, name)) for name in COLUMNS)).where(
            col(Run.id).in_(run_ids)
        )
    )
    found = {run.id: run for run in (WatchedRun(*row) for row in rows)}
    last = (
        select_columns(col(Metric.run_id), col(Metric.split), col(Metric.name), col(Metric.value))
        .join(
            Run, (col(Run.id) == col(Metric.run_id)) & (col(Run.epochs_done) == col(Metric.epoch))
        )
        .where(col(Run.id).in_(run_ids), col(Metric.split).in_(SCORE_SPLITS))
        .order_by(col(Metric.split), col(Metric.name))
    )
    for run_id, split, name, value in session.execute(last):
        found[run_id].metrics.setdefault(split, {})[name] = value
    return list(found.values())
