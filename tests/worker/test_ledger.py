"""What an attempt writes: under its lease or not at all, and again while the database is busy. No trainer is needed."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.services import lifecycle
from app.services.experiments import metrics, progress
from app.services.lifecycle import Intent, Lease, LeaseLost
from app.storage.states import RunStatus, StatusReason
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Progress,
    SavedCheckpoint,
    Started,
)
from tests.databases import writers_blocked
from tests.worker.conftest import Stage
from worker.ledger import Ledger, OutOfTouch

MakeStage = Callable[..., Stage]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(stage: Stage, clock: Clock | None = None) -> Ledger:
    """The ledger of a run that has just been claimed."""
    stage.submit()
    with stage.database.writing() as session:
        lease = lifecycle.claim(session, "tester")
    assert lease is not None
    return Ledger(stage.database, lease, stage.settings, clock or Clock())


def epoch(number: int, path: str) -> EpochCompleted:
    measured = {"loss": 1.0 / number, "accuracy": 0.5}
    return EpochCompleted(
        epoch=number,
        metrics={"train": measured, "val": measured},
        best_epoch=number,
        best_val=measured,
        stop_reason=None,
        checkpoint=saved(path, number),
    )


def saved(path: str, number: int, step: int = 0) -> SavedCheckpoint:
    return SavedCheckpoint(path=path, sha256="0" * 64, size_bytes=1, epoch=number, step=step)


def test_a_run_is_written_from_its_start_to_its_success(make_stage: MakeStage) -> None:
    stage = make_stage()
    ledger = begun(stage)
    run_id = ledger.lease.run_id
    assert (ledger.task().seed, ledger.task().foundation, ledger.seconds_before()) == (0, None, 0.0)
    ledger.started(Started(environment={"device": "cpu"}, notes=("a word",)))
    ledger.first_step()
    ledger.epoch(epoch(1, "attempt-1/one.pt"))
    run = stage.run(run_id)
    assert (run.status, run.epochs_done, run.best["epoch"]) == (RunStatus.RUNNING, 1, 1)
    ledger.completed(
        Completed(
            stop_reason="all_epochs",
            best_epoch=1,
            best_val={"loss": 1.0, "accuracy": 0.5},
            test={"accuracy": 0.5},
            artifacts=(),
        )
    )
    assert stage.run(run_id).status == RunStatus.SUCCEEDED
    with stage.database.reading() as session:
        (attempt,) = progress.attempts_of(session, run_id)
    assert (attempt.outcome, attempt.notes) == ("completed", ["a word"])
    assert attempt.first_step_at is not None


def test_files_of_older_checkpoints_go_once_the_newer_are_recorded(make_stage: MakeStage) -> None:
    stage = make_stage()
    ledger = begun(stage)
    folder = stage.settings.runs_folder / ledger.lease.run_id
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / name).touch()
    ledger.epoch(epoch(1, "a"))
    ledger.checkpoint(Checkpointed(checkpoint=saved("b", 1, 7), stopped=False))
    assert (folder / "a").exists()
    ledger.epoch(epoch(2, "c"))
    assert sorted(path.name for path in folder.iterdir()) == ["b", "c"]


def test_who_has_lost_the_lease_writes_nothing(make_stage: MakeStage) -> None:
    stage = make_stage()
    ledger = begun(stage)
    stale = replace(ledger.lease, fence=ledger.lease.fence - 1)
    old = Ledger(stage.database, stale, stage.settings)
    writes: list[Callable[[], object]] = [
        lambda: old.started(Started(environment={})),
        lambda: old.epoch(epoch(1, "a")),
        lambda: old.failed(Failed(code="internal", message="late")),
        lambda: old.crashed("late"),
        lambda: old.released(StatusReason.WORKER_SHUTDOWN),
        old.cancelled,
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    run = stage.run(ledger.lease.run_id)
    assert (run.status, run.epochs_done, run.environment) == (RunStatus.RUNNING, 0, None)
    with stage.database.reading() as session:
        assert metrics.last_epochs(session, [run.id]) == {}


def test_progress_is_written_once_a_second(make_stage: MakeStage) -> None:
    stage, clock = make_stage(), Clock()
    ledger = begun(stage, clock)
    steps = []
    for number in range(1, 31):
        clock.now += 0.1
        ledger.progress(Progress(epoch=1, step=number, num_steps=30))
        steps.append(stage.run(ledger.lease.run_id).step)
    assert sorted(set(steps)) == [0, 10, 20, 30]


def test_what_people_ask_is_seen_within_half_a_second_and_the_lease_is_renewed_in_time(
    make_stage: MakeStage,
) -> None:
    stage, clock = make_stage(lease_seconds=10.0), Clock()
    ledger = begun(stage, clock)
    run_id = ledger.lease.run_id
    before = stage.run(run_id).heartbeat
    with stage.database.writing() as session:
        lifecycle.pause(session, [run_id])
    ledger.keep_lease()
    assert ledger.asked is Intent.NOTHING, "nobody has looked yet"
    clock.now += 0.6
    ledger.keep_lease()
    assert (ledger.asked, stage.run(run_id).heartbeat) == (Intent.PAUSE, before)
    clock.now += 1.5
    ledger.keep_lease()
    assert stage.run(run_id).heartbeat == before + 1, "a fifth of the lease has passed"


def test_a_database_out_of_reach_is_left_before_the_lease_can_be_over(
    make_stage: MakeStage,
) -> None:
    stage, clock = make_stage(lease_seconds=0.6), Clock()  # a writer waits a third of it
    ledger = begun(stage, clock)
    with writers_blocked(stage.settings):
        clock.now += 0.5
        with pytest.raises(OutOfTouch):
            ledger.failed(Failed(code="internal", message="never heard"))
    assert stage.run(ledger.lease.run_id).status == RunStatus.RUNNING


def test_a_database_that_is_busy_for_a_moment_is_tried_again(make_stage: MakeStage) -> None:
    stage = make_stage(lease_seconds=0.6)
    ledger = begun(stage)  # its clock stands still: the lease does not end
    writer = threading.Thread(
        target=ledger.failed, args=(Failed(code="diverged", message="too fast"),)
    )
    with writers_blocked(stage.settings):
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
    writer.join(10)
    assert stage.run(ledger.lease.run_id).error["code"] == "diverged"


def test_a_lease_that_nobody_holds_is_no_right_to_write(make_stage: MakeStage) -> None:
    stage = make_stage()
    with pytest.raises(LeaseLost):
        Ledger(stage.database, Lease("run_x", 1, 1, "tester"), stage.settings).cancelled()
