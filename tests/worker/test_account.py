"""Where an attempt's time went: kept whatever becomes of it, and adding up to the time between claim and end."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from app.services.experiments import progress
from app.storage.states import RunStatus
from app.storage.tables import Attempt
from lab_models.training.protocol import Failed, Progress, Started
from tests.e2e.service import wait_until
from tests.worker.conftest import Stage
from tests.worker.test_ledger import Clock, begun
from worker.account import Account
from worker.claiming import work_until_empty

MakeStage = Callable[..., Stage]


def attempt_of(stage: Stage, run_id: str) -> Attempt:
    """The run's only attempt."""
    with stage.database.reading() as session:
        (attempt,) = progress.attempts_of(session, run_id)
        return attempt


def lasted(attempt: Attempt) -> float:
    """Seconds from claim to end, by its row."""
    assert attempt.finished_at is not None
    return (attempt.finished_at - attempt.started_at).total_seconds()


def told(attempt: Attempt) -> dict[str, float]:
    """Its phases, which it must have."""
    assert attempt.phases is not None
    return attempt.phases


def test_what_the_trainer_does_not_tell_is_before_its_first_word_and_after_its_last() -> None:
    clock = Clock()
    account = Account(clock)
    clock.now += 3.0
    account.heard({})
    assert account.so_far() == {}
    account.heard({"data": 1.0})
    clock.now += 2.0
    account.heard({"data": 1.0, "training": 1.5})
    clock.now += 0.5
    assert account.so_far() == {"starting": 2.0, "data": 1.0, "training": 1.5}
    assert account.whole() == {"starting": 2.0, "data": 1.0, "training": 1.5, "other": 1.0}


def test_an_attempt_whose_trainer_never_spoke_spent_all_of_its_time_starting() -> None:
    clock = Clock()
    account = Account(clock)
    clock.now += 7.0
    assert account.whole() == {"starting": 7.0}


def test_a_first_word_that_is_heard_late_counts_no_second_twice() -> None:
    """A worker that waits for the database reads its trainer's events behind their time."""
    clock = Clock()
    account = Account(clock)
    clock.now += 5.0
    account.heard({"training": 1.0})  # said three seconds ago
    account.heard({"training": 4.0})
    assert account.so_far() == {"starting": 1.0, "training": 4.0}
    clock.now += 2.0
    assert account.whole() == {"starting": 1.0, "training": 4.0, "other": 2.0}


def test_phases_of_a_run_under_way_are_written_every_few_seconds_with_what_is_written_anyway(
    make_stage: MakeStage,
) -> None:
    stage, clock = make_stage(), Clock()
    ledger = begun(stage, clock)
    run_id = ledger.lease.run_id
    ledger.started(Started(environment={}, phases={"data": 0.5}))
    assert told(attempt_of(stage, run_id)) == {"starting": 0.0, "data": 0.5}
    written = []
    for seconds in range(1, 13):
        clock.now += 1.0
        ledger.progress(
            Progress(epoch=1, step=seconds, num_steps=99, phases={"training": float(seconds)})
        )
        written.append(told(attempt_of(stage, run_id)).get("training"))
    assert written == [None] * 4 + [5.0] * 5 + [10.0] * 3
    ledger.failed(Failed(code="diverged", message="too fast", phases={"training": 12.5}))
    assert told(attempt_of(stage, run_id))["training"] == 12.5


def test_all_phases_of_a_run_add_up_to_the_time_from_claim_to_end(make_stage: MakeStage) -> None:
    stage = make_stage()
    run_id = stage.submit(epochs=30, model={"depth": 2, "width": 128})
    work_until_empty(stage.slot)
    attempt = attempt_of(stage, run_id)
    phases = told(attempt)
    assert stage.run(run_id).status == RunStatus.SUCCEEDED
    assert sum(phases.values()) == pytest.approx(lasted(attempt), rel=0.02, abs=0.02)
    assert {"data", "warm_up", "training", "validation", "checkpoint", "test"} <= phases.keys()
    assert phases["training"] > phases["validation"] > 0
    assert phases["other"] < 0.1 * lasted(attempt), "nearly all of it has a name"


def test_a_run_that_fails_before_its_first_step_says_what_it_waited_for(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    run_id = stage.submit()
    stage.settings.prepared_folder.mkdir(parents=True)
    (stage.settings.prepared_folder / "digits").write_text("a file where a folder must be")
    work_until_empty(stage.slot)
    attempt = attempt_of(stage, run_id)
    assert stage.run(run_id).status == RunStatus.FAILED
    assert set(told(attempt)) == {"starting", "building", "data", "other"}
    assert sum(told(attempt).values()) == pytest.approx(lasted(attempt), rel=0.05, abs=0.05)


def test_an_attempt_whose_trainer_is_killed_keeps_what_it_had_told(make_stage: MakeStage) -> None:
    stage = make_stage(max_crashes=1)
    run_id = stage.submit(epochs=100_000, model={"depth": 2, "width": 64})
    trainer = stage.slot.spare.take()
    assert trainer is not None
    stage.slot.spare.put_back(trainer)
    working = threading.Thread(target=work_until_empty, args=(stage.slot,))
    working.start()
    wait_until(lambda: stage.run(run_id).epochs_done > 20, 20, "it trains")
    os.kill(trainer.pid, signal.SIGKILL)
    working.join(20)
    attempt = attempt_of(stage, run_id)
    assert stage.run(run_id).status == RunStatus.FAILED
    assert told(attempt)["training"] > 0
    assert sum(told(attempt).values()) == pytest.approx(lasted(attempt), rel=0.05, abs=0.05)
