"""Changes, numbered in the order in which they become visible.

A transaction that writes a run, an experiment or a study is a change; a study's and an experiment's numbers are their
runs'. Whatever statement writes a row marks it as unnumbered, since the column's default does, and at its end the
transaction counts one further in the only row of `change_counter` and gives the number to what it has marked. That
row's lock is the last that it takes and is held until the commit, so no number is seen before a smaller one. A sequence
would not do: of two transactions the one with the larger number may commit first.
"""

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Engine, Index, event
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlmodel import Field, Session

UNNUMBERED: Final = -1
"""The number of what has been written in this transaction."""

NUMBERED: Final = ("study", "experiment", "run", "tombstone")
"""The tables whose rows carry the number of the last change that wrote them."""

SUMMARIZED: Final = "experiment_summary"
"""Among the tables that a transaction has written: what a summary is made of."""

MARKED: Final = "lab.changes"
"""In a connection's `info`: the tables that its transaction has written."""


def change_column(table: str) -> Any:
    """The column of the number, for that table: every INSERT and UPDATE that does not name it marks its rows."""
    mark = _marks(table)
    return Field(
        default=None,
        sa_type=BigInteger,
        nullable=False,
        sa_column_kwargs={"default": mark, "onupdate": mark},
    )


def change_index(table: str) -> Index:
    """What has a number above another is found by this, and what has none yet."""
    return Index(f"ix_{table}_change", "change")


def watch_writes(engine: Engine) -> None:
    """Each transaction begins with nothing marked."""
    event.listen(engine, "begin", lambda connection: connection.info.pop(MARKED, None))


def number(
    session: Session, summarize: Callable[[Connection, Collection[str]], None] | None = None
) -> None:
    """Give what the transaction has written its number. To be called last, right before the commit; `summarize` is
    called while it is still unnumbered, with what was written, once the change is counted.
    """
    session.flush()
    if not session.in_transaction():
        return
    connection = session.connection()
    written = connection.info.pop(MARKED, None)
    if not written:
        return
    tables = tuple(table for table in NUMBERED if table in written)
    if summarize is None or written.isdisjoint((SUMMARIZED, "tombstone")):
        for statement in _numbering(tables, at_once=connection.dialect.name != "sqlite"):
            connection.exec_driver_sql(statement)
        return
    counting, *numbering = _numbering(tables, at_once=False)
    connection.exec_driver_sql(counting)
    summarize(connection, written)
    for statement in numbering:
        connection.exec_driver_sql(statement)


@cache
def _numbering(tables: tuple[str, ...], at_once: bool) -> tuple[str, ...]:
    """The statements. To a server they go as one, so that the counter is held for no longer than the commit takes."""
    counting = "UPDATE change_counter SET value = value + 1 WHERE id = 1"
    if not at_once:
        counted = "(SELECT value FROM change_counter WHERE id = 1)"
        return counting, *(_marked(table, counted) for table in tables)
    *others, last = (_marked(table, "counted.value", "FROM counted") for table in tables)
    named = "".join(f", others_{place} AS ({update})" for place, update in enumerate(others))
    return (f"WITH counted AS ({counting} RETURNING value){named} {last}",)


def _marked(table: str, value: str, source: str = "") -> str:
    return f"UPDATE {table} SET change = {value} {source} WHERE change = {UNNUMBERED}"  # noqa: S608


def _marks(table: str) -> Callable[[DefaultExecutionContext], int]:
    def mark(context: DefaultExecutionContext) -> int:
        written = context.root_connection.info.setdefault(MARKED, set())
        written.add(table)
        if table == "experiment" or (table == "run" and _sets_status(context)):
            written.add(SUMMARIZED)
        return UNNUMBERED

    return mark


def _sets_status(context: DefaultExecutionContext) -> bool:
    """Whether the statement makes a run or changes the status of one, and not only how far it is."""
    # conditions have blanks around the sign
    return context.isinsert or " status=" in str(context.compiled)
