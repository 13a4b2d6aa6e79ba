"""Numbers over epochs: written under a lease, read for JSON, CSV and plots."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import numpy as np
from sqlalchemy import Select, bindparam, case, delete, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.plots.series import Series
from app.storage.dialects import insert_into
from app.storage.tables import Metric, Run

SCORE_SPLITS = ("train", "val")
"""Where an epoch's own numbers are; other splits hold one number per layer."""

MOST_EPOCHS = 1_000
"""Of one curve of a picture: more than it is pixels wide."""

MOST_NUMBERS = 400_000
"""About so many are read for one picture, however many runs it is about, unless that left fewer than FEWEST_EPOCHS."""

FEWEST_EPOCHS = 100

EPOCHS_FOR_PACE = 20
"""Whoever polls does not pay for all epochs there have been."""

LARGEST = 1e300
"""What is larger, of either sign, counts as not finite where numbers are added up."""

RunMetrics = dict[int, dict[str, dict[str, float | None]]]
"""Epoch to split to name to value."""


def record_epoch(
    session: Session, run_id: str, epoch: int, metrics: dict[str, dict[str, float]]
) -> None:
    """Write one epoch's numbers; a repeated epoch overwrites its own rows. NaN and infinities become null."""
    rows = [
        {
            "run_id": run_id,
            "epoch": epoch,
            "split": split,
            "name": name,
            "value": value if math.isfinite(value) else None,
        }
        for split, values in metrics.items()
        for name, value in values.items()
    ]
    insert = insert_into(Metric, session.get_bind().dialect.name)
    statement = insert.on_conflict_do_update(
        index_elements=["run_id", "epoch", "split", "name"], set_={"value": insert.excluded.value}
    )
    session.execute(statement, rows)


def forget_after(session: Session, run_id: str, epoch: int) -> None:
    """Drop the numbers of epochs after `epoch`, which a resume from an older checkpoint will write again."""
    session.execute(delete(Metric).where(col(Metric.run_id) == run_id, col(Metric.epoch) > epoch))


def paces(session: Session, run_ids: Sequence[str]) -> dict[str, float]:
    """Mean seconds of training and validation over the last EPOCHS_FOR_PACE epochs of each of the runs that has
    finished one.
    """
    rows = session.execute(_paces(), {"runs": list(run_ids)})
    return {run_id: float(total) / count for run_id, total, count in rows if total is not None}


@cache
def _paces() -> Select[str, float | None, int]:
    """Made once, since every record of what trains asks it."""
    lately = (
        col(Metric.run_id) == col(Run.id),
        col(Metric.epoch) > col(Run.epochs_done) - EPOCHS_FOR_PACE,
    )
    timed = (
        col(Run.id).in_(bindparam("runs", expanding=True)),
        *lately,
        col(Metric.name) == "seconds",
        col(Metric.split).in_(SCORE_SPLITS),
    )
    epochs = func.count(func.distinct(Metric.epoch))
    return (
        select_columns(col(Run.id), func.sum(Metric.value), epochs)
        .where(*timed)
        .group_by(col(Run.id))
    )


def seconds_of_training(session: Session, run_ids: Sequence[str]) -> dict[str, float]:
    """Seconds of training and validation over all epochs, for each of the runs that has finished one."""
    timed = (
        col(Metric.run_id).in_(run_ids),
        col(Metric.name) == "seconds",
        col(Metric.split).in_(SCORE_SPLITS),
    )
    summed = (
        select_columns(col(Metric.run_id), func.sum(Metric.value))
        .where(*timed)
        .group_by(col(Metric.run_id))
    )
    return {run_id: float(total) for run_id, total in session.execute(summed) if total is not None}


def metrics_of(
    session: Session, run_ids: Sequence[str], splits: Sequence[str] = SCORE_SPLITS
) -> dict[str, RunMetrics]:
    """The numbers of the given runs in the given splits, epochs in order. Epoch 0 has layers' numbers only, no
    scores.
    """
    found: dict[str, RunMetrics] = {run_id: {} for run_id in run_ids}
    columns = (
        col(Metric.run_id),
        col(Metric.epoch),
        col(Metric.split),
        col(Metric.name),
        col(Metric.value),
    )
    wanted = select_columns(*columns).where(
        col(Metric.run_id).in_(run_ids), col(Metric.split).in_(splits)
    )
    for run_id, epoch, split, name, value in session.execute(wanted.order_by(*columns[1:4])):
        found[run_id].setdefault(epoch, {}).setdefault(split, {})[name] = value
    return found


