"""The database: migrations, agreement of models and schema, lost updates, times."""

import multiprocessing
import sqlite3
from datetime import UTC, datetime
from itertools import combinations_with_replacement
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import Session, select

from app.errors import Misconfigured
from app.services.experiments import experiments
from app.services.experiments.experiments import Filters
from app.settings import Settings
from app.storage import engines
from app.storage.db import Database, open_database
from app.storage.schema import alembic_config, schema_is_current
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run, metadata, utc_now
from tests.app.rows import create


def test_migrations_from_empty_give_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), metadata()
            )
            == []
        )
    with database.reading() as session:
        assert schema_is_current(session)


def test_migrations_go_back_to_nothing_and_forward_again(database: Database) -> None:
    config = alembic_config()
    for target, expected in (
        ("base", {"alembic_version"}),
        ("head", set(metadata().tables) | {"alembic_version"}),
    ):
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            (command.downgrade if target == "base" else command.upgrade)(config, target)
            connection.commit()
        assert set(inspect(database.engine).get_table_names()) == expected


def _open(home: str, barrier, results) -> None:
    barrier.wait()
    database = open_database(Settings(home=Path(home), _env_file=None))
    with database.reading() as session:
        results.put(schema_is_current(session))


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_open, args=(str(tmp_path), barrier, results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
        assert process.exitcode == 0


@pytest.mark.sqlite
def test_sqlite_is_set_for_durability(database: Database) -> None:
    with database.engine.connect() as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10_000,
    }


def _increment(home: str, times: int) -> None:
    database = Database(Settings(home=Path(home), _env_file=None).effective_database_url)
    for _ in range(times):
        with database.writing() as session:
            row = session.exec(select(Experiment).with_for_update()).one()
            row.parameters += 1
            session.add(row)


def test_no_update_is_lost_between_processes(settings: Settings, database: Database) -> None:
    body = {"epochs": 1}
    with database.writing() as session:
        experiment = create(session, body)
        before = experiment.parameters
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_increment, args=(str(settings.home), 60)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with database.reading() as session:
        assert session.exec(select(Experiment)).one().parameters == before + 180


def _write_then_fail(database: Database) -> None:
    with database.writing() as session:
        create(session, {"seeds": 3})
        session.flush()
        raise KeyboardInterrupt


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        _write_then_fail(database)
    with database.reading() as session:
        assert session.exec(select(Experiment)).all() == []
        assert session.exec(select(Run)).all() == []


def test_times_are_aware_and_in_utc(database: Database) -> None:
    with database.writing() as session:
        create(session, {})
    with database.reading() as session:
        created = session.exec(select(Experiment)).one().created_at
    assert created.tzinfo is UTC
    assert abs((utc_now() - created).total_seconds()) < 60
    with pytest.raises(Exception, match="without a zone"), database.writing() as session:
        session.add(
            Run(
                experiment_id="x",
                seed=0,
                position=0,
                created_at=datetime(2026, 1, 1),  # noqa: DTZ001
                status="queued",
                status_reason="",
                epochs=1,
                num_steps=1,
            )
        )


def test_the_status_filter_in_sql_agrees_with_the_rule(database: Database) -> None:
    expected: dict[str, set[str]] = {status: set() for status in RunStatus}
    with database.writing() as session:
        for statuses in combinations_with_replacement(RunStatus, 3):
            experiment = create(session, {"seeds": 3})
            for run, status in zip(
                experiments.runs_of(session, [experiment.id])[experiment.id], statuses, strict=True
            ):
                run.status = status
            expected[experiment_status(statuses)].add(experiment.id)
    with database.reading() as session:
        for status, ids in expected.items():
            rows, cursor = experiments.page(session, Filters(status=RunStatus(status)), 500, None)
            assert {row.id for row in rows} == ids
            assert cursor is None


def test_a_database_url_that_is_none_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="LAB_DATABASE_URL"):
        open_database(Settings(home=tmp_path, database_url="nonsense", _env_file=None))


@pytest.mark.sqlite
def test_sqlite_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_file_system", lambda folder: "nfs4")
    with pytest.raises(Misconfigured, match="network file system"):
        open_database(Settings(home=tmp_path, _env_file=None))


@pytest.mark.sqlite
def test_a_reader_does_not_wait_for_a_writer(settings: Settings, database: Database) -> None:
    blocker = sqlite3.connect(settings.home / "lab.sqlite3", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with database.reading() as session:
        assert session.exec(select(Experiment)).all() == []
    blocker.execute("ROLLBACK")
    blocker.close()


def test_pages_follow_each_other_without_gap_or_double(database: Database) -> None:
    with database.writing() as session:
        for _ in range(7):
            create(session, {})
    assert _all_pages(database, 3) == _all_pages(database, 500)
    assert len(_all_pages(database, 3)) == 7


def _all_pages(database: Database, limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    for _ in range(20):
        with database.reading() as session:
            rows, cursor = _page(session, limit, cursor)
        found += rows
        if cursor is None:
            break
    return found


def _page(session: Session, limit: int, cursor: str | None) -> tuple[list[str], str | None]:
    rows, following = experiments.page(session, Filters(), limit, cursor)
    return [row.id for row in rows], following
