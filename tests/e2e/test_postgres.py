"""PostgreSQL and Redis under real processes: the main job, a worker killed in mid-run, a server of the database that
crashes and comes back.
"""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.service import Redis, Service, wait_until
from tests.e2e.test_faults import QUICK, STEADY, kill_twice_and_compare, require_same_run
from tests.postgres import Cluster

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(300)]

MakeService = Callable[..., Service]


@pytest.fixture
def database_url(postgresql: Cluster) -> Iterator[str]:
    """Of an empty database of the test's own: the service makes the tables."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def service(database_url: str, make_service: MakeService, redis: Redis) -> Iterator[Service]:
    """An API and a worker, connected by PostgreSQL and Redis alone; ended before the database goes."""
    running = make_service(broker_url=redis.url, database_url=database_url, lease_seconds=4)
    running.api()
    running.start("worker", "--workers", "1")
    running.wait_for_workers(1)
    yield running
    running.stop()


def test_a_posted_experiment_is_trained_with_every_seed(service: Service) -> None:
    experiment = service.submit({**QUICK, "seeds": 2})
    record = service.wait_for(experiment, "succeeded", 90)
    assert [run["status"] for run in record["runs"]] == ["succeeded"] * 2
    for number in range(2):
        assert [epoch["epoch"] for epoch in service.metrics(experiment, number)] == [1, 2, 3]
        assert len(service.weights_sha256(experiment, number)) == 3
    assert service.http.get(f"/experiments/{experiment['id']}/curves.png").content.startswith(
        b"\x89PNG"
    )
    assert not list(service.home.glob("*.sqlite3")), "nothing lies in a file beside the server"


def test_a_run_whose_worker_is_killed_twice_ends_with_the_same_bits(service: Service) -> None:
    kill_twice_and_compare(service)


def test_two_workers_share_the_queue_and_do_nothing_twice(service: Service) -> None:
    service.start("worker", "--workers", "1")
    service.wait_for_workers(2)
    experiment = service.submit({**QUICK, "seeds": 6})
    service.wait_for(experiment, "succeeded", 90)
    runs = [service.run(experiment, number) for number in range(6)]
    assert [run["attempt"] for run in runs] == [1] * 6
    assert {attempt["outcome"] for run in runs for attempt in run["attempts"]} == {"completed"}


def test_a_server_that_crashes_and_comes_back_in_mid_run_is_no_more_than_a_pause(
    postgresql: Cluster, database_url: str, make_service: MakeService, redis: Redis
) -> None:
    """All connections break, some in the middle of a transaction; the trainer trains on, and API and worker connect
    again by themselves.
    """
    service = make_service(broker_url=redis.url, database_url=database_url, lease_seconds=60)
    service.api()
    service.start("worker", "--workers", "1")
    service.wait_for_workers(1)
    undisturbed = service.submit(STEADY)
    service.wait_for(undisturbed, "succeeded", 90)
    disturbed = service.submit(STEADY)
    for after_epoch in (5, 20):
        service.wait_for_epoch(disturbed, after_epoch)
        pids = service.lab_pids()
        postgresql.stop("immediate")
        answer = service.http.get(f"/experiments/{disturbed['id']}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2"), answer.text
        postgresql.start()
        wait_until(lambda: service.http.get("/readyz").is_success, 20, "the API is connected again")
        assert set(pids) <= set(service.lab_pids()), "no process has ended"
    service.wait_for(disturbed, "succeeded", 90)
    assert service.run(disturbed)["attempt"] == 1, "the same attempt, the same trainer"
    require_same_run(service, disturbed, undisturbed)
    service.stop()


def test_a_stop_puts_the_run_back_with_its_progress(service: Service) -> None:
    experiment = service.submit(STEADY)
    service.wait_for_epoch(experiment, 3)
    worker = service.processes[1]
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(40) == 0
    run = service.run(experiment)
    assert (run["status"], run["status_reason"]) == ("queued", "worker_shutdown")
    assert run["attempts"][-1]["outcome"] == "worker_shutdown"
    service.start("worker", "--workers", "1")
    service.wait_for(experiment, "succeeded", 90)
    assert service.run(experiment)["attempts"][1]["resumed_from"]["epoch"] >= 3
