"""A class of forty whose runs fail here and there, watched by one stream."""

import asyncio
import threading

import pytest

from app.roles import Role
from app.services.owners import keys
from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume
from tests.client import sessions
from tests.client.test_objects import DIGITS
from training_lab import Lab

pytestmark = pytest.mark.sqlite

STUDENTS = [f"student-{number:02}" for number in range(40)]
FAILING = (3, 17, 39)


def test_of_forty_an_instructor_sees_whose_run_has_failed_and_why(
    url: str, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each submits to week 3, half of them to week 4 as well; what fails there is not told."""
    with database.writing() as session:
        made = [keys.create_key(session, name, Role.SUBMIT)[1] for name in STUDENTS]
        _, instructor = keys.create_key(session, "instructor", Role.ADMIN)
    fails = []
    for number, key in enumerate(made):
        with Lab(url, key) as lab:
            mine = [lab.submit(DIGITS, labels={"week": 3})]
            mine += [lab.submit(DIGITS, labels={"week": 4})] if number % 2 else []
            fails += [run.id for run in mine[0].runs if number in FAILING]
            fails += [run.id for one in mine[1:] for run in one.runs if number == 5]
    monkeypatch.setenv("LAB_URL", url)
    monkeypatch.setenv("LAB_API_KEY", instructor)
    told: list[list[tuple[str | None, str]]] = []
    watching = threading.Thread(
        target=lambda: told.append(asyncio.run(sessions.watch_forty(len(FAILING)))), daemon=True
    )
    watching.start()
    for _ in range(60):
        lease = begin(database)
        if lease.run_id not in fails:
            continue
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
        fail(database, lease)
    watching.join(60)
    assert not watching.is_alive(), "the stream goes on until three have failed"
    (found,) = told
    assert sorted(found) == [(STUDENTS[number], "training_failed") for number in FAILING]
