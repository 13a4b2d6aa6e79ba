"""What the service says of workers of its own that start, and of those that end at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.services.lifecycle.local_workers import LIVED_SECONDS, STARTING_SECONDS, LocalWorkers
from app.settings import Settings
from app.storage.db import Database, open_database
from tests.app.rows import create
from tests.app.test_readiness import register
from tests.app.test_retry import TRAIN, submit

HOW = "with status 1 (ModuleNotFoundError: No module named 'torch')"


class Clock:
    """Says what a test has set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fate(clock: Clock) -> LocalWorkers:
    return LocalWorkers(clock)


@pytest.fixture
def api(settings: Settings, fate: LocalWorkers) -> Iterator[TestClient]:
    with TestClient(create_app(settings, local_workers=fate)) as client:
        yield client


def end_at_once(fate: LocalWorkers, times: int, slot: int = 0) -> list[float]:
    pauses = []
    for _ in range(times):
        fate.starts(slot)
        pauses.append(fate.has_ended(slot, HOW))
    return pauses


def test_who_ends_at_once_is_started_after_longer_and_longer_pauses_until_one_lives(
    fate: LocalWorkers, clock: Clock
) -> None:
    assert end_at_once(fate, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    fate.starts(0)
    clock.now += LIVED_SECONDS
    assert fate.has_ended(0, "killed by SIGKILL") == 1
    assert fate.trouble is None
    assert end_at_once(fate, 2) == [1, 2]


def test_each_place_has_its_own_pauses(fate: LocalWorkers) -> None:
    end_at_once(fate, 4, slot=0)
    assert end_at_once(fate, 1, slot=1) == [1]


def test_trouble_is_over_once_a_worker_lives(fate: LocalWorkers, clock: Clock) -> None:
    end_at_once(fate, 3, slot=1)
    assert fate.trouble == f"worker 1 ended at once, {HOW}; the next one starts in 4 s"
    clock.now += 4
    fate.starts(1)
    assert fate.trouble == f"worker 1 ended at once, {HOW}; the next one is starting"
    clock.now += LIVED_SECONDS
    assert fate.trouble is None
    assert fate.state(num_online=1) == "ok"


def test_a_queued_run_says_that_workers_start_then_that_none_came(
    api: TestClient, fate: LocalWorkers, clock: Clock
) -> None:
    address = f"/experiments/{submit(api, TRAIN)['id']}"
    fate.starts(0)
    record = api.get(address).json()
    assert record["status_message"] == "Queued; the workers of this service are starting."
    assert record["status_reason"] == "no_worker_online"
    assert api.get("/readyz").json()["checks"]["workers"] == "starting"
    clock.now += STARTING_SECONDS
    assert (
        "has shown itself lately: its log may say why" in api.get(address).json()["status_message"]
    )


def test_the_answer_to_the_very_first_submit_says_so_too(
    api: TestClient, fate: LocalWorkers
) -> None:
    fate.starts(0)
    assert (
        submit(api, TRAIN)["status_message"] == "Queued; the workers of this service are starting."
    )


def test_workers_that_end_at_once_are_named_with_their_last_words(
    api: TestClient, fate: LocalWorkers
) -> None:
    end_at_once(fate, 2)
    said = f"worker 0 ended at once, {HOW}; the next one starts in 2 s"
    experiment = submit(api, TRAIN)
    assert experiment["status_message"] == (
        f"Queued, but no worker of this service comes up: {said}."
    )
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["workers"]) == (200, said)
    cancelled = api.post(f"/experiments/{experiment['id']}/cancel").json()
    assert cancelled["status_message"] == "Cancelled."


def test_one_that_cannot_start_is_shown_beside_one_that_works(
    api: TestClient, fate: LocalWorkers, database: Database
) -> None:
    register(database)
    end_at_once(fate, 1, slot=1)
    fate.starts(0)
    assert api.get("/readyz").json()["checks"]["workers"].startswith("worker 1 ended at once")
    assert submit(api, TRAIN)["status_message"] == "Next in the queue."


def test_an_api_without_workers_of_its_own_says_how_to_start_some(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings)) as api:
        database = open_database(settings)
        with database.writing() as session:
            experiment_id = create(session, {"dataset": "digits"}).id
        database.close()
        record = api.get(f"/experiments/{experiment_id}").json()
        assert record["status_message"] == (
            "Queued, but no worker is online: start one with `lab worker`."
        )
        assert api.get("/readyz").json()["checks"]["workers"] == "none is online"
