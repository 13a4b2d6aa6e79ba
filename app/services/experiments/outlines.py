"""Experiments as a list shows them: a page of them by a handful of statements, specs and bodies left in the
database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.experiments import Listed
from app.services.experiments.results import Summary, summarise_scores
from app.services.experiments.situations import Situation, situations_of
from app.services.experiments.standing import Standing
from app.services.experiments.subjects import SubjectInWords, subjects_of
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Run

REACHED = {
    "test.accuracy": ("test", "accuracy"),
    "test.loss": ("test", "loss"),
    "val.accuracy": ("val", "accuracy"),
    "val.loss": ("val", "loss"),
}
"""What a list can be sorted by: the score sheet, and the score."""


class ListedRun(NamedTuple):
    """What a list reads of a run."""

    id: str
    position: int
    status: RunStatus
    status_reason: StatusReason
    cancel_requested: bool
    pause_requested: bool
    attempt: int
    worker_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    epochs: int
    epochs_done: int
    step: int
    num_steps: int
    trains_on: str
    needs: str | None
    best: dict[str, Any] | None
    test: dict[str, Any] | None
    error: dict[str, Any] | None


@dataclass(frozen=True)
class ExperimentOutline:
    """An experiment with what a list shows of it."""

    listed: Listed
    runs: Sequence[ListedRun]
    situation: Situation
    subject: SubjectInWords

    @cached_property
    def succeeded(self) -> list[ListedRun]:
        """Runs whose scores count."""
        return [run for run in self.runs if run.status == RunStatus.SUCCEEDED]

    @property
    def started_at(self) -> datetime | None:
        """When the first of its runs began."""
        return min((run.started_at for run in self.runs if run.started_at), default=None)

    @property
    def finished_at(self) -> datetime | None:
        """When the last of its runs ended; None while one has not."""
        ends = [run.finished_at for run in self.runs if run.finished_at]
        return max(ends) if len(ends) == len(self.runs) else None

    @property
    def test(self) -> dict[str, Summary]:
        """The accuracy on test, as the record has it."""
        return self._summaries("test", ("accuracy",))

    @property
    def best_val(self) -> dict[str, Summary]:
        """Accuracy and loss on val at the best epoch, as the record has them."""
        return self._summaries("val", ("accuracy", "loss"))

    @property
    def reached(self) -> dict[str, float | None]:
        """By `REACHED` the mean over those succeeded runs that have the score."""
        return {
            name: _mean([sheet.get(score) for sheet in self._sheets[split]])
            for name, (split, score) in REACHED.items()
        }

    def _summaries(self, split: str, names: tuple[str, ...]) -> dict[str, Summary]:
        sheets = tuple(
            [tuple([sheet.get(name) for name in names]) for sheet in self._sheets[split]]
        )
        return _summarised(names, sheets, self.subject.depends_on_seed)

    @cached_property
    def _sheets(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "test": [run.test for run in self.succeeded if run.test],
            "val": [run.best["val"] for run in self.succeeded if run.best],
        }


def outlines(
    session: Session, rows: Sequence[Listed], look: Callable[[Session], Standing]
) -> list[ExperimentOutline]:
    """What a list shows of a page's experiments, in their order."""
    runs: dict[str, list[ListedRun]] = {row.id: [] for row in rows}
    for experiment_id, *columns in session.execute(_runs(), {"experiments": list(runs)}):
        runs[experiment_id].append(ListedRun(*columns))
    situations = situations_of(session, {row.id: row.owner for row in rows}, runs, look)
    subjects = subjects_of(session, {row.id: row.fingerprint for row in rows})
    return [
        ExperimentOutline(row, runs[row.id], situations[row.id], subjects[row.id]) for row in rows
    ]


@lru_cache(maxsize=10_000)
def _summarised(
    names: tuple[str, ...], sheets: tuple[tuple[Any, ...], ...], depends_on_seed: bool
) -> dict[str, Summary]:
    """As `summarise_scores`; whoever reads a page again does not pay for its intervals again."""
    return summarise_scores(
        [dict(zip(names, sheet, strict=True)) for sheet in sheets], depends_on_seed
    )


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else None


@cache
def _runs() -> Select[Any]:
    """Made once, and columns instead of objects: a list of 50 took a third of its time to make them."""
    return (
        select_columns(
            col(Run.experiment_id), *(col(getattr(Run, name)) for name in ListedRun._fields)
        )
        .where(col(Run.experiment_id).in_(bindparam("experiments", expanding=True)))
        .order_by(col(Run.position))
    )
