"""`lab backup --files` and `lab restore --files`: what cannot be made again, copied while others write, once."""

import json
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from app.commands.__main__ import main
from app.home import home_in_use
from app.services.upkeep.backups import BackupRefused, back_up
from app.services.upkeep.copying import Copier, FileToCopy
from app.services.upkeep.file_backups import (
    FileBackup,
    Named,
    named_in_database,
    named_in_file,
    put_back,
)
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Artifact, Checkpoint, Run, utc_now
from tests.app.rows import create

TRAIN = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 2}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", log_level="ERROR", _env_file=None)


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def a_run(settings: Settings, database: Database, **files: bytes) -> str:
    """A run with a log, a checkpoint for each name that begins with `c`, an artifact for each other."""
    with database.writing() as session:
        created = create(session, TRAIN).id
        run = session.exec(select(Run.id).where(col(Run.experiment_id) == created)).one()
        folder = settings.runs_folder / run / "attempt-1"
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("it began\n")
        for number, (name, content) in enumerate(files.items()):
            (folder / name).write_bytes(content)
            facts = {
                "run_id": run,
                "path": f"attempt-1/{name}",
                "sha256": sha256(content).hexdigest(),
                "size_bytes": len(content),
                "created_at": utc_now(),
            }
            session.add(
                Checkpoint(attempt=1, epoch=number, step=0, **facts)
                if name.startswith("c")
                else Artifact(name=name, media_type="x/y", **facts)
            )
    return run


