"""Which runs may be computed on more cores than their share: those that are compared with no other."""

from typing import Any

import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services.experiments import by_itself
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run
from tests.app.studies import finish_all, send
from tests.app.test_retry import submit

TRAIN: dict[str, Any] = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 2}
STUDENT: dict[str, Any] = {"kind": "distill", "student": {"hidden": [4]}, "epochs": 1}


def by_itself_of(database: Database) -> dict[str, bool]:
    """By the name of each experiment whether its first run is by itself."""

    def first(session: Session, experiment: Experiment) -> Run:
        asked = select(Run).where(col(Run.experiment_id) == experiment.id)
        return session.exec(asked.order_by(col(Run.position)).limit(1)).one()

    with database.reading() as session:
        return {
            str(one.name): by_itself.is_by_itself(session, first(session, one), one)
            for one in session.exec(select(Experiment))
        }


def test_one_run_alone_is_and_one_of_several_seeds_or_of_a_study_is_not(
    api: TestClient, database: Database
) -> None:
    submit(api, {**TRAIN, "name": "one"})
    submit(api, {**TRAIN, "name": "two", "seeds": 2})
    send(api, specs=[{**TRAIN, "name": "cell"}], seeds=1)
    assert by_itself_of(database) == {"one": True, "two": False, "cell": False}


@pytest.mark.parametrize("baseline", [False, True])
def test_a_student_and_its_control_are_computed_alike(
    api: TestClient, database: Database, baseline: bool
) -> None:
    submit(api, {**STUDENT, "name": "student", "teacher": {"spec": TRAIN}, "baseline": baseline})
    found = by_itself_of(database)
    assert found.pop("teacher of student")
    assert found == (
        {"student": False, "baseline of student": False} if baseline else {"student": True}
    )


def test_a_teacher_that_is_added_for_one_seed_is_computed_as_those_of_the_others(
    api: TestClient, database: Database, settings: Settings
) -> None:
    submit(api, {**TRAIN, "name": "there", "seeds": [0, 1]})
    finish_all(database, settings, {0: 0.9, 1: 0.9})
    own = {**STUDENT, "name": "students", "teacher": {"spec": TRAIN, "seed": "own"}}
    submit(api, {**own, "seeds": 3})
    assert by_itself_of(database)["teacher of students"] is False


def test_a_verification_keeps_the_threads_of_what_it_repeats(
    api: TestClient, database: Database, settings: Settings
) -> None:
    original = submit(api, {**TRAIN, "name": "one"})
    finish_all(database, settings, {0: 0.9})
    assert api.post(f"/experiments/{original['id']}/verify").status_code == 201
    assert by_itself_of(database) == {"one": True, "verification of one": False}
