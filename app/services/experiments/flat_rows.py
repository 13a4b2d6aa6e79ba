"""Experiments as one wide table, a row each: what a list shows, labels, results over the seeds, and the spec flattened
to dotted paths. Looked through twice, for the columns and for the rows, page by page.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments import experiments
from app.services.experiments.experiments import Listed
from app.services.experiments.exports import Piece
from app.services.experiments.filtering import Filters
from app.services.experiments.results import results_of, score_sheets
from app.services.experiments.subjects import subject_of
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run
from app.tabulation import csv_text

EXPERIMENTS_AT_ONCE: Final = 50
MOST_LABELS: Final = 100
"""Keys that have a column of their own; what has more of them is in one as JSON."""
OTHER_LABELS: Final = "other_labels"
SPREAD: Final = ("mean", "std", "n", "ci95_low", "ci95_high")

Row = dict[str, Any]


class _ReadRun(NamedTuple):
    """What the table needs of a run."""

    status: RunStatus
    started_at: datetime | None
    finished_at: datetime | None
    best: dict[str, Any] | None
    test: dict[str, Any] | None
    train: dict[str, Any] | None


class _ReadExperiment(NamedTuple):
    """An experiment with its spec and its runs."""

    listed: Listed
    spec: dict[str, Any]
    runs: list[_ReadRun]


class _Columns:
    """What columns there are, in the order in which they stand: facts, labels, results, spec."""

    def __init__(self) -> None:
        self.labels: dict[str, None] = {}
        self.scores: dict[tuple[str, str], None] = {}
        self.paths: dict[str, None] = {}
        self.has_other_labels = False

    def add(self, one: _ReadExperiment) -> None:
        """Those of one experiment, too."""
        self.labels.update(dict.fromkeys(one.listed.labels))
        if len(self.labels) > MOST_LABELS:
            self.has_other_labels = True
            self.labels = dict(islice(self.labels.items(), MOST_LABELS))
        for split, sheets in score_sheets(one.runs).items():
            self.scores.update({(split, name): None for sheet in sheets for name in sheet})
        self.paths.update(dict.fromkeys(flattened(one.spec)))

    @property
    def names(self) -> list[str]:
        """The heads."""
        return [
            *FACTS,
            *(f"labels.{key}" for key in self.labels),
            *([OTHER_LABELS] if self.has_other_labels else []),
            *(f"{split}.{name}.{what}" for split, name in self.scores for what in SPREAD),
            *(f"spec.{path}" for path in self.paths),
        ]

    def row(self, one: _ReadExperiment) -> Row:
        """One experiment's cells by column."""
        labels = one.listed.labels
        others = {key: value for key, value in labels.items() if key not in self.labels}
        return {
            **_facts(one),
            **{f"labels.{key}": value for key, value in labels.items()},
            OTHER_LABELS: json.dumps(others, ensure_ascii=False) if others else None,
            **_results(one),
            **{f"spec.{path}": value for path, value in flattened(one.spec).items()},
        }


FACTS: Final = (
    "experiment_id",
    "name",
    "owner",
    "status",
    "kind",
    "dataset",
    "network",
    "parameters",
    "seeds",
    "seeds_done",
    "study_id",
    "fingerprint",
    "archived",
    "created_at",
    "started_at",
    "finished_at",
)


def flat_csv_pieces(filters: Filters) -> Iterator[Piece]:
    """The newest experiment first. What comes meanwhile and has a column of its own lacks that cell."""
    columns = _Columns()

    def look(session: Session, place: list[str | None]) -> bytes:
        for one in _page(session, filters, place):
            columns.add(one)
        return b""

    def written(session: Session, place: list[str | None]) -> bytes:
        rows = [columns.row(one) for one in _page(session, filters, place)]
        return csv_text([row.get(name) for name in names] for row in rows).encode()

    yield from _pages(look)
    names = columns.names
    yield lambda _: csv_text([names]).encode()
    yield from _pages(written)


def flattened(document: Mapping[str, Any], way: str = "") -> Row:
    """A spec's fields by dotted path, `optimizer.learning_rate`. A list, and the whole spec of what it builds on, are
    one cell of JSON; what is empty is as if it were not there.
    """
    found: Row = {}
    for name, value in document.items():
        path = f"{way}{name}"
        if isinstance(value, dict) and name != "spec":
            found |= flattened(value, f"{path}.")
        elif isinstance(value, dict | list):
            found[path] = json.dumps(value, ensure_ascii=False)
        elif value is not None:
            found[path] = value
    return found


def _pages(do: Callable[[Session, list[str | None]], bytes]) -> Iterator[Piece]:
    """A piece for each page, which `do` takes from its place on."""
    place: list[str | None] = [None]
    while True:
        yield lambda session: do(session, place)
        if place[0] is None:
            return


def _page(session: Session, filters: Filters, place: list[str | None]) -> Sequence[_ReadExperiment]:
    """The experiments at the place, which moves on to the next page; it is None after the last."""
    listed, place[0] = experiments.page(session, filters, EXPERIMENTS_AT_ONCE, place[0])
    ids = [one.id for one in listed]
    named = select_columns(col(Experiment.id), col(Experiment.spec)).where(
        col(Experiment.id).in_(ids)
    )
    specs = {one: spec for one, spec in session.execute(named)}  # noqa: C416 - rows are no pairs to a type checker
    runs: dict[str, list[_ReadRun]] = {one: [] for one in ids}
    columns = (col(getattr(Run, name)) for name in _ReadRun._fields)
    for experiment_id, *read in session.execute(
        select_columns(col(Run.experiment_id), *columns)
        .where(col(Run.experiment_id).in_(ids))
        .order_by(col(Run.position))
    ):
        runs[experiment_id].append(_ReadRun(*read))
    return [_ReadExperiment(one, specs[one.id], runs[one.id]) for one in listed]


def _facts(one: _ReadExperiment) -> Row:
    listed, runs = one.listed, one.runs
    subject = subject_of(listed.fingerprint, one.spec)
    status = experiment_status(run.status for run in runs)
    begun = [run.started_at for run in runs if run.started_at is not None]
    ended = [run.finished_at for run in runs if run.finished_at is not None]
    return {
        "experiment_id": listed.id,
        "name": listed.name,
        "owner": listed.owner,
        "status": status.value,
        "kind": listed.kind,
        "dataset": subject.dataset,
        "network": subject.network,
        "parameters": listed.parameters,
        "seeds": len(runs),
        "seeds_done": sum(run.status is RunStatus.SUCCEEDED for run in runs),
        "study_id": listed.study_id,
        "fingerprint": listed.fingerprint,
        "archived": listed.archived,
        "created_at": listed.created_at.isoformat(),
        "started_at": min(begun).isoformat() if begun else None,
        "finished_at": max(ended).isoformat() if status.is_terminal and ended else None,
    }


def _results(one: _ReadExperiment) -> Row:
    depends_on_seed = subject_of(one.listed.fingerprint, one.spec).depends_on_seed
    found: Row = {}
    for split, scores in results_of(one.runs, depends_on_seed).items():
        for name, summary in scores.items():
            low, high = summary.ci95 or (None, None)
            cells = (summary.mean, summary.std, summary.n, low, high)
            found |= dict(zip((f"{split}.{name}.{what}" for what in SPREAD), cells, strict=True))
    return found