@dataclass(frozen=True)
class Curves:
    """Aggregated numbers of groups of runs, a series for each (split, name) of each group: of every `every`-th of at
    most `epochs` epochs, and of the last.
    """

    groups: list[dict[tuple[str, str], Series]]
    every: int
    epochs: int

    @property
    def note(self) -> str:
        """Says that epochs are left out, such as `every 10th of 10,000 epochs`; empty where none is."""
        return "" if self.every == 1 else f"every {_ordinal(self.every)} of {self.epochs:,} epochs"


def last_epochs(session: Session, run_ids: Sequence[str]) -> dict[str, int]:
    """The last epoch that each run has numbers of; without those that have none yet. Epoch 0 is before the first
    step.
    """
    last = (
        select_columns(func.max(Metric.epoch))
        .where(col(Metric.run_id) == col(Run.id))
        .correlate(Run)
        .scalar_subquery()
    )
    found = session.execute(select_columns(col(Run.id), last).where(col(Run.id).in_(run_ids)))
    return {run_id: epoch for run_id, epoch in found if epoch is not None}


def curves_of(
    session: Session,
    groups: Sequence[Sequence[str]],
    names: Sequence[str],
    marked: Collection[int] = (),
) -> Curves:
    """What is drawn of groups of runs: mean and range over each group's runs, added up in the database, and of long
    training not every epoch.

    First and last epochs are always there, and those `marked`.
    """
    last = last_epochs(session, [run_id for group in groups for run_id in group])
    begun = [[run_id for run_id in group if last.get(run_id, 0) > 0] for group in groups]
    longest = max(last.values(), default=0)
    most = max(
        FEWEST_EPOCHS, MOST_NUMBERS // max(1, sum(map(len, begun)) * len(names) * len(SCORE_SPLITS))
    )
    every = max(1, math.ceil(longest / min(MOST_EPOCHS, most)))
    found = [
        _aggregated(
            session, runs, names, _thinned(max(last[run_id] for run_id in runs), every, marked)
        )
        if runs
        else {}
        for runs in begun
    ]
    return Curves(found, every, longest)


def _thinned(last: int, every: int, marked: Collection[int]) -> list[int] | None:
    """The epochs to be read; None for all."""
    return (
        None
        if every == 1
        else sorted(
            {*range(1, last + 1, every), last, *(epoch for epoch in marked if 0 < epoch <= last)}
        )
    )


def _aggregated(
    session: Session, run_ids: Sequence[str], names: Sequence[str], epochs: list[int] | None
) -> dict[tuple[str, str], Series]:
    """Each (split, name) over the runs, in the epochs given."""
    finite = case((func.abs(col(Metric.value)) < LARGEST, col(Metric.value)))
    keys = (col(Metric.split), col(Metric.name), col(Metric.epoch))
    numbers = (
        func.count(),
        func.count(finite),
        func.sum(finite),
        func.min(finite),
        func.max(finite),
    )
    wanted = (
        col(Metric.run_id).in_(run_ids),
        col(Metric.split).in_(SCORE_SPLITS),
        col(Metric.name).in_(names),
    )
    statement = select_columns(*keys, *numbers).where(*wanted).group_by(*keys).order_by(*keys)
    statement = statement.where(
        col(Metric.epoch) > 0 if epochs is None else col(Metric.epoch).in_(epochs)
    )
    rows = session.execute(statement).all()
    return {
        key: _series([row[2:] for row in of_key])
        for key, of_key in groupby(rows, key=lambda row: (row[0], row[1]))
    }


def _series(rows: Sequence[Sequence[float | None]]) -> Series:
    """Rows of epoch, numbers, finite numbers, their sum, least and largest."""
    table = np.array(rows, dtype=np.float64)
    counts, finite = table[:, 1], table[:, 2]
    mean = np.divide(table[:, 3], finite, out=np.full(len(table), np.nan), where=finite > 0)
    return Series(
        table[:, 0].astype(np.int64),
        mean,
        table[:, 4],
        table[:, 5],
        int(counts.max()),
        bool((finite < counts).any()),
        counts.astype(np.int64),
    )


def _ordinal(number: int) -> str:
    ending = (
        "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number:,}{ending}"
