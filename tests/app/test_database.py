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
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from app.errors import Misconfigured
from app.services import lifecycle
from app.services.experiments import experiments
from app.services.experiments.filtering import Filters
from app.services.experiments.how_far import fraction_done, fraction_in_sql
from app.settings import Settings
from app.storage import engines
from app.storage.db import Database, open_database
from app.storage.schema import alembic_config, schema_is_current
from app.storage.states import RunStatus, StatusReason, experiment_status
from app.storage.tables import Experiment, Run, StatusChange, metadata, utc_now
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
                experiments.its_runs(session, experiment.id), statuses, strict=True
            ):
                run.status = status
            expected[experiment_status(statuses)].add(experiment.id)
    with database.reading() as session:
        for status, ids in expected.items():
            rows, cursor = experiments.page(
                session, Filters(statuses=(RunStatus(status),)), 500, None
            )
            assert {row.id for row in rows} == ids
            assert cursor is None


def test_statuses_and_reasons_are_text_in_the_database_and_members_in_python(
    database: Database,
) -> None:
    with database.writing() as session:
        create(session, {"seeds": 1})
        lifecycle.claim(session, "w")
    with database.reading() as session:
        run = session.exec(select(Run)).one()
        assert run.status is RunStatus.RUNNING
        assert run.status_reason is StatusReason.STARTING
        moves = session.exec(select(StatusChange).order_by(col(StatusChange.id))).all()
        assert [(move.from_status, move.to_status) for move in moves] == [
            (None, RunStatus.QUEUED),
            (RunStatus.QUEUED, RunStatus.RUNNING),
        ]
        assert session.exec(select(col(Run.id)).where(col(Run.status) == "running")).one() == run.id
        raw = text("SELECT status, status_reason FROM run")
        assert session.execute(raw).one() == ("running", "starting")
    with database.engine.connect() as connection:
        connection.execute(text("UPDATE run SET status = 'lost'"))
        connection.commit()
    with pytest.raises(ValueError, match="lost"), database.reading() as session:
        session.exec(select(Run)).one()


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SUCCEEDED])
@pytest.mark.parametrize(
    ("epochs_done", "step", "num_steps"),
    [(0, 0, 10), (1, 5, 10), (3, 0, 10), (4, 1, 10), (2, 0, 0)],
)
def test_how_far_a_run_is_is_the_same_in_sql(
    database: Database, status: RunStatus, epochs_done: int, step: int, num_steps: int
) -> None:
    with database.writing() as session:
        (run,) = experiments.its_runs(session, create(session, {"seeds": 1, "epochs": 4}).id)
        run.status = status
        run.epochs_done, run.step, run.num_steps = epochs_done, step, num_steps
    with database.reading() as session:
        asked = session.execute(select(fraction_in_sql()).select_from(Run)).scalar_one()
        assert asked == pytest.approx(fraction_done(session.exec(select(Run)).one()))


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


@pytest.mark.postgresql
def test_a_connection_that_the_server_has_ended_is_found_unless_it_was_just_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own() -> int:
        with database.looking() as session:
            return session.execute(text("SELECT pg_backend_pid()")).scalar_one()

    def end(pid: int) -> None:
        with elsewhere.looking() as session:
            session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    elsewhere = Database(database.engine.url.render_as_string(hide_password=False))
    first = own()
    assert own() == first, "the last one given back is the next one taken"
    monkeypatch.setattr(engines, "IDLE_SECONDS", 60.0)
    end(first)
    with pytest.raises(OperationalError):
        own()
    second = own()
    monkeypatch.setattr(engines, "IDLE_SECONDS", 0.0)
    end(second)
    assert own() not in {first, second}
    elsewhere.close()


@pytest.mark.postgresql
def test_what_is_read_often_is_prepared_by_the_server_and_a_look_begins_no_transaction(
    database: Database,
) -> None:
    asked = "SELECT count(*) FROM run WHERE status = :status"
    prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM run%'"
    for _ in range(10):
        with database.reading() as session:
            session.execute(text(asked), {"status": "queued"})
    with database.looking() as session:
        assert session.execute(text(prepared)).scalar_one() == 1
        driver = session.connection().connection.dbapi_connection
        assert driver.info.transaction_status.name == "IDLE"
    with database.reading() as session:
        assert session.execute(text(prepared)).scalar_one() == 1
        driver = session.connection().connection.dbapi_connection
        assert driver.info.transaction_status.name == "INTRANS"
        assert session.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
