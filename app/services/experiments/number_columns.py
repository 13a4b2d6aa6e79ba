"""An experiment's numbers by columns: each run's as arrays over epochs, or over the seeds with their spread."""

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sqlmodel import Session

from app.services.experiments.exports import (
    EPOCHS_AT_ONCE,
    EpochRange,
    NumbersWanted,
    Piece,
    blocks,
    epochs_of,
    with_ends,
)
from app.services.experiments.metrics import SCORE_SPLITS
from app.services.experiments.parquet import as_parquet, pyarrow
from lab_models.statistics.summary import SummaryColumns, summarise_columns

Key = tuple[str, str]
"""Split and name."""
LARGEST = {"accuracy": 1.0, "loss": np.inf}
"""What is never less than 0, with the most that it can be. Intervals end there in tables; JSON has them as computed."""
SPREAD = ("mean", "std", "n", "ci95_low", "ci95_high", "min", "max")


@dataclass
class RunColumns:
    """One run's numbers: each of `numbers` has one for each of `epochs`, NaN where it was not measured or finite. Of
    all runs together there may be ten millions, which takes eight bytes of each.
    """

    run_id: str
    seed: int
    epochs: list[int] = field(default_factory=list)
    numbers: dict[Key, "array[float]"] = field(default_factory=dict)

    def add(self, epoch: int, values: Mapping[Key, float | None]) -> None:
        """The next epoch."""
        for key in values.keys() - self.numbers.keys():
            self.numbers[key] = _none(len(self.epochs))
        self.epochs.append(epoch)
        for key, column in self.numbers.items():
            value = values.get(key)
            column.append(math.nan if value is None else value)

    def document(self) -> dict[str, Any]:
        """As the API answers it."""
        return {
            "run_id": self.run_id,
            "seed": self.seed,
            "epochs": self.epochs,
            **_by_split({key: _with_none(column) for key, column in self.numbers.items()}),
        }


def column_pieces(
    session: Session, experiment_id: str, runs: Sequence[tuple[str, int]], wanted: NumbersWanted
) -> Iterator[Piece]:
    """The document of `MetricColumnsAnswer`, a run after the other. `runs`: id and seed of each."""
    ends = with_ends(session, runs)

    def pieces() -> Iterator[Piece]:
        yield lambda _: f'{{"experiment_id":{json.dumps(experiment_id)},"runs":['.encode()
        for place, run in enumerate(ends):
            columns = RunColumns(run[0], run[1])
            yield from _gathered([columns], [run], wanted)
            comma = "," if place else ""
            yield lambda _, columns=columns, comma=comma: (
                comma + _json(columns.document())
            ).encode()  # type: ignore[misc]
        yield lambda _: b"]}"

    return pieces()


def parquet_pieces(
    session: Session, runs: Sequence[tuple[str, int]], wanted: NumbersWanted
) -> Iterator[Piece]:
    """The rows and columns of the CSV as Parquet; raises NotAcceptable without pyarrow."""
    pyarrow()
    ends = with_ends(session, runs)
    tables = [RunColumns(run_id, seed) for run_id, seed, _ in ends]

    def pieces() -> Iterator[Piece]:
        yield from _gathered(tables, ends, wanted)
        yield lambda _: _parquet(_rows_of_runs(tables))

    return pieces()


def spread_pieces(
    session: Session,
    experiment_id: str,
    runs: Sequence[tuple[str, int]],
    wanted: NumbersWanted,
    form: str,
) -> Iterator[Piece]:
    """Mean, standard deviation, number, 95 % interval, least and largest over the runs in each epoch, as `form`: json
    and columns are `MetricSpreadAnswer`; csv and parquet have one row for each epoch, split and name.
    """
    if form == "parquet":
        pyarrow()
    ends = with_ends(session, runs)
    tables = [RunColumns(run_id, seed) for run_id, seed, _ in ends]

    def written(_: Session) -> bytes:
        epochs, spreads = _spreads(tables)
        if form == "parquet":
            return _parquet(_rows_of_spreads(epochs, spreads))
        if form == "csv":
            return _csv(_rows_of_spreads(epochs, spreads))
        found = {key: _spread_document(spread) for key, spread in spreads.items()}
        document = {"experiment_id": experiment_id, "aggregate": "seeds", "epochs": epochs}
        return _json({**document, **_by_split(found)}).encode()

    def pieces() -> Iterator[Piece]:
        yield from _gathered(tables, ends, wanted)
        yield written

    return pieces()


