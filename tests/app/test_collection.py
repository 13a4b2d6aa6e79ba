"""`lab gc`: finds what nothing needs, and touches nothing that anything does."""

import fcntl
import json
import os
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.commands.__main__ import main
from app.home import home_in_use
from app.services import lifecycle
from app.services.upkeep.collection import Collected, collect, remove
from app.services.upkeep.leftovers import Finder, Kind
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Checkpoint, Run, utc_now
from tests.app.test_retry import STUDENT, TRAIN, begin, fail, finish_epoch, retry, submit, succeed

HOUR = 3600.0
DAY = 24 * HOUR


def write(path: Path, size: int = 10, age_seconds: float = 2 * HOUR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    age(path, age_seconds)
    return path


def age(path: Path, seconds: float) -> None:
    """Also of the folders above it, up to `runs`, whose times a write has changed."""
    moment = path.lstat().st_mtime if seconds == 0 else utc_now().timestamp() - seconds
    for part in (path, *path.parents):
        if part.name in {"runs", "archives"}:
            break
        if part.is_relative_to(path.parent.parent):
            os.utime(part, (moment, moment), follow_symlinks=False)


def archive(settings: Settings, name: str, run: str, age_seconds: float = 2 * HOUR) -> Path:
    header = json.dumps({"__metadata__": {"run": run}}).encode()
    path = settings.archives_folder / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"0" * 100)
    os.utime(path, (utc_now().timestamp() - age_seconds,) * 2)
    return path


def found(collected: Collected) -> dict[str, tuple[Kind, int]]:
    assert collected.failed == ()
    return {item.path: (item.kind, item.size_bytes) for item in collected.found}


def both_ways(database: Database, settings: Settings) -> dict[str, tuple[Kind, int]]:
    """What a dry run lists, which a real one then removes, and a second finds gone."""
    before = sorted(path for path in settings.home.rglob("*"))
    listed = found(collect(database, settings, dry_run=True))
    assert sorted(path for path in settings.home.rglob("*")) == before
    assert found(collect(database, settings, dry_run=False)) == listed
    assert found(collect(database, settings, dry_run=True)) == {}
    return listed


def test_folders_of_runs_that_are_deleted_go_once_they_are_an_hour_old(
    api: TestClient, database: Database, settings: Settings
) -> None:
    run = submit(api, TRAIN)["runs"][0]["id"]
    kept = [
        write(settings.runs_folder / run / "attempt-1" / "log.txt", age_seconds=30 * DAY),
        write(
            settings.runs_folder / "run_young" / "attempt-1" / "weights.safetensors", age_seconds=60
        ),
        write(settings.runs_folder / "notes-of-mine" / "text.md", age_seconds=30 * DAY),
    ]
    write(settings.runs_folder / "run_gone" / "attempt-1" / "weights.safetensors", 1000)
    write(settings.runs_folder / "run_gone" / "attempt-2" / "log.txt", 24)
    assert both_ways(database, settings) == {"runs/run_gone": (Kind.RUN_FOLDER, 1024)}
    assert all(path.exists() for path in kept)


def test_a_link_is_never_followed(database: Database, settings: Settings, tmp_path: Path) -> None:
    elsewhere = write(
        tmp_path.parent / f"{tmp_path.name}-elsewhere" / "a" / "b.bin", age_seconds=30 * DAY
    )
    orphan = write(settings.runs_folder / "run_gone" / "attempt-1" / "w").parent
    (orphan / "link").symlink_to(elsewhere.parent)
    (settings.runs_folder / "run_link").symlink_to(elsewhere.parent)
    os.utime(orphan / "link", (0, 0), follow_symlinks=False)
    age(orphan / "w", 2 * HOUR)
    assert both_ways(database, settings) == {"runs/run_gone": (Kind.RUN_FOLDER, 10)}
    assert elsewhere.exists()