def a_data_set(home: Path, name: str, content: bytes) -> Path:
    folder = home / "imported" / name
    folder.mkdir(parents=True)
    (folder / "images.npy").write_bytes(content)
    sums = {"images.npy": sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": sums}))
    (home / "imported" / f".{name}.lock").touch()
    return folder


def test_all_that_cannot_be_made_again_is_copied_once_and_put_back_in_a_new_home(
    settings: Settings, database: Database, copies: Path, tmp_path: Path
) -> None:
    run = a_run(settings, database, weights=b"w" * 2_000_000, c1=b"c")
    a_data_set(settings.home, "mine", b"images")
    (settings.home / "prepared" / "digits").mkdir(parents=True)
    (settings.home / "prepared" / "digits" / "images.npy").write_bytes(b"can be made again")
    (settings.runs_folder / run / "attempt-1" / "half-written").write_bytes(b"no row names it")
    tally = FileBackup(settings, copies).copy(named_in_database(settings))
    assert (tally.num_copied, tally.num_unchanged, tally.gone, tally.damaged) == (5, 0, [], [])
    assert tally.bytes_copied > 2_000_000
    assert set(content_of(copies)) == {
        f"runs/{run}/attempt-1/weights",
        f"runs/{run}/attempt-1/c1",
        f"runs/{run}/attempt-1/log.txt",
        "imported/mine/images.npy",
        "imported/mine/manifest.json",
    }
    assert copies.stat().st_mode & 0o077 == 0
    inodes = {path: (copies / path).stat().st_ino for path in content_of(copies)}
    with (settings.runs_folder / run / "attempt-1" / "log.txt").open("a") as log:
        log.write("it goes on\n")
    again = FileBackup(settings, copies).copy(named_in_database(settings))
    assert (again.num_copied, again.bytes_copied, again.num_unchanged) == (1, 20, 4)
    changed = [path for path, inode in inodes.items() if (copies / path).stat().st_ino != inode]
    assert changed == [f"runs/{run}/attempt-1/log.txt"], "the rest was not written again"
    elsewhere = settings.model_copy(update={"home": tmp_path / "new"})
    back = put_back(elsewhere, copies, named_in_database(settings))
    assert back.num_copied == 5
    there = content_of(tmp_path / "new")
    there.pop(".in-use.lock")
    assert there == content_of(copies)


def test_what_has_gone_since_the_rows_were_read_is_named(
    settings: Settings, database: Database, copies: Path
) -> None:
    run = a_run(settings, database, weights=b"w", c1=b"c", c2=b"d")
    named = named_in_database(settings)
    (settings.runs_folder / run / "attempt-1" / "c1").unlink()
    tally = FileBackup(settings, copies).copy(named)
    assert tally.gone == [f"runs/{run}/attempt-1/c1"]
    assert tally.num_copied == 3


@pytest.mark.sqlite
def test_a_checkpoint_that_a_newer_one_replaces_a_moment_later_is_in_the_backup(
    settings: Settings, database: Database, copies: Path, tmp_path: Path
) -> None:
    run = a_run(settings, database, c1=b"c")
    with FileBackup(settings, copies) as files:
        back_up(settings, tmp_path / "lab.db", overwrite=False, while_nobody_writes=files.pin)
        (settings.runs_folder / run / "attempt-1" / "c1").unlink()
        with database.writing() as session:
            session.delete(session.exec(select(Checkpoint)).one())
        tally = files.copy(named_in_file(tmp_path / "lab.db"))
    assert (tally.num_copied, tally.num_unchanged, tally.gone) == (2, 0, [])
    assert (copies / "runs" / run / "attempt-1" / "c1").read_bytes() == b"c"
    assert [path.name for path in settings.home.iterdir() if path.name.startswith(".backup")] == []


@pytest.mark.sqlite
def test_nothing_is_written_between_the_state_that_is_copied_and_what_is_pinned(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    impatient = Database(settings.effective_database_url, busy_seconds=0.01)
    tried = []

    def look(_: object) -> None:
        with pytest.raises(OperationalError, match="locked"), impatient.writing() as session:
            create(session, TRAIN)
        tried.append(True)

    contents = back_up(settings, tmp_path / "lab.db", overwrite=False, while_nobody_writes=look)
    assert tried
    assert contents.runs == 0
    with impatient.writing() as session:
        create(session, TRAIN)
    impatient.close()


def test_a_file_that_is_not_what_its_row_says_is_not_taken_for_a_backup(
    settings: Settings, database: Database, copies: Path
) -> None:
    run = a_run(settings, database, weights=b"right")
    path = settings.runs_folder / run / "attempt-1" / "weights"
    path.write_bytes(b"wrong")
    a_data_set(settings.home, "mine", b"images")
    (settings.home / "imported" / "mine" / "images.npy").write_bytes(b"others")
    tally = FileBackup(settings, copies).copy(named_in_database(settings))
    assert tally.damaged == [f"runs/{run}/attempt-1/weights", "imported/mine/images.npy"]
    assert set(content_of(copies)) == {f"runs/{run}/attempt-1/log.txt"}
    path.write_bytes(b"right")
    again = FileBackup(settings, copies).copy(named_in_database(settings))
    assert (again.num_copied, len(again.damaged)) == (1, 1)


def test_a_copy_that_was_cut_short_is_copied_again(
    settings: Settings, database: Database, copies: Path
) -> None:
    run = a_run(settings, database, weights=b"weights")
    FileBackup(settings, copies).copy(named_in_database(settings))
    (copies / "runs" / run / "attempt-1" / "weights").write_bytes(b"wei")
    tally = FileBackup(settings, copies).copy(named_in_database(settings))
    assert tally.num_copied == 1
    assert (copies / "runs" / run / "attempt-1" / "weights").read_bytes() == b"weights"


def test_two_names_of_one_file_take_its_room_once(
    settings: Settings, database: Database, copies: Path
) -> None:
    giver = a_run(settings, database, weights=b"w" * 1000)
    taker = a_run(settings, database, weights=b"w" * 1000)
    second = settings.runs_folder / taker / "attempt-1" / "weights"
    second.unlink()
    second.hardlink_to(settings.runs_folder / giver / "attempt-1" / "weights")
    tally = FileBackup(settings, copies).copy(named_in_database(settings))
    assert tally.bytes_copied == 1000 + 2 * len("it began\n")
    inodes = {
        (copies / "runs" / run / "attempt-1" / "weights").stat().st_ino for run in (giver, taker)
    }
    assert len(inodes) == 1


def test_what_no_late_backup_has_named_is_removed_where_that_is_asked_for(
    settings: Settings, database: Database, copies: Path
) -> None:
    kept = a_run(settings, database, weights=b"w")
    gone = a_run(settings, database, weights=b"w", c1=b"c")
    a_data_set(settings.home, "mine", b"images")
    a_data_set(settings.home, "left", b"images")
    backup = FileBackup(settings, copies)
    backup.copy(named_in_database(settings))
    old = time.time() - 8 * 86_400
    for path in (*copies.rglob("*"),):
        os.utime(path, (old, old))
    with database.writing() as session:
        for row in session.exec(select(Run).where(col(Run.id) == gone)):
            session.delete(row)
    for file in (settings.home / "imported" / "left").iterdir():
        file.unlink()
    (settings.home / "imported" / "left").rmdir()
    backup.copy(named_in_database(settings))
    assert backup.sweep(9) == 0
    assert backup.sweep(7) > 0
    assert set(content_of(copies)) == {
        f"runs/{kept}/attempt-1/weights",
        f"runs/{kept}/attempt-1/log.txt",
        "imported/mine/images.npy",
        "imported/mine/manifest.json",
    }
    assert not (copies / "runs" / gone).exists()


def test_what_the_home_has_is_left_as_it_is_when_files_are_put_back(
    settings: Settings, database: Database, copies: Path
) -> None:
    run = a_run(settings, database, weights=b"weights")
    mine = a_data_set(settings.home, "mine", b"images")
    FileBackup(settings, copies).copy(named_in_database(settings))
    (mine / "images.npy").write_bytes(b"of somebody else")
    (settings.runs_folder / run / "attempt-1" / "weights").unlink()
    (copies / "runs" / run / "attempt-1" / "log.txt").unlink()
    tally = put_back(settings, copies, named_in_database(settings))
    assert (tally.num_copied, tally.gone) == (1, [])
    assert (settings.runs_folder / run / "attempt-1" / "weights").read_bytes() == b"weights"
    assert (mine / "images.npy").read_bytes() == b"of somebody else"


def test_nothing_is_put_back_while_a_service_uses_the_home(
    settings: Settings, database: Database, copies: Path
) -> None:
    a_run(settings, database, weights=b"w")
    FileBackup(settings, copies).copy(named_in_database(settings))
    with home_in_use(settings.home), pytest.raises(BackupRefused, match="stop it and its workers"):
        put_back(settings, copies, named_in_database(settings))


@pytest.mark.parametrize("where", ["home/copies", ".", "home", "nowhere/copies", "a-file"])
def test_a_folder_that_cannot_hold_a_backup_is_refused(
    settings: Settings, database: Database, tmp_path: Path, where: str
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(BackupRefused):
        FileBackup(settings, tmp_path / where)


def test_a_data_set_that_is_taken_away_meanwhile_leaves_nothing_by_half(tmp_path: Path) -> None:
    a_data_set(tmp_path / "home", "mine", b"images")
    copier = Copier(tmp_path / "home", tmp_path / "copies")
    sums = {"images.npy": sha256(b"images").hexdigest(), "labels.npy": "0" * 64}
    copier.copy_folder("imported/mine", sums)
    assert copier.tally.gone == ["imported/mine"]
    copier.copy_all([FileToCopy("imported/gone", 3, "0" * 64)])
    assert copier.tally.gone[1:] == ["imported/gone"]
    assert content_of(tmp_path / "copies") == {}


@pytest.mark.sqlite
def test_both_commands_say_what_they_did(
    settings: Settings,
    database: Database,
    copies: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    run = a_run(settings, database, weights=b"w", c1=b"c")
    assert main(["backup", "lab.db", "--files", str(copies)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("lab.db: 1 experiment, 1 run, schema ")
    assert second == f"{copies}: 3 files copied (11 bytes), 0 were there already"
    assert main(["backup", "lab.db", "--force", "--files", str(copies), "--keep-days", "8"]) == 0
    assert "0 files copied (0 bytes), 3 were there already" in capsys.readouterr().out
    database.close()
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "new"))
    assert main(["restore", "lab.db", "--files", str(copies)]) == 0
    assert "3 files copied (11 bytes), 0 were there already" in capsys.readouterr().out
    assert (tmp_path / "new" / "runs" / run / "attempt-1" / "weights").read_bytes() == b"w"
    (copies / "runs" / run / "attempt-1" / "weights").write_bytes(b"x")
    (tmp_path / "new" / "runs" / run / "attempt-1" / "weights").unlink()
    assert main(["restore", "--files", str(copies)]) == 1
    assert "1 files are not in the backup as they were published" in capsys.readouterr().err
    for arguments in (["backup"], ["restore"], ["backup", "x.db", "--keep-days", "8"]):
        assert main(arguments) == 2


def test_files_that_lie_in_a_bucket_are_not_taken_for_backed_up(
    settings: Settings, copies: Path
) -> None:
    elsewhere = settings.model_copy(update={"store": "s3://training-lab/class"})
    with pytest.raises(BackupRefused, match="the files lie in s3://training-lab/class"):
        FileBackup(elsewhere, copies)
    with pytest.raises(BackupRefused, match="leave --files out"):
        put_back(elsewhere, copies, Named((), (), ()))
    assert not copies.exists()
