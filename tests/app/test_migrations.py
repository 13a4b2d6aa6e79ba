"""Migrations with rows in the tables: from every earlier schema to today's nothing is lost, and what was running goes
on.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    MetaData,
    Table,
    insert,
    inspect,
    select,
    text,
)
from sqlmodel import col
from sqlmodel import select as select_rows

from app.services import lifecycle
from app.services.lifecycle import Lease, Progressed
from app.settings import Settings
from app.storage.column_types import UTCDateTime
from app.storage.db import Database, open_database
from app.storage.schema import alembic_config, migrate, schema_is_current
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run, metadata
from tests.databases import empty_database

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory.from_config(alembic_config()).walk_revisions()))
]
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
RUNNING = {
    "status": "running",
    "status_reason": "training",
    "fence": 3,
    "heartbeat": 41,
    "attempt": 2,
    "worker_id": "w",
    "epochs_done": 1,
    "epochs": 9,
}
WAITING = {
    "status": "queued",
    "status_reason": "waiting_for_worker",
    "trains_on": "first",
    "fence": 0,
    "attempt": 0,
    "epochs_done": 0,
    "epochs": 9,
}
KNOWN = {
    "number": 2,
    "from_status": "queued",
    "to_status": "running",
    "reason": "starting",
    "outcome": "worker_lost",
    "role": "submit",
    "fence": 3,
    "run_id": "run_1",
    "status": "succeeded",
    "trains_on": "first",
}
"""What rows must say to be believed; every other column is filled by its type."""


@pytest.fixture
def empty(settings: Settings) -> Iterator[Database]:
    """A database without any table."""
    with empty_database():
        fresh = Settings(home=settings.home, _env_file=None)
        fresh.home.mkdir(exist_ok=True)
        database = Database(fresh.effective_database_url)
        yield database
        database.close()


def go_to(database: Database, revision: str, move: Callable[..., None] = command.upgrade) -> None:
    config = alembic_config()
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        move(config, revision)
        connection.commit()


def fill(database: Database) -> dict[str, list[dict[str, Any]]]:
    """A row in every table that there is, and a second run, which waits; returns what was written, by table."""
    with database.engine.connect() as connection:
        tables = _reflected(connection)
        for table in tables:
            for row in (
                [{**RUNNING, "id": "run_1"}, {**WAITING, "id": "run_2", "seed": 8}]
                if table.name == "run"
                else [KNOWN]
            ):
                connection.execute(
                    insert(table).values(
                        {column.name: _value(column, row) for column in table.columns}
                    )
                )
        connection.commit()
        return _rows(connection, tables)


def _value(column: Column[Any], known: dict[str, Any]) -> Any:
    if column.name in known:
        return known[column.name]
    if column.name == "needs" or (
        column.foreign_keys and column.nullable and column.name != "study_id"
    ):
        return None
    if column.foreign_keys:
        return (
            "run_1"
            if next(iter(column.foreign_keys)).column.table.name == "run"
            else f"{next(iter(column.foreign_keys)).column.table.name}_id"
        )
    match column.type:
        case JSON():
            return {"é": [1.5, None]}
        case DateTime() | UTCDateTime():
            return WHEN
        case Boolean():
            return False
        case Float():
            return 0.1 + 0.2
        case Integer():
            return 7
    return f"{column.table.name}_{column.name}"


def _reflected(connection: Connection) -> list[Table]:
    """The tables as the database has them, those that others refer to first; JSON and times as the models read them."""
    found = MetaData()
    found.reflect(connection)
    ours = metadata().tables
    for table in found.tables.values():
        for column in table.columns:
            if table.name in ours and column.name in ours[table.name].columns:
                column.type = ours[table.name].columns[column.name].type
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _rows(connection: Connection, tables: list[Table]) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: [
            dict(row)
            for row in connection.execute(
                select(table).order_by(*table.primary_key.columns)
            ).mappings()
        ]
        for table in tables
    }


def assert_schema_is_that_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), metadata()
            )
            == []
        )


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_upgrade_keeps_every_row_and_what_was_running_goes_on(
    empty: Database, settings: Settings, revision: str
) -> None:
    go_to(empty, revision)
    before = fill(empty)
    assert {
        "experiment",
        "run",
        "attempt",
        "metric",
        "checkpoint",
        "artifact",
        "worker",
        "status_change",
    } <= before.keys()
    migrate(empty.engine, settings.home / ".migrate.lock")
    assert_schema_is_that_of_the_models(empty)
    with empty.engine.connect() as connection:
        after = _rows(connection, _reflected(connection))
    for table, rows in before.items():
        kept = after[table]
        assert [
            {name: row[name] for name in rows[0] if name in row} for row in kept[: len(rows)]
        ] == rows, table
    _the_running_run_ends_and_the_waiting_one_is_claimed(empty)


def _the_running_run_ends_and_the_waiting_one_is_claimed(database: Database) -> None:
    holder = Lease("run_1", 3, 2, "w")
    with database.writing() as session:
        lifecycle.renew(session, holder, Progressed(2))
    with database.writing() as session:
        lifecycle.succeed(
            session,
            holder,
            best={"epoch": 2, "val": {"loss": 0.1}},
            test={"loss": 0.1, "accuracy": 0.9},
        )
    with database.writing() as session:
        lease = lifecycle.claim(session, "another")
        assert lease is not None
        assert (lease.run_id, lease.fence, lease.attempt) == ("run_2", 1, 1)
    with database.reading() as session:
        runs = session.exec(select_rows(Run).order_by(col(Run.id))).all()
        assert [(run.status, run.heartbeat, run.epochs_done, run.created_at) for run in runs] == [
            (RunStatus.SUCCEEDED, 43, 2, WHEN),
            (RunStatus.RUNNING, 8, 0, WHEN),
        ]
        assert session.exec(select_rows(Experiment)).one().spec == {"é": [1.5, None]}


def test_downgrades_through_each_revision_and_back_keep_the_runs(empty: Database) -> None:
    go_to(empty, "head")
    before = [(row["id"], row["status"], row["fence"]) for row in fill(empty)["run"]]

    def runs() -> list[Any]:
        with empty.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, status, fence FROM run ORDER BY id")).all()
        return [tuple(row) for row in rows]

    for revision in reversed(REVISIONS[:-1]):
        go_to(empty, revision, command.downgrade)
        assert runs() == before, f"down to {revision}"
    for revision in REVISIONS[1:]:
        go_to(empty, revision)
        assert runs() == before, f"up to {revision}"
    assert_schema_is_that_of_the_models(empty)


def test_migrations_from_nothing_give_exactly_the_tables_of_the_models(
    empty: Database, settings: Settings
) -> None:
    assert inspect(empty.engine).get_table_names() == []
    migrate(empty.engine, settings.home / ".migrate.lock")
    assert_schema_is_that_of_the_models(empty)
    assert {"alembic_version", *metadata().tables} == set(inspect(empty.engine).get_table_names())


def _open(home: str, barrier, results) -> None:
    barrier.wait()
    database = open_database(Settings(home=Path(home), _env_file=None))
    with database.reading() as session:
        results.put(schema_is_current(session))


def test_hosts_that_start_at_once_migrate_one_database_once(
    empty: Database, tmp_path: Path
) -> None:
    """On a server each host has a home of its own, so that no lock on a file can keep them apart; on SQLite they share
    the home.
    """
    homes = [
        tmp_path / f"host{number}" if empty.engine.dialect.name == "postgresql" else tmp_path
        for number in range(3)
    ]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_open, args=(str(home), barrier, results)) for home in homes
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=100) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
        assert process.exitcode == 0
