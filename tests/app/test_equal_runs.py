"""Which runs stand in for one another: one answer for taking over and for building on, by version, images, owner and
what is under way.
"""

from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import progress
from app.services.experiments.equal_runs import EqualRun, equal_runs
from app.services.experiments.likeness import Likeness
from app.services.lifecycle import Lease
from app.services.submitting.foundations import USABLE
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.common.revision import RESULTS_VERSION
from lab_models.training.protocol import Started
from tests.app.rows import create
from tests.app.studies import ENVIRONMENT, finish, finish_all, send
from tests.app.test_retry import begin, finish_epoch, resume, submit

TRAIN: dict[str, Any] = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 2}
STUDENT = {"kind": "distill", "student": {"hidden": [4]}, "epochs": 1, "teacher": {"spec": TRAIN}}
OLDER = {**ENVIRONMENT, "results_version": RESULTS_VERSION - 1}


def start(database: Database, lease: Lease, **environment: Any) -> None:
    event = Started(environment={**ENVIRONMENT, **environment}, resumed_from=None)
    with database.writing() as session:
        progress.record_started(session, lease, event)


def set_environment(database: Database, environment: dict[str, Any]) -> None:
    """Of every run that has one."""
    with database.writing() as session:
        for run in session.exec(select(Run)):
            run.environment = environment if run.environment is not None else None
            session.add(run)


def foundation_of(api: TestClient) -> str:
    """The run that a new student is built on."""
    return str(submit(api, STUDENT)["related"]["teacher_run"])


def found(database: Database, images: str | None, *statuses: RunStatus) -> list[EqualRun]:
    """What equals the first experiment's run."""
    with database.reading() as session:
        experiment = session.exec(select(Experiment).order_by(col(Experiment.created_at))).first()
        assert experiment is not None
        likeness = Likeness(experiment.fingerprint, 0, images)
        return equal_runs(session, [likeness], "local", statuses or USABLE).get(likeness, [])


def test_a_network_of_an_older_version_is_neither_taken_over_nor_built_on(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, specs=[TRAIN], seeds=1)
    finish(database, settings, record["id"], {})
    first = submit(api, STUDENT)["related"]
    assert first["teacher_experiment"] == record["cells"][0]["experiment_id"]
    assert send(api, specs=[TRAIN], seeds=1)["progress"]["num_reused"] == 1

    set_environment(database, OLDER)
    assert send(api, specs=[TRAIN], seeds=1, reuse=False)["progress"]["num_reused"] == 0
    with database.writing() as session:  # that one is queued, so it would be equal
        lifecycle.cancel(
            session, [run.id for run in session.exec(select(Run).where(Run.status == "queued"))]
        )
    again = submit(api, STUDENT)
    made = api.get(f"/experiments/{again['related']['teacher_experiment']}").json()
    assert (made["name"], made["status"]) == ("teacher of a student", "queued")
    assert again["status_reason"] == "waiting_for_teacher"
    assert send(api, specs=[TRAIN], seeds=1)["progress"]["num_reused"] == 0


def test_what_is_queued_will_be_this_versions_and_is_built_on(api: TestClient) -> None:
    queued = submit(api, TRAIN)["runs"][0]["id"]
    assert foundation_of(api) == queued


def test_what_has_just_been_claimed_is_built_on(api: TestClient, database: Database) -> None:
    submit(api, TRAIN)
    lease = begin(database)
    assert foundation_of(api) == lease.run_id


@pytest.mark.parametrize("version", [RESULTS_VERSION, RESULTS_VERSION - 1])
def test_what_is_being_trained_is_built_on_if_this_version_trains_it(
    api: TestClient, database: Database, version: int
) -> None:
    submit(api, TRAIN)
    lease = begin(database)
    start(database, lease, results_version=version)
    assert (foundation_of(api) == lease.run_id) == (version == RESULTS_VERSION)


def test_what_an_older_version_has_begun_stays_that_versions_however_it_ends(
    api: TestClient, database: Database, settings: Settings
) -> None:
    submit(api, TRAIN)
    lease = begin(database)
    start(database, lease, results_version=RESULTS_VERSION - 1)
    finish_epoch(database, lease, 1)
    with database.writing() as session:
        lifecycle.release(session, lease)
    assert found(database, None) == []

    lease = begin(database)
    assert resume(database, lease, settings) == [1]
    with database.reading() as session:
        environment = session.get_one(Run, lease.run_id).environment
    assert environment == {"results_version": RESULTS_VERSION - 1}
    assert found(database, None) == []


def test_what_an_older_version_has_begun_and_lost_is_trained_anew_and_equal(
    api: TestClient, database: Database, settings: Settings
) -> None:
    run_id = submit(api, TRAIN)["runs"][0]["id"]
    lease = begin(database)
    start(database, lease, results_version=RESULTS_VERSION - 1)
    assert found(database, None) == []
    with database.writing() as session:
        lifecycle.release(session, lease)
    assert [run.id for run in found(database, "d" * 64)] == [run_id]

    start(database, begin(database))
    assert [run.id for run in found(database, "d" * 64)] == [run_id]
    assert found(database, "e" * 64) == [], "it learns other images"


def test_what_is_about_to_be_cancelled_is_not_built_on(api: TestClient, database: Database) -> None:
    submit(api, TRAIN)
    lease = begin(database)
    with database.writing() as session:
        lifecycle.cancel(session, [lease.run_id])
    assert foundation_of(api) != lease.run_id


def test_the_trained_come_first_then_the_oldest_and_of_others_owners_none(
    api: TestClient, database: Database, settings: Settings
) -> None:
    trained = [submit(api, TRAIN)["runs"][0]["id"] for _ in range(2)]
    finish_all(database, settings, {0: 0.9})
    (taken_over,) = _runs_of(database, send(api, specs=[TRAIN], seeds=1))
    under_way = submit(api, TRAIN)["runs"][0]["id"]
    with database.writing() as session:
        create(session, TRAIN, owner="somebody else")
    assert [run.id for run in found(database, None)] == [*trained, taken_over, under_way]
    assert [run.id for run in found(database, None, RunStatus.SUCCEEDED)] == [*trained, taken_over]
    assert foundation_of(api) == trained[0]


def _runs_of(database: Database, study: dict[str, Any]) -> list[str]:
    with database.reading() as session:
        cells = [cell["experiment_id"] for cell in study["cells"]]
        return list(session.exec(select(Run.id).where(col(Run.experiment_id).in_(cells))))
