"""A trainer that lives and does nothing is noticed, one that is slow is left alone."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from app.services.experiments import progress
from app.storage.states import RunStatus
from lab_models.training.protocol import Progress, Started
from tests.e2e.service import wait_until
from tests.worker.conftest import Stage
from worker.claiming import work_until_empty
from worker.watchdog import Watchdog

pytestmark = pytest.mark.costly


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def step(number: int) -> Progress:
    return Progress(epoch=1, step=number, num_steps=100)


def test_a_trainer_that_goes_on_has_not_stalled_however_long_it_takes() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    watchdog.heard(Started(environment={}))
    for number in range(1, 50):
        clock.now += 9.0
        assert not watchdog.has_stalled
        watchdog.heard(step(number))


def test_silence_is_a_stall_after_the_time_allowed_and_not_before() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    for _ in range(10):
        clock.now += 1.0
        watchdog.heard(None)
        assert not watchdog.has_stalled
    clock.now += 0.5
    assert watchdog.has_stalled
    assert (
        watchdog.message
        == "the trainer made no progress for 10 s and was ended; LAB_STALL_SECONDS allows more"
    )


def test_saying_the_same_step_again_and_again_is_no_progress() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    for _ in range(12):
        watchdog.heard(step(7))
        clock.now += 1.0
    assert watchdog.has_stalled


@pytest.mark.slow
@pytest.mark.sqlite
def test_a_trainer_that_hangs_is_ended_counts_as_a_crash_and_its_run_goes_on(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(stall_seconds=10.0, lease_seconds=60.0)
    run_id = stage.submit(epochs=400)
    trainer = stage.slot.spare.take()
    assert trainer is not None
    stage.slot.spare.put_back(trainer)
    supervisor = threading.Thread(target=work_until_empty, args=(stage.slot,))
    supervisor.start()
    wait_until(lambda: stage.run(run_id).epochs_done >= 3, 60, "it trains")
    os.kill(trainer.pid, signal.SIGSTOP)
    wait_until(lambda: stage.run(run_id).crashes == 1, 60, "the stall is noticed")
    supervisor.join(100)
    run = stage.run(run_id)
    assert (run.status, run.attempt, run.crashes) == (RunStatus.SUCCEEDED, 2, 1)
    with stage.database.reading() as session:
        attempts = progress.attempts_of(session, run_id)
    assert [attempt.outcome for attempt in attempts] == ["trainer_crashed", "completed"]
    assert (attempts[1].resumed_epoch or 0) >= 3