def test_what_attempts_left_goes_when_they_are_over_and_no_row_points_to_it(
    api: TestClient, database: Database, settings: Settings
) -> None:
    run = submit(api, TRAIN)["runs"][0]["id"]
    folder = settings.runs_folder / run
    first = begin(database)
    finish_epoch(database, first, 1)
    pointed = write(folder / "attempt-1" / "checkpoint-1.pt")
    unpointed = write(folder / "attempt-1" / "checkpoint-2.pt", 500)
    log = write(folder / "attempt-1" / "log.txt", 70)
    assert found(collect(database, settings, dry_run=True)) == {}, "it runs"
    with database.writing() as session:
        lifecycle.crashed(session, first, "signal 9", 3)
    second = begin(database)
    current = write(folder / "attempt-2" / "checkpoint-3.pt")
    young = write(folder / "attempt-1" / "zombie.pt", age_seconds=60)
    assert both_ways(database, settings) == {f"runs/{run}/attempt-1": (Kind.ATTEMPT_FILES, 500)}
    assert not unpointed.exists()
    assert all(path.exists() for path in (pointed, log, current, young))
    write(folder / "attempt-1" / "w", 7)  # what test_retry's `succeed` publishes
    succeed(database, second)
    assert set(both_ways(database, settings)) == {f"runs/{run}/attempt-1", f"runs/{run}/attempt-2"}
    assert sorted(path.name for path in (folder / "attempt-1").iterdir()) == [
        "log.txt",
        "w",
        "zombie.pt",
    ]
    assert not (folder / "attempt-2").exists(), "nothing was left in it"


def test_what_a_restored_database_does_not_know_of_stays_while_its_run_can_go_on(
    api: TestClient, database: Database, settings: Settings
) -> None:
    experiment = submit(api, TRAIN)
    run = experiment["runs"][0]["id"]
    later = write(settings.runs_folder / run / "attempt-5" / "checkpoint-1.pt")
    assert found(collect(database, settings, dry_run=True)) == {}
    api.post(f"/experiments/{experiment['id']}/cancel")
    assert both_ways(database, settings) == {f"runs/{run}/attempt-5": (Kind.ATTEMPT_FILES, 10)}
    assert not later.exists()


def test_a_file_is_judged_again_before_it_is_removed(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """Between listing and removing, the run is retried and its attempt begins."""
    experiment = submit(api, TRAIN)
    run = experiment["runs"][0]["id"]
    api.post(f"/experiments/{experiment['id']}/cancel")
    file = write(settings.runs_folder / run / "attempt-1" / "checkpoint-1.pt")
    finder = Finder(settings)
    (item,) = list(finder.find(database))
    retry(api, experiment)
    begin(database)
    assert remove(item, finder, database, settings)
    assert file.exists()


def ended(database: Database, run: str, days: float) -> None:
    with database.writing() as session:
        session.execute(
            update(Run)
            .where(col(Run.id) == run)
            .values(finished_at=utc_now() - timedelta(days=days))
        )


def checkpoints(session: Session) -> list[str]:
    return sorted(session.exec(select(Checkpoint.path)))


def test_checkpoints_of_what_ended_long_ago_go_only_when_a_setting_says_so(
    api: TestClient, database: Database, settings: Settings
) -> None:
    experiment = submit(api, TRAIN)
    run = experiment["runs"][0]["id"]
    lease = begin(database)
    for number in (1, 2):
        finish_epoch(database, lease, number)
        write(settings.runs_folder / run / "attempt-1" / f"checkpoint-{number}.pt", 1000)
    fail(database, lease)
    ended(database, run, 8)
    assert both_ways(database, settings) == {}
    for_a_month = settings.model_copy(update={"keep_checkpoints_days": 30.0})
    assert both_ways(database, for_a_month) == {}
    for_a_week = settings.model_copy(update={"keep_checkpoints_days": 7.0})
    assert both_ways(database, for_a_week) == {f"runs/{run}": (Kind.CHECKPOINTS, 2000)}
    with database.reading() as session:
        assert checkpoints(session) == []
    assert list((settings.runs_folder / run / "attempt-1").iterdir()) == []
    retry(api, experiment)
    assert begin(database).run_id == run


def test_checkpoints_are_kept_for_an_hour_at_least_and_while_a_run_goes_on(
    api: TestClient, database: Database, settings: Settings
) -> None:
    lease = (submit(api, TRAIN), begin(database))[1]
    finish_epoch(database, lease, 1)
    at_once = settings.model_copy(update={"keep_checkpoints_days": 0.0})
    write(settings.runs_folder / lease.run_id / "attempt-1" / "checkpoint-1.pt", 1000)
    assert both_ways(database, at_once) == {}
    fail(database, lease)
    assert both_ways(database, at_once) == {}
    ended(database, lease.run_id, 0.1)
    assert set(both_ways(database, at_once)) == {f"runs/{lease.run_id}"}


def test_archives_stay_as_long_as_a_run_uses_their_teacher(
    api: TestClient, database: Database, settings: Settings
) -> None:
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}})
    teacher = student["related"]["teacher_run"]
    used = archive(settings, "used", teacher, 40 * DAY)
    young = archive(settings, "young", "run_gone", 60)
    archive(settings, "orphan", "run_gone")
    (settings.archives_folder / "damaged.safetensors").write_bytes(b"\xff" * 50)
    os.utime(settings.archives_folder / "damaged.safetensors", (0, 0))
    lock = write(settings.archives_folder / "orphan.lock", 0)
    assert {name: kind for name, (kind, _) in both_ways(database, settings).items()} == {
        "archives/damaged.safetensors": Kind.ARCHIVE,
        "archives/orphan.safetensors": Kind.ARCHIVE,
    }
    assert (used.exists(), young.exists(), lock.exists()) == (True, True, False)
    for_a_month = settings.model_copy(update={"keep_archives_days": 30.0})
    assert both_ways(database, for_a_month) == {}, "the student is not finished"
    api.post(f"/experiments/{student['id']}/cancel")
    assert both_ways(database, settings) == {}
    assert set(both_ways(database, for_a_month)) == {"archives/used.safetensors"}


