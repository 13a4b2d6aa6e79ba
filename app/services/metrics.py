"""Numbers over epochs: written under a lease, read for JSON, CSV and plots."""

import math
from collections.abc import Sequence

from sqlalchemy import delete, func
from sqlalchemy import select as select_columns
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from app.tables import Metric

SCORE_SPLITS = ("train", "val")
"""Where an epoch's own numbers are; other splits hold one number per layer."""

RunMetrics = dict[int, dict[str, dict[str, float | None]]]
"""Epoch to split to name to value."""


def record_epoch(session: Session, run_id: str, epoch: int, metrics: dict[str, dict[str, float]]) -> None:
    """Write one epoch's numbers; a repeated epoch overwrites its own rows. NaN and infinities become null."""
    rows = [
        {"run_id": run_id, "epoch": epoch, "split": split, "name": name, "value": value if math.isfinite(value) else None}
        for split, values in metrics.items()
        for name, value in values.items()
    ]
    dialect = session.get_bind().dialect.name
    insert = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(Metric)
    statement = insert.on_conflict_do_update(index_elements=["run_id", "epoch", "split", "name"], set_={"value": insert.excluded.value})
    session.execute(statement, rows)


def forget_after(session: Session, run_id: str, epoch: int) -> None:
    """Drop the numbers of epochs after `epoch`, which a resume from an older checkpoint will write again."""
    session.execute(delete(Metric).where(col(Metric.run_id) == run_id, col(Metric.epoch) > epoch))


def seconds_per_epoch(session: Session, run_ids: Sequence[str]) -> float | None:
    """Mean seconds of training and validation over all epochs of the given runs; None before the first."""
    timed = (col(Metric.run_id).in_(run_ids), col(Metric.name) == "seconds")
    total = session.exec(select(func.sum(Metric.value)).where(*timed)).one()
    epochs = session.exec(select(func.count()).select_from(Metric).where(*timed, col(Metric.split) == "train")).one()
    return float(total) / epochs if total is not None and epochs else None


def seconds_of_training(session: Session, run_ids: Sequence[str]) -> dict[str, float]:
    """Seconds of training and validation over all epochs, for each of the runs that has finished one."""
    timed = (col(Metric.run_id).in_(run_ids), col(Metric.name) == "seconds", col(Metric.split).in_(SCORE_SPLITS))
    summed = select_columns(col(Metric.run_id), func.sum(Metric.value)).where(*timed).group_by(col(Metric.run_id))
    return {run_id: float(total) for run_id, total in session.execute(summed) if total is not None}


def metrics_of(session: Session, run_ids: Sequence[str], splits: Sequence[str] = SCORE_SPLITS) -> dict[str, RunMetrics]:
    """The numbers of the given runs in the given splits, epochs in order. Epoch 0 has layers' numbers only, no scores."""
    found: dict[str, RunMetrics] = {run_id: {} for run_id in run_ids}
    columns = (col(Metric.run_id), col(Metric.epoch), col(Metric.split), col(Metric.name), col(Metric.value))
    wanted = select_columns(*columns).where(col(Metric.run_id).in_(run_ids), col(Metric.split).in_(splits))
    for run_id, epoch, split, name, value in session.execute(wanted.order_by(*columns[1:4])):
        found[run_id].setdefault(epoch, {}).setdefault(split, {})[name] = value
    return found
