"""All numbers of some runs as CSV or JSON, however many: a document in pieces, each of which is one short read of a
bounded number of rows.

Nothing is held between two pieces, neither a session nor the rows. What is exported are the epochs that were there at
the beginning; a run that goes back to an earlier epoch meanwhile, or is deleted, has fewer.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Row
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.metrics import SCORE_SPLITS, last_epochs
from app.storage.tables import Metric

EPOCHS_AT_ONCE = 1_000
"""Of all runs together, in one piece."""

EPOCHS_OF_NAMES = 10_000
"""The same where names alone are looked for, which is quicker."""

Piece = Callable[[Session], bytes]
"""Reads the next part of a document."""

NumberRow = Row[int, str, str, float | None]


@dataclass(frozen=True)
class NumbersWanted:
    """Which numbers: of epochs later than `after`, and of these names; of all where there are none."""

    after: int = 0
    names: tuple[str, ...] = ()


EVERYTHING = NumbersWanted()


@dataclass(frozen=True)
class EpochRange:
    """Epochs of one run, both ends among them; `seed` is the run's, and `is_first`, `is_last` say whether it begins or
    ends with this part.
    """

    run_id: str
    seed: int
    first: int
    last: int
    is_first: bool
    is_last: bool
    names: tuple[str, ...] = ()


def csv_pieces(
    session: Session, runs: Sequence[tuple[str, int]], wanted: NumbersWanted = EVERYTHING
) -> Iterator[Piece]:
    """One row per run and wanted epoch, a column per split and name in alphabetical order. `runs`: id and
    seed of each.
    """
    return _csv_pieces(with_ends(session, runs), wanted)


def tidy_pieces(session: Session, runs: Sequence[tuple[str, int]]) -> Iterator[Piece]:
    """One row per number: run, seed, epoch, split, name and value, which is empty where it is not finite. `runs`: id
    and seed of each.
    """
    return _tidy_pieces(with_ends(session, runs))


def json_pieces(
    session: Session,
    experiment_id: str,
    runs: Sequence[tuple[str, int]],
    wanted: NumbersWanted = EVERYTHING,
) -> Iterator[Piece]:
    """The document of `MetricsAnswer`, of what is wanted. `runs`: id and seed of each."""
    return _json_pieces(experiment_id, with_ends(session, runs), wanted)


def with_ends(session: Session, runs: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Id and seed of each run with the last epoch that it has."""
    last = last_epochs(session, [run_id for run_id, _ in runs])
    return [(run_id, seed, last.get(run_id, 0)) for run_id, seed in runs]


def _csv_pieces(runs: Sequence[tuple[str, int, int]], wanted: NumbersWanted) -> Iterator[Piece]:
    names: set[tuple[str, str]] = set()
    for parts in blocks(runs, EPOCHS_OF_NAMES, wanted):
        yield lambda session, parts=parts: _add_names(session, parts, names)  # type: ignore[misc]
    columns = {key: index for index, key in enumerate(sorted(names, key=".".join))}
    head = ["run_id", "seed", "epoch", *map(".".join, columns)]
    yield lambda _: (",".join(head) + "\n").encode()
    for parts in blocks(runs, EPOCHS_AT_ONCE, wanted):
        yield lambda session, parts=parts: "".join(_csv_lines(session, parts, columns)).encode()  # type: ignore[misc]


def _tidy_pieces(runs: Sequence[tuple[str, int, int]]) -> Iterator[Piece]:
    yield lambda _: b"run_id,seed,epoch,split,name,value\n"
    for parts in blocks(runs, EPOCHS_AT_ONCE, EVERYTHING):
        yield lambda session, parts=parts: "".join(_tidy_lines(session, parts)).encode()  # type: ignore[misc]


def _json_pieces(
    experiment_id: str, runs: Sequence[tuple[str, int, int]], wanted: NumbersWanted
) -> Iterator[Piece]:
    yield lambda _: f'{{"experiment_id":{json.dumps(experiment_id)},"runs":['.encode()
    num_before = 0
    for parts in blocks(runs, EPOCHS_AT_ONCE, wanted):
        yield lambda session, parts=parts, num_before=num_before: "".join(
            _json_text(session, parts, num_before)
        ).encode()  # type: ignore[misc]
        num_before += sum(part.is_last for part in parts)
    yield lambda _: b"]}"