def test_an_archive_that_is_being_read_stays_and_is_named(
    database: Database, settings: Settings
) -> None:
    path = archive(settings, "busy", "run_gone")
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        collected = collect(database, settings, dry_run=False)
    assert [item.path for item in collected.failed] == ["archives/busy.safetensors"]
    assert (collected.size_bytes, path.exists()) == (0, True)


def test_half_written_files_and_uploads_go_after_a_day(
    api: TestClient, database: Database, settings: Settings
) -> None:
    run = submit(api, TRAIN)["runs"][0]["id"]
    begin(database)
    places = [
        f"runs/{run}/attempt-1/.checkpoint-1.pt.77.tmp",
        "archives/.key.safetensors.77.tmp",
        "prepared/.digits.tmp/train.npy",
        "imported/.mine.tmp/train.npy",
        "uploads/tmpabc",
        ".lab.sqlite3.77.tmp",
        ".lab.sqlite3.77.tmp-wal",
    ]
    for place in places:
        write(settings.home / place, 5, 2 * DAY)
    kept = [
        write(settings.home / place, 5, 30 * DAY)
        for place in (
            "prepared/digits/train.npy",
            "imported/mine/train.npy",
            "datasets/.odd.tmp/mnist.gz",
        )
    ]
    kept += [
        write(settings.home / "uploads" / "young", age_seconds=3 * HOUR),
        write(settings.archives_folder / ".new.safetensors.1.tmp", age_seconds=3 * HOUR),
    ]
    expected = {place.removesuffix("/train.npy"): (Kind.TEMPORARY, 5) for place in places}
    assert both_ways(database, settings) == expected
    assert all(path.exists() for path in kept)


@pytest.fixture
def commanded(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which a service ran, for commands; with 1,500 bytes that nothing needs."""
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    monkeypatch.chdir(settings.home)
    with home_in_use(settings.home, settings.database_name):
        pass
    return write(settings.runs_folder / "run_gone" / "attempt-1" / "w", 1500)


def test_the_command_lists_and_removes(commanded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--dry-run"]) == 0
    assert (
        capsys.readouterr().out
        == "    1.5 kB  runs/run_gone  (its run is deleted)\n1.5 kB could be set free.\n"
    )
    assert main(["gc", "--dry-run", "--json"]) == 0
    expected: dict[str, Any] = {
        "dry_run": True,
        "bytes": 1500,
        "items": [
            {
                "kind": "run_folder",
                "path": "runs/run_gone",
                "bytes": 1500,
                "why": "its run is deleted",
            }
        ],
        "failed": [],
    }
    assert json.loads(capsys.readouterr().out) == expected
    assert main(["gc", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**expected, "dry_run": False}
    assert main(["gc"]) == 0
    assert capsys.readouterr().out == "There is nothing to remove.\n"


def test_the_command_refuses_a_home_whose_files_another_database_knows(
    commanded: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A service on PostgreSQL, and a command without its settings: by an empty SQLite file every run would look
    deleted.
    """
    with home_in_use(settings.home, "postgresql+psycopg://lab:***@db/lab"):
        assert main(["gc"]) == 2
    assert (
        "the service runs with the database postgresql+psycopg://lab:***@db/lab, not with"
        in capsys.readouterr().err
    )
    monkeypatch.setenv("LAB_HOME", str(settings.home / "elsewhere"))
    assert main(["gc"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (settings.home / "elsewhere").mkdir()
    assert main(["gc"]) == 2
    assert "no service was ever run" in capsys.readouterr().err
    assert commanded.exists()
