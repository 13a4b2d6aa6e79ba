"""How far a run is, said once for records, studies and the queue."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, case, func
from sqlmodel import col

from app.storage.states import RunStatus
from app.storage.tables import Run

ADVANCING = ("status", "epochs", "epochs_done", "step", "num_steps")
"""The columns of a run that say how far it is."""


class Advancing(Protocol):
    """A run, or those columns of it (`ADVANCING`)."""

    @property
    def status(self) -> RunStatus:
        """Where it stands."""

    @property
    def epochs(self) -> int:
        """How many it trains at most."""

    @property
    def epochs_done(self) -> int:
        """Whole ones."""

    @property
    def step(self) -> int:
        """Steps done of the epoch that is under way."""

    @property
    def num_steps(self) -> int:
        """Of one epoch."""


Underway = TypeVar("Underway", bound=Advancing)


def epochs_trained(run: Advancing) -> float:
    """Whole epochs and the part of the one that is under way."""
    return run.epochs_done + (run.step / run.num_steps if run.num_steps else 0.0)


def fraction_done(run: Advancing) -> float:
    """The part of its work that is done; all of it once it has succeeded, after however many epochs."""
    return 1.0 if run.status == RunStatus.SUCCEEDED else min(1.0, epochs_trained(run) / run.epochs)


def fraction_in_sql() -> ColumnElement[float]:
    """`fraction_done`, asked of the database; a test holds the two together."""
    of_epoch = func.coalesce(1.0 * col(Run.step) / func.nullif(col(Run.num_steps), 0), 0.0)
    trained = (col(Run.epochs_done) + of_epoch) / col(Run.epochs)
    return case((col(Run.status) == RunStatus.SUCCEEDED, 1.0), (trained > 1.0, 1.0), else_=trained)


def epoch_begun(run: Advancing) -> int:
    """The epoch being trained while running, else how many are done."""
    return min(run.epochs, run.epochs_done + (1 if run.status == RunStatus.RUNNING else 0))


def current_run(runs: Sequence[Underway]) -> Underway:
    """The run that a reader asks about: the first that is under way, else the first that is not finished, else the
    last.
    """
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    unfinished = [run for run in runs if not run.status.is_terminal]
    return (running or unfinished or runs[-1:])[0]
