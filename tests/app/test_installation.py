"""Machines that share a database share its files too, and one that does not is told so before it works."""

import logging
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from app.commands.__main__ import main
from app.errors import Misconfigured
from app.services.upkeep import installation
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.tables import Artifact, Installation, Run, utc_now
from tests.app.rows import create
from tests.databases import ON_POSTGRESQL

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}


def at(home: Path) -> Settings:
    """Settings of a machine whose database lies in no home."""
    home.mkdir(exist_ok=True)
    values: dict[str, Any] = (
        {} if ON_POSTGRESQL else {"database_url": f"sqlite:///{home.parent / 'shared.sqlite3'}"}
    )
    return Settings(home=home, log_level="ERROR", _env_file=None, **values)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Database]:
    """The database of them all."""
    database = open_database(at(tmp_path / "api"))
    yield database
    database.close()


def note(shared: Database, settings: Settings) -> None:
    with shared.writing() as session:
        installation.note(session, settings)


def compare(shared: Database, settings: Settings) -> None:
    with shared.reading() as session:
        installation.compare(session, settings)


def publish_a_file(session: Session, home: Path) -> None:
    """A run's file, and the row that points to it."""
    experiment = create(session, SPEC, "local")
    run_id = session.exec(select(Run.id).where(col(Run.experiment_id) == experiment.id)).one()
    path = home / "runs" / run_id / "attempt-1" / "weights.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"w")
    session.add(
        Artifact(
            run_id=run_id,
            name=path.name,
            media_type="application/octet-stream",
            path=f"attempt-1/{path.name}",
            sha256="0",
            size_bytes=1,
            created_at=utc_now(),
        )
    )


def test_a_worker_in_another_home_is_refused_with_both_folders(
    shared: Database, tmp_path: Path
) -> None:
    compare(shared, at(tmp_path / "worker"))  # nothing is known before an API was started
    note(shared, at(tmp_path / "api"))
    with pytest.raises(Misconfigured) as refused:
        compare(shared, at(tmp_path / "worker"))
    for needed in (tmp_path / "worker", tmp_path / "api", "another folder", "Mount"):
        assert str(needed) in str(refused.value)


def test_a_home_is_the_same_under_whatever_path_it_is_mounted(
    shared: Database, tmp_path: Path
) -> None:
    note(shared, at(tmp_path / "api"))
    (tmp_path / "mounted").symlink_to(tmp_path / "api")
    compare(shared, at(tmp_path / "mounted"))
    shutil.copytree(tmp_path / "api", tmp_path / "moved")
    note(shared, at(tmp_path / "moved"))
    compare(shared, at(tmp_path / "api"))
    with shared.reading() as session:
        assert session.get_one(Installation, 1).home == str(tmp_path / "moved")


def test_an_api_in_another_home_than_the_files_is_refused_until_it_is_told_to_take_its_place(
    shared: Database, tmp_path: Path
) -> None:
    note(shared, at(tmp_path / "first"))
    note(shared, at(tmp_path / "api"))  # as long as there are no files, none are elsewhere
    with shared.writing() as session:
        publish_a_file(session, tmp_path / "api")
    note(shared, at(tmp_path / "api"))
    with pytest.raises(Misconfigured, match=f"in another folder: {tmp_path / 'api'}") as refused:
        note(shared, at(tmp_path / "first"))
    known, _, path = str(refused.value).rpartition("echo ")[2].partition(" > ")
    Path(path).write_text(f"{known}\n")
    note(shared, at(tmp_path / "first"))


def test_files_that_were_put_back_into_a_new_home_make_it_the_home(
    shared: Database, tmp_path: Path
) -> None:
    note(shared, at(tmp_path / "api"))
    with shared.writing() as session:
        publish_a_file(session, tmp_path / "api")
    restored = at(tmp_path / "restored")
    shutil.copytree(tmp_path / "api" / "runs", restored.runs_folder)
    note(shared, restored)
    compare(shared, at(tmp_path / "api"))


def test_a_worker_whose_version_gives_other_numbers_is_refused(
    shared: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(shared, at(tmp_path / "api"))
    monkeypatch.setattr(installation, "RESULTS_VERSION", installation.RESULTS_VERSION + 1)
    with pytest.raises(Misconfigured, match="install the same version on both, the API first"):
        compare(shared, at(tmp_path / "api"))


@pytest.mark.sqlite
def test_where_the_database_lies_in_the_home_nothing_is_noted(
    settings: Settings, database: Database
) -> None:
    note(database, settings)
    compare(database, settings)
    assert not (settings.home / installation.HOME_ID).exists()


@pytest.mark.postgresql
def test_clocks_that_differ_are_said(
    shared: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger=installation.log.name)  # others may have set it
    compare(shared, at(tmp_path / "api"))
    assert not caplog.records
    monkeypatch.setattr(installation, "utc_now", lambda: utc_now() - timedelta(seconds=90))
    compare(shared, at(tmp_path / "api"))
    assert "90 s behind the database's" in caplog.text


def test_the_command_says_it_and_ends(
    shared: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    note(shared, at(tmp_path / "api"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "worker"))
    monkeypatch.setenv("LAB_DATABASE_URL", at(tmp_path / "worker").effective_database_url)
    assert main(["worker", "--workers", "1"]) == 2
    assert "this worker's LAB_HOME" in capsys.readouterr().err
