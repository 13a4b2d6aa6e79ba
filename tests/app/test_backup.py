"""`lab backup` and `lab restore`: a copy made while others write is whole, and what is put back goes on."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.commands.__main__ import main
from app.home import home_in_use, noted_database
from app.main import create_app
from app.services.experiments import experiments
from app.services.lifecycle import workers
from app.services.upkeep import backups
from app.services.upkeep.backups import BackupRefused, back_up, inspect, restore
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import RunStatus
from app.storage.tables import Worker, utc_now
from tests.app.rows import create
from tests.app.test_retry import TRAIN, begin, fail, finish_epoch, submit, succeed

pytestmark = pytest.mark.sqlite


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home, also for commands."""
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    monkeypatch.chdir(settings.home)
    return settings.home


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_while_a_writer_writes_is_whole_and_holds_nobody_up(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    """Each transaction writes an experiment with three runs: a copy with another proportion would be torn."""
    written, enough, ended = 0, threading.Event(), threading.Event()

    def write() -> None:
        nonlocal written
        while not ended.is_set():
            with database.writing() as session:
                create(session, {**TRAIN, "seeds": 3})
            written += 1
            if written >= 5:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(60)
    counts = []
    for number in range(5):
        before = written
        contents = back_up(settings, tmp_path / f"copy{number}.db", overwrite=False)
        assert contents.runs == 3 * contents.experiments
        assert before <= contents.experiments <= written + 1
        counts.append(contents.experiments)
    ended.set()
    writer.join()
    assert counts == sorted(counts)
    assert inspect(settings.home / "lab.sqlite3").experiments == written


def test_a_backup_is_one_file_and_leaves_nothing_else(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    with database.writing() as session:
        create(session, TRAIN)
    contents = back_up(settings, folder / "lab.db", overwrite=False)
    assert (contents.experiments, contents.runs, contents.unfinished) == (1, 1, 1)
    assert contents.size_bytes == (folder / "lab.db").stat().st_size
    assert files_of(folder) == {"lab.db"}


def test_a_backup_replaces_a_file_only_by_force(
    home: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", "copy.db"]) == 0
    assert capsys.readouterr().out.startswith("copy.db: 0 experiments, 0 runs, schema ")
    with database.writing() as session:
        create(session, TRAIN)
    assert main(["backup", "copy.db"]) == 1
    assert (
        capsys.readouterr().err
        == "copy.db is there already: name another file, or say --force to replace it\n"
    )
    assert inspect(home / "copy.db").experiments == 0
    assert main(["backup", "--force", "copy.db"]) == 0
    assert inspect(home / "copy.db").experiments == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("lab.sqlite3", "is the database itself"),
        (".", "is a folder"),
        ("no/copy.db", "there is no folder no"),
    ],
)
def test_a_backup_goes_nowhere_that_makes_no_sense(
    home: Path, database: Database, target: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", "--force", target]) == 1
    assert said in capsys.readouterr().err


def test_a_backup_that_fails_leaves_the_one_before(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.db"
    back_up(settings, target, overwrite=False)
    before = target.read_bytes()

    def full(_source: Path, temporary: Path, *_: object) -> None:
        temporary.write_bytes(b"half")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(backups, "_copy", full)
    with pytest.raises(BackupRefused, match="could not be written: database or disk is full"):
        back_up(settings, target, overwrite=True)
    assert target.read_bytes() == before
    assert not [name for name in files_of(tmp_path) if name.endswith(".tmp")]


def test_where_there_is_no_service_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="there is no database"):
        back_up(
            Settings(home=tmp_path / "other", _env_file=None), tmp_path / "copy.db", overwrite=False
        )
    assert files_of(tmp_path) == set()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_postgresql_has_programs_of_its_own(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_DATABASE_URL", "postgresql+psycopg://lab:secret@db:5432/lab")
    assert main([command, "copy.db"]) == 2
    said = capsys.readouterr().err
    assert {
        "backup": "pg_dump --format=custom --file=copy.db postgresql://lab@db:5432/lab",
        "restore": "pg_restore",
    }[command] in said
    assert "secret" not in said


def test_the_restored_service_answers_and_goes_on_with_what_is_queued(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with TestClient(create_app(settings)) as api:
        kept, running = submit(api, TRAIN), submit(api, TRAIN)
        succeed(database, begin(database))
        lost = begin(database)
        finish_epoch(database, lost, 1)
        queued = submit(api, TRAIN)
        back_up(settings, tmp_path / "copy.db", overwrite=False)
        later = submit(api, TRAIN)
        fail(database, lost)
    database.close()
    restored = restore(settings, tmp_path / "copy.db")
    assert (restored.contents.runs, restored.contents.unfinished) == (3, 2)
    assert restored.before is not None
    assert inspect(restored.before).runs == 4
    with TestClient(create_app(settings)) as api:
        assert api.get("/readyz").status_code == 200
        statuses = [
            api.get(f"/experiments/{one['id']}").json().get("status")
            for one in (kept, running, queued, later)
        ]
        assert statuses == ["succeeded", "running", "queued", 404]
        lease = begin(database)
        assert lease.run_id == queued["runs"][0]["id"]
        succeed(database, lease)
        assert api.get(f"/experiments/{queued['id']}").json()["status"] == "succeeded"


def test_what_a_killed_service_had_not_yet_merged_is_kept_and_not_mixed_in(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    """A write-ahead log that stayed beside the database would be applied to the one put in its place."""
    back_up(settings, tmp_path / "copy.db", overwrite=False)
    file = settings.home / "lab.sqlite3"
    reader = sqlite3.connect(file)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM run").fetchone()  # keeps the log from being merged
    with database.writing() as session:
        create(session, TRAIN)
    log = (settings.home / "lab.sqlite3-wal").read_bytes()
    assert log
    database.close()
    reader.close()
    (settings.home / "lab.sqlite3-wal").write_bytes(b"")
    restored = restore(settings, tmp_path / "copy.db")
    assert restored.contents.experiments == 0
    assert (
        not (settings.home / "lab.sqlite3-wal").exists()
        or (settings.home / "lab.sqlite3-wal").read_bytes() == b""
    )
    assert restored.before is not None
    assert inspect(restored.before).experiments == 1


def test_nothing_is_restored_while_a_service_uses_the_home(
    settings: Settings, database: Database, tmp_path: Path, home: Path
) -> None:
    back_up(settings, tmp_path / "copy.db", overwrite=False)
    with (
        TestClient(create_app(settings)),
        pytest.raises(BackupRefused, match=r"a service uses .*: stop it and its workers first"),
    ):
        restore(settings, tmp_path / "copy.db")
    assert noted_database(settings.home) == "lab.sqlite3"
    with home_in_use(settings.home):
        assert main(["restore", "copy.db"]) == 1
    assert main(["restore", "copy.db"]) == 0


def test_nothing_is_restored_while_workers_show_themselves(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    back_up(settings, tmp_path / "copy.db", overwrite=False)
    now = utc_now()
    with database.writing() as session:
        workers.register(
            session,
            Worker(
                id="elsewhere",
                host="h",
                pid=1,
                device="cpu",
                threads=1,
                started_at=now,
                seen_at=now,
            ),
        )
    with pytest.raises(
        BackupRefused,
        match=r"1 workers were seen within the last 20 s \(elsewhere\): stop them; if they were killed, wait 20 s",
    ):
        restore(settings, tmp_path / "copy.db")
    with database.writing() as session:
        workers.sign_off(session, "elsewhere")
    assert restore(settings, tmp_path / "copy.db").before is not None


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for offset in range(4096, len(content) - 100, 4096):
        content[offset : offset + 8] = b"\xff" * 8
    file.write_bytes(bytes(content))


def test_a_damaged_database_is_replaced_and_kept(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with database.writing() as session:
        create(session, TRAIN)
    back_up(settings, tmp_path / "copy.db", overwrite=False)
    database.close()
    damage(settings.home / "lab.sqlite3")
    broken = (settings.home / "lab.sqlite3").read_bytes()
    restored = restore(settings, tmp_path / "copy.db")
    assert restored.contents.experiments == 1
    assert restored.before is not None
    assert restored.before.read_bytes() == broken


def test_only_a_sound_backup_of_this_service_is_restored(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    before = (settings.home / "lab.sqlite3").stat().st_ino
    back_up(settings, tmp_path / "damaged.db", overwrite=False)
    damage(tmp_path / "damaged.db")
    back_up(settings, tmp_path / "newer.db", overwrite=False)
    with closing(sqlite3.connect(tmp_path / "newer.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    (tmp_path / "text.db").write_text("no database" * 1000)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE t (x)")
    for name, said in {
        "none.db": "there is no file",
        "damaged.db": "is damaged|is not a database of this service",
        "newer.db": "schema revision 9999, which this version does not know",
        "text.db": "file is not a database",
        "other.db": "no such table: alembic_version",
    }.items():
        with pytest.raises(BackupRefused, match=said):
            restore(settings, tmp_path / name)
    assert (settings.home / "lab.sqlite3").stat().st_ino == before


def test_a_backup_restores_into_an_empty_home(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with database.writing() as session:
        experiment = create(session, TRAIN)
    back_up(settings, tmp_path / "copy.db", overwrite=False)
    elsewhere = Settings(home=tmp_path / "elsewhere", _env_file=None)
    assert restore(elsewhere, tmp_path / "copy.db").before is None
    opened = open_database(elsewhere)
    with opened.reading() as session:
        (run,) = experiments.its_runs(session, experiment.id)
        assert run.status == RunStatus.QUEUED
    opened.close()