def blocks(
    runs: Sequence[tuple[str, int, int]], most: int, wanted: NumbersWanted
) -> Iterator[list[EpochRange]]:
    """The runs' wanted epochs cut into blocks of at most so many; a run without any has one part, of no
    epoch.
    """
    first = wanted.after + 1
    block: list[EpochRange] = []
    room = most
    for run_id, seed, last in runs:
        begin = first
        while begin == first or begin <= last:
            end = min(last, begin + room - 1)
            block.append(
                EpochRange(run_id, seed, begin, end, begin == first, end == last, wanted.names)
            )
            room -= max(1, end - begin + 1)
            begin = max(end, first) + 1
            if room <= 0:
                yield block
                block, room = [], most
    if block:
        yield block


def _add_names(session: Session, parts: Sequence[EpochRange], names: set[tuple[str, str]]) -> bytes:
    for part in parts:
        found = select_columns(col(Metric.split), col(Metric.name)).where(*_of(part)).distinct()
        names.update((split, name) for split, name in session.execute(found))
    return b""


def _of(part: EpochRange) -> tuple[Any, ...]:
    return (
        col(Metric.run_id) == part.run_id,
        col(Metric.epoch).between(part.first, part.last),
        col(Metric.split).in_(SCORE_SPLITS),
        *((col(Metric.name).in_(part.names),) if part.names else ()),
    )


def epochs_of(session: Session, part: EpochRange) -> Iterator[tuple[int, Iterator[NumberRow]]]:
    """Each epoch with its rows of epoch, split, name and value."""
    columns = (col(Metric.epoch), col(Metric.split), col(Metric.name), col(Metric.value))
    rows = session.execute(select_columns(*columns).where(*_of(part)).order_by(*columns[:3]))
    return groupby(rows, key=lambda row: row[0])


def _csv_lines(
    session: Session, parts: Sequence[EpochRange], columns: dict[tuple[str, str], int]
) -> Iterator[str]:
    for part in parts:
        beginning = f"{part.run_id},{part.seed},"
        for epoch, rows in epochs_of(session, part):
            cells = [""] * len(columns)
            for _, split, name, value in rows:
                # a name that has come since the columns were listed has none
                column = columns.get((split, name))
                if value is not None and column is not None:
                    cells[column] = repr(value)
            yield f"{beginning}{epoch},{','.join(cells)}\n"


def _tidy_lines(session: Session, parts: Sequence[EpochRange]) -> Iterator[str]:
    for part in parts:
        for epoch, rows in epochs_of(session, part):
            for _, split, name, value in rows:
                written = "" if value is None or not math.isfinite(value) else repr(value)
                yield f"{part.run_id},{part.seed},{epoch},{split},{name},{written}\n"


def _json_text(session: Session, parts: Sequence[EpochRange], num_before: int) -> Iterator[str]:
    """`num_before`: how many runs stand before these parts, or before the one that they go on with."""
    for part in parts:
        if part.is_first:
            yield f'{"," if num_before else ""}{{"run_id":{json.dumps(part.run_id)},"seed":{part.seed},"epochs":['
        comma = "" if part.is_first else ","
        for epoch, rows in epochs_of(session, part):
            scores: dict[str, list[str]] = {split: [] for split in SCORE_SPLITS}
            for _, split, name, value in rows:
                scores[split].append(f"{_quoted(name)}:{_number(value)}")
            listed = ",".join(f'"{split}":{{{",".join(pairs)}}}' for split, pairs in scores.items())
            yield f'{comma}{{"epoch":{epoch},{listed}}}'
            comma = ","
        if part.is_last:
            yield "]}"
            num_before += 1


def _quoted(name: str) -> str:
    return f'"{name}"' if name.isidentifier() and name.isascii() else json.dumps(name)


def _number(value: float | None) -> str:
    """As JSON, which has no word for what is not finite."""
    text = "null" if value is None else repr(value)
    return "null" if text in ("inf", "-inf", "nan") else text