def _gathered(
    tables: Sequence[RunColumns], ends: Sequence[tuple[str, int, int]], wanted: NumbersWanted
) -> Iterator[Piece]:
    """Pieces of which each fills a part of the tables and is empty itself."""
    by_run = {table.run_id: table for table in tables}

    def fill(session: Session, parts: Iterable[EpochRange]) -> bytes:
        for part in parts:
            for epoch, rows in epochs_of(session, part):
                values = {(split, name): value for _, split, name, value in rows}
                by_run[part.run_id].add(epoch, values)
        return b""

    for parts in blocks(ends, EPOCHS_AT_ONCE, wanted):
        yield lambda session, parts=parts: fill(session, parts)  # type: ignore[misc]


def _spreads(tables: Sequence[RunColumns]) -> tuple[list[int], dict[Key, SummaryColumns]]:
    epochs = sorted({epoch for table in tables for epoch in table.epochs})
    place_of = {epoch: place for place, epoch in enumerate(epochs)}
    keys = sorted({key for table in tables for key in table.numbers})
    found = {}
    for key in keys:
        values = np.full((len(tables), len(epochs)), np.nan)
        for row, table in enumerate(tables):
            if key in table.numbers:
                places = [place_of[epoch] for epoch in table.epochs]
                values[row, places] = table.numbers[key]
        found[key] = summarise_columns(values)
    return epochs, found


def _spread_document(spread: SummaryColumns) -> dict[str, list[Any]]:
    numbers = _spread_columns(spread)
    ends = zip(numbers.pop("ci95_low"), numbers.pop("ci95_high"), strict=True)
    return {**numbers, "ci95": [None if low is None else [low, high] for low, high in ends]}


def _spread_columns(spread: SummaryColumns) -> dict[str, list[Any]]:
    columns = (spread.mean, spread.std, spread.n, spread.low, spread.high)
    all_columns = (*columns, spread.least, spread.largest)
    return {
        name: _with_none(column.tolist()) for name, column in zip(SPREAD, all_columns, strict=True)
    }


def _by_split(numbers: Mapping[Key, Any]) -> dict[str, dict[str, Any]]:
    return {
        split: {
            name: numbers[key] for key in sorted(numbers) if key[0] == split for name in key[1:]
        }
        for split in SCORE_SPLITS
    }


def _none(num_epochs: int) -> "array[float]":
    return array("d", [math.nan]) * num_epochs


def _with_none(column: Iterable[float]) -> list[float | None]:
    return [None if value != value else value for value in column]


def _rows_of_runs(tables: Sequence[RunColumns]) -> dict[str, Sequence[Any]]:
    keys = sorted({key for table in tables for key in table.numbers}, key=".".join)
    rows: dict[str, Any] = {
        "run_id": [table.run_id for table in tables for _ in table.epochs],
        "seed": [table.seed for table in tables for _ in table.epochs],
        "epoch": [epoch for table in tables for epoch in table.epochs],
    }
    for key in keys:
        rows[".".join(key)] = np.concatenate(
            [table.numbers.get(key, _none(len(table.epochs))) for table in tables]
        )
    return rows


def _rows_of_spreads(
    epochs: Sequence[int], spreads: Mapping[Key, SummaryColumns]
) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {name: [] for name in ("epoch", "split", "name", *SPREAD)}
    for (split, name), spread in spreads.items():
        if name in LARGEST:
            low, high = (np.clip(end, 0.0, LARGEST[name]) for end in (spread.low, spread.high))
            spread = replace(spread, low=low, high=high)
        rows["epoch"] += epochs
        rows["split"] += [split] * len(epochs)
        rows["name"] += [name] * len(epochs)
        for column, values in _spread_columns(spread).items():
            rows[column] += values
    return rows


def _csv(rows: Mapping[str, Sequence[Any]]) -> bytes:
    lines = [",".join(rows)]
    lines += [
        ",".join("" if cell is None else str(cell) for cell in row)
        for row in zip(*rows.values(), strict=True)
    ]
    return ("\n".join(lines) + "\n").encode()


def _json(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _parquet(rows: Mapping[str, Sequence[Any]]) -> bytes:
    texts, counts = ("run_id", "split", "name"), ("seed", "epoch", "n")
    types = {
        name: "string" if name in texts else "int64" if name in counts else "float64"
        for name in rows
    }
    return as_parquet(rows, types)
