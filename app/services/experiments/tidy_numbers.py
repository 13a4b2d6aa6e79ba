"""Every number of every epoch of many experiments, one to a row, as CSV or Parquet: page by page of what filters let
through, so that however many there are, only a page of them and a block of their epochs is held.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments import experiments
from app.services.experiments.exports import (
    EPOCHS_AT_ONCE,
    EpochRange,
    NumbersWanted,
    Piece,
    blocks,
    epochs_of,
)
from app.services.experiments.filtering import Filters
from app.services.experiments.parquet import ParquetPieces, pyarrow
from app.storage.tables import Metric, Run
from app.tabulation import csv_text

EXPERIMENTS_AT_ONCE: Final = 50
"""Whose runs are looked up together."""
ROWS_OF_A_GROUP: Final = 16_384
"""Of a Parquet file's row group, the last one of a block beyond it."""
COLUMNS: Final = {
    "experiment_id": "string",
    "name": "string",
    "run_id": "string",
    "seed": "int64",
    "epoch": "int64",
    "split": "string",
    "metric": "string",
    "value": "float64",
}
"""With their types in Parquet."""


@dataclass
class _Page:
    """Runs with numbers of the experiments that are written just now."""

    cursor: str | None = None
    runs: list[tuple[str, int, int]] = field(default_factory=list)
    """Id, seed and last epoch."""
    named: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """By run, its experiment's id and name."""


def tidy_csv_pieces(filters: Filters, wanted: NumbersWanted) -> Iterator[Piece]:
    """`COLUMNS`, the newest experiment first, its runs by seed; a value that is not finite is empty."""
    beginnings: dict[str, str] = {}

    def written(session: Session, page: _Page, parts: Sequence[EpochRange]) -> bytes:
        return "".join(_lines(session, page, parts, beginnings)).encode()

    yield lambda _: (",".join(COLUMNS) + "\n").encode()
    page = _Page()
    while True:
        yield lambda session, page=page: _turn(session, filters, page)  # type: ignore[misc]
        beginnings.clear()
        for parts in blocks(page.runs, EPOCHS_AT_ONCE, wanted):
            yield lambda session, page=page, parts=parts: written(session, page, parts)  # type: ignore[misc]
        if page.cursor is None:
            return


def tidy_parquet_pieces(filters: Filters, wanted: NumbersWanted) -> Iterator[Piece]:
    """The same rows; names are as they were given. Raises NotAcceptable without pyarrow."""
    pyarrow()
    return _parquet_pieces(filters, wanted)


def _parquet_pieces(filters: Filters, wanted: NumbersWanted) -> Iterator[Piece]:
    file = ParquetPieces(COLUMNS, ROWS_OF_A_GROUP)

    def written(session: Session, page: _Page, parts: Sequence[EpochRange]) -> bytes:
        for part in parts:
            beginning = (*page.named[part.run_id], part.run_id, part.seed)
            for _, rows in epochs_of(session, part):
                for epoch, split, name, value in rows:
                    file.add((*beginning, epoch, split, name, _finite(value)))
        return file.take()

    page = _Page()
    while True:
        yield lambda session, page=page: _turn(session, filters, page)  # type: ignore[misc]
        for parts in blocks(page.runs, EPOCHS_AT_ONCE, wanted):
            yield lambda session, page=page, parts=parts: written(session, page, parts)  # type: ignore[misc]
        if page.cursor is None:
            break
    yield lambda _: file.end()


def _turn(session: Session, filters: Filters, page: _Page) -> bytes:
    """To the next page; empty, since it is a piece without rows."""
    listed, page.cursor = experiments.page(session, filters, EXPERIMENTS_AT_ONCE, page.cursor)
    names = {one.id: one.name for one in listed}
    places = {one: place for place, one in enumerate(names)}
    last = (
        select_columns(func.max(Metric.epoch))
        .where(col(Metric.run_id) == col(Run.id))
        .correlate(Run)
        .scalar_subquery()
    )
    found = session.execute(
        select_columns(col(Run.experiment_id), col(Run.position), col(Run.id), col(Run.seed), last)
        .where(col(Run.experiment_id).in_(list(names)))
        .order_by(col(Run.position))
    )
    rows: list[Any] = sorted(found, key=lambda row: (places[row[0]], row[1]))
    page.runs = [(run_id, seed, epoch) for _, _, run_id, seed, epoch in rows if epoch]
    page.named = {run_id: (one, names[one]) for one, _, run_id, _, _ in rows}
    return b""


def _lines(
    session: Session, page: _Page, parts: Sequence[EpochRange], beginnings: dict[str, str]
) -> Iterator[str]:
    for part in parts:
        beginning = beginnings.get(part.run_id)
        if beginning is None:
            cells = (*page.named[part.run_id], part.run_id, part.seed)
            beginning = beginnings[part.run_id] = csv_text([cells]).removesuffix("\n")
        for _, rows in epochs_of(session, part):
            for epoch, split, name, value in rows:
                number = _finite(value)
                yield f"{beginning},{epoch},{split},{name},{'' if number is None else repr(number)}\n"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
