"""The last val losses of experiments, the mean over seeds of each epoch: what a list draws small beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Integer, Select, bindparam, case, column, func, values
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.metrics import LARGEST
from app.storage.tables import Metric, Run

EPOCHS: Final = 30
"""So many are shown, the last ones."""
MOST_SEEDS: Final = 20
"""Of an experiment with more, the first ones are asked."""
MOST_KNOWN: Final = 10_000
"""Experiments that are remembered."""

State = tuple[tuple[str, int, int], ...]
"""Id, attempt and whole epochs of each run: where these are the same, its numbers are."""


@dataclass(frozen=True)
class RecentLoss:
    """Means over the seeds that have the epoch; None where none of them has a finite number. There is at least one
    number.
    """

    epochs: tuple[int, ...]
    means: tuple[float | None, ...]
    num_seeds: int


class RecentLosses:
    """Reads them by two statements for a whole page, however many rows it has, and of what stands still only once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[State, RecentLoss | None]] = {}

    def of(self, session: Session, experiment_ids: Sequence[str]) -> dict[str, RecentLoss]:
        """By experiment; without those that have no number yet."""
        states = _states(session, experiment_ids)
        known = {one: self._known.get(one) for one in states}
        new = [
            one
            for one, state in states.items()
            if (there := known[one]) is None or there[0] != state
        ]
        found = _read(session, {one: states[one] for one in new}) if new else {}
        if len(self._known) + len(new) > MOST_KNOWN:
            self._known.clear()
        self._known.update({one: (states[one], found.get(one)) for one in new})
        kept = {one: there[1] for one, there in known.items() if there is not None}
        every = kept | {one: found.get(one) for one in new}
        return {one: loss for one, loss in every.items() if loss is not None}


def _states(session: Session, experiment_ids: Sequence[str]) -> dict[str, State]:
    """Of those that have trained an epoch."""
    rows = session.execute(_asked_states(), {"experiments": list(experiment_ids)})
    return {
        one: tuple(tuple(row[1:]) for row in runs)
        for one, runs in groupby(rows, key=lambda row: row[0])
    }


def _read(session: Session, states: dict[str, State]) -> dict[str, RecentLoss]:
    runs = [run_id for state in states.values() for run_id, *_ in state]
    rows = session.execute(_asked_means(), {"runs": runs})
    found = {
        one: [tuple(row[1:]) for row in its] for one, its in groupby(rows, key=lambda row: row[0])
    }
    return {
        one: loss
        for one, numbers in found.items()
        if (loss := _loss(numbers, len(states[one]))) is not None
    }


def _loss(numbers: Sequence[tuple[int, float | None]], num_seeds: int) -> RecentLoss | None:
    """Seeds that ended earlier have their own last epochs, which the longest one's may have left behind."""
    first = numbers[-1][0] - EPOCHS
    epochs, means = zip(*(one for one in numbers if one[0] > first), strict=True)
    return None if all(mean is None for mean in means) else RecentLoss(epochs, means, num_seeds)


@cache
def _asked_states() -> Select[str, str, int, int]:
    """Made once, as the other."""
    return (
        select_columns(col(Run.experiment_id), col(Run.id), col(Run.attempt), col(Run.epochs_done))
        .where(
            col(Run.experiment_id).in_(bindparam("experiments", expanding=True)),
            col(Run.position) < MOST_SEEDS,
            col(Run.epochs_done) > 0,
        )
        .order_by(col(Run.experiment_id), col(Run.position))
    )


@cache
def _asked_means() -> Select[Any]:
    """Each number is looked up by its whole key: an epoch may have hundreds of others, of every layer."""
    back = (
        values(column("epochs", Integer), name="back")
        .data([(number,) for number in range(EPOCHS)])
        .cte("back")
    )
    finite = case((func.abs(col(Metric.value)) < LARGEST, col(Metric.value)))
    keys = (col(Run.experiment_id), col(Metric.epoch))
    return (
        select_columns(*keys, func.avg(finite))
        .select_from(Run)
        .join(back, back.c.epochs < col(Run.epochs_done))
        .join(
            Metric,
            (col(Metric.run_id) == col(Run.id))
            & (col(Metric.epoch) == col(Run.epochs_done) - back.c.epochs)
            & (col(Metric.split) == "val")
            & (col(Metric.name) == "loss"),
        )
        .where(col(Run.id).in_(bindparam("runs", expanding=True)))
        .group_by(*keys)
        .order_by(*keys)
    )
