"""Processes killed and stopped for real: nothing is lost, nothing is done twice, the bits stay the same."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.e2e.service import LEASE_SECONDS, Redis, Service, is_alive, wait_until

# About 60 ms an epoch here, so that three attempts have something to do.
STEADY = {
    "dataset": "digits",
    "model": {"arch": "mlp", "depth": 3, "width": 384, "dropout": 0.2, "norm": "batch"},
    "batch_size": 32,
    "epochs": 60,
}
QUICK = {"dataset": "digits", "model": {"arch": "mlp", "hidden": [32, 16]}, "epochs": 3}

MakeService = Callable[..., Service]


def require_same_run(service: Service, disturbed: dict, undisturbed: dict) -> None:
    """Same last and best weights, predictions and gradients over the steps, same scores on test and train, and metrics
    without gap or double, equal but for the time they took.
    """
    kept = service.weights_sha256(disturbed)
    assert kept == service.weights_sha256(undisturbed)
    assert len(kept) == 3 + ("layer_gradients" in disturbed["submitted"])
    runs = [service.run(experiment) for experiment in (disturbed, undisturbed)]
    assert [runs[0][scores] for scores in ("test", "train")] == [
        runs[1][scores] for scores in ("test", "train")
    ]
    assert 0 < runs[0]["train"]["accuracy"] <= 1
    tables = []
    for experiment in (disturbed, undisturbed):
        epochs = service.metrics(experiment)
        assert [epoch["epoch"] for epoch in epochs] == list(range(1, STEADY["epochs"] + 1))
        tables.append(
            [
                {
                    split: {k: v for k, v in epoch[split].items() if k != "seconds"}
                    for split in ("train", "val")
                }
                for epoch in epochs
            ]
        )
    assert tables[0] == tables[1]


def kill_twice_and_compare(service: Service) -> None:
    undisturbed = service.submit(STEADY)
    service.wait_for(undisturbed, "succeeded")
    disturbed = service.submit(STEADY)
    for after_epoch in (5, 25):
        service.wait_for_epoch(disturbed, after_epoch)
        before = service.lab_pids()
        trainers = service.trainer_pids()
        service.kill_workers()
        wait_until(
            lambda pids=trainers: not any(is_alive(pid) for pid in pids),
            5,
            "the trainers die with their worker",
        )
        assert len(before) > len(trainers)
    service.wait_for(disturbed, "succeeded", 90)
    run = service.run(disturbed)
    assert run["attempt"] == 3
    assert [attempt["outcome"] for attempt in run["attempts"]] == [
        "worker_lost",
        "worker_lost",
        "completed",
    ]
    assert [attempt["resumed_from"] is not None for attempt in run["attempts"]] == [
        False,
        True,
        True,
    ]
    assert run["attempts"][1]["resumed_from"]["epoch"] >= 5
    require_same_run(service, disturbed, undisturbed)


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_twice_ends_with_the_same_bits(
    make_service: MakeService,
) -> None:
    service = make_service()
    service.serve()
    kill_twice_and_compare(service)


@pytest.mark.slow
@pytest.mark.redis
def test_the_same_on_redis(make_service: MakeService, redis: Redis) -> None:
    service = make_service(broker_url=redis.url)
    service.api()
    service.start("worker")
    service.wait_for_workers(1)
    kill_twice_and_compare(service)


@pytest.mark.slow
def test_ctrl_c_puts_the_run_back_with_its_progress_and_the_next_start_finishes_it(
    make_service: MakeService,
) -> None:
    service = make_service()
    process = service.serve()
    undisturbed = service.submit(STEADY)
    service.wait_for(undisturbed, "succeeded")
    disturbed = service.submit(STEADY)
    service.wait_for_epoch(disturbed, 5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert service.lab_pids() == []
    assert service.processes.pop() is process

    service.api()
    record = service.record(disturbed)
    assert (record["status"], record["runs"][0]["status_reason"]) == ("queued", "worker_shutdown")
    assert record["progress"]["fraction"] >= 5 / STEADY["epochs"]
    service.start("worker")
    service.wait_for(disturbed, "succeeded")
    attempts = service.run(disturbed)["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["worker_shutdown", "completed"]
    require_same_run(service, disturbed, undisturbed)


def test_kill_9_of_the_whole_service_leaves_nothing_running_and_the_next_start_goes_on(
    make_service: MakeService,
) -> None:
    service = make_service()
    process = service.serve()
    experiment = service.submit(STEADY)
    service.wait_for_epoch(experiment, 5)
    process.kill()
    process.wait()
    wait_until(lambda: service.lab_pids() == [], 10, "workers and trainers die with the service")
    service.serve()
    service.wait_for(experiment, "succeeded", 90)
    run = service.run(experiment)
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["worker_lost", "completed"]
    assert run["attempts"][1]["resumed_from"]["epoch"] >= 5
    assert [epoch["epoch"] for epoch in service.metrics(experiment)] == list(
        range(1, STEADY["epochs"] + 1)
    )


@pytest.mark.slow
def test_a_run_that_kills_its_trainer_three_times_ends_as_crash_loop_and_the_next_run_goes_on(
    make_service: MakeService,
) -> None:
    service = make_service()
    service.serve()
    poison = service.submit({**STEADY, "epochs": 5000})
    healthy = service.submit(QUICK)
    for attempt in (1, 2, 3):
        wait_until(
            lambda number=attempt: (
                (run := service.run(poison))["attempt"] == number
                and run["progress"]["fraction"] > 0
            ),
            30,
            f"attempt {attempt} trains",
        )
        for pid in service.trainer_pids():
            os.kill(pid, signal.SIGKILL)
    record = service.wait_for(poison, "failed", 30)
    assert record["error"]["code"] == "crash_loop"
    assert "signal 9" in record["error"]["message"]
    service.wait_for(healthy, "succeeded")


@pytest.mark.slow
def test_a_frozen_worker_that_wakes_finds_its_lease_gone(make_service: MakeService) -> None:
    service = make_service()
    service.api()
    service.start("worker")
    service.wait_for_workers(1)
    experiment = service.submit(STEADY)
    service.wait_for_epoch(experiment, 3)
    frozen = [pid for pid in service.lab_pids() if pid != service.processes[0].pid]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    service.start("worker")
    wait_until(
        lambda: service.run(experiment)["attempt"] == 2,
        10 * LEASE_SECONDS,
        "the second worker has taken over",
    )
    for pid in frozen:
        os.kill(pid, signal.SIGCONT)
    service.wait_for(experiment, "succeeded")
    run = service.run(experiment)
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["worker_lost", "completed"]
    assert [epoch["epoch"] for epoch in service.metrics(experiment)] == list(
        range(1, STEADY["epochs"] + 1)
    )
    assert "the lease is lost" in service.read_log()


@pytest.mark.slow
@pytest.mark.redis
def test_two_workers_on_redis_execute_each_of_ten_runs_once(
    make_service: MakeService, redis: Redis
) -> None:
    service = make_service(broker_url=redis.url)
    service.api()
    service.start("worker", "--workers", "2")
    service.wait_for_workers(2)
    experiment = service.submit({**QUICK, "epochs": 20, "seeds": 10})
    service.wait_for(experiment, "succeeded")
    runs = [service.run(experiment, number) for number in range(10)]
    assert [run["attempt"] for run in runs] == [1] * 10
    assert all(len(run["attempts"]) == 1 for run in runs)
    assert len({run["attempts"][0]["worker"] for run in runs}) == 2
    assert (
        len({tuple(service.weights_sha256(experiment, number).values()) for number in range(10)})
        == 10
    )


@pytest.mark.slow
@pytest.mark.redis
def test_with_redis_down_the_api_answers_the_run_goes_on_and_the_queued_one_starts_when_it_is_back(
    make_service: MakeService, redis: Redis
) -> None:
    service = make_service(broker_url=redis.url)
    service.api()
    service.start("worker")
    service.wait_for_workers(1)
    running = service.submit(STEADY)
    service.wait_for_epoch(running, 2)
    redis.kill()
    began = time.monotonic()
    queued = service.submit(QUICK)
    assert time.monotonic() - began < 1.0
    assert queued["status"] == "queued"
    service.wait_for(running, "succeeded")
    assert service.run(running)["attempt"] == 1
    while_down = service.submit(QUICK)
    redis.start()
    for experiment in (queued, while_down):
        service.wait_for(experiment, "succeeded")
        assert service.run(experiment)["attempt"] == 1


@pytest.mark.slow
@pytest.mark.redis
def test_with_redis_hung_the_api_answers_and_nothing_is_lost(
    make_service: MakeService, redis: Redis
) -> None:
    service = make_service(broker_url=redis.url)
    service.api()
    service.start("worker")
    service.wait_for_workers(1)
    redis.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    experiments = [service.submit(QUICK) for _ in range(3)]
    assert time.monotonic() - began < 2.0
    redis.send_signal(signal.SIGCONT)
    for experiment in experiments:
        service.wait_for(experiment, "succeeded")
