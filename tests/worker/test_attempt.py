"""One attempt, supervised in this process: what it records, and when it lets go."""

import threading
import time
from collections.abc import Callable

import pytest
from sqlmodel import col, select

import worker.trainer
from app.devices import deal
from app.services import lifecycle
from app.services.experiments import progress
from app.storage.states import RunStatus
from app.storage.tables import Attempt, Checkpoint, Experiment, Metric
from tests.databases import writers_blocked
from tests.e2e.service import is_alive, wait_until
from tests.worker.conftest import Stage
from worker import allotment
from worker.attempt import Supervision
from worker.claiming import work_until_empty
from worker.ledger import Ledger

MakeStage = Callable[..., Stage]


def test_queued_runs_are_worked_off_one_after_the_other(make_stage: MakeStage) -> None:
    stage = make_stage()
    runs = [stage.submit(epochs=2) for _ in range(3)]
    assert work_until_empty(stage.slot) == 3
    for run_id in runs:
        run = stage.run(run_id)
        assert (run.status, run.attempt, run.epochs_done) == (RunStatus.SUCCEEDED, 1, 2)
        assert run.environment["device"].startswith("cpu: ")
        assert (stage.settings.runs_folder / run_id / "attempt-1" / "log.txt").exists()
    log = (stage.settings.runs_folder / runs[0] / "attempt-1" / "log.txt").read_text()
    lines = [line for line in log.splitlines() if line.startswith("epoch ")]
    assert [line[:16] for line in lines] == ["epoch 1/2  train", "epoch 2/2  train"]
    assert work_until_empty(stage.slot) == 0


def test_a_worker_that_cannot_train_claims_nothing(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.trainer.sys, "executable", "/bin/false")
    stage = make_stage()
    run_id = stage.submit()
    assert work_until_empty(stage.slot) == 0
    assert (stage.run(run_id).status, stage.run(run_id).attempt) == (RunStatus.QUEUED, 0)


def test_an_error_of_the_workers_own_becomes_a_failed_run_with_its_traceback(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    run_id = stage.submit()
    with stage.database.writing() as session:
        session.exec(select(Experiment)).one().spec = {
            "kind": "train",
            "model": {"arch": "unheard of"},
        }
    assert work_until_empty(stage.slot) == 1
    run = stage.run(run_id)
    assert run.status == RunStatus.FAILED
    assert run.error["code"] == "internal"
    assert "unheard of" in run.error["message"]
    assert "Traceback" in run.error["traceback_tail"]


@pytest.mark.sqlite
@pytest.mark.costly
def test_a_run_that_would_leave_too_little_room_fails_by_name_before_its_checkpoint_is_written(
    make_stage: MakeStage,
) -> None:
    roomy = make_stage()
    before = roomy.submit()
    assert work_until_empty(roomy.slot) == 1
    low = make_stage(min_free_bytes=10**18)
    run_id = low.submit()
    assert work_until_empty(low.slot) == 1
    run = low.run(run_id)
    assert (low.run(before).status, run.status, run.error["code"]) == (
        RunStatus.SUCCEEDED,
        RunStatus.FAILED,
        "storage_full",
    )
    assert "LAB_MIN_FREE_BYTES" in run.error["message"]
    assert "lab gc --dry-run" in run.error["hint"]
    assert [
        path.name for path in (low.settings.runs_folder / run_id).rglob("*") if path.is_file()
    ] == ["log.txt"]


def test_a_holder_that_cannot_reach_the_database_stops_its_trainer_before_the_lease_ends(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(lease_seconds=1.5)
    run_id = stage.submit(epochs=100_000, model={"depth": 3, "width": 256})
    trainer = stage.slot.spare.take()
    assert trainer is not None
    with stage.database.writing() as session:
        lease = lifecycle.claim(session, "tester")
    assert lease is not None
    ledger = Ledger(stage.database, lease, stage.settings)
    attempt = threading.Thread(target=Supervision(stage.slot, ledger).carry_out, args=(trainer,))
    attempt.start()
    wait_until(lambda: stage.run(run_id).epochs_done > 0, 20, "it trains")
    with writers_blocked(stage.settings):
        began = time.monotonic()
        attempt.join(10)
        assert not attempt.is_alive()
        assert not is_alive(trainer.pid)
        assert time.monotonic() - began < 5
    assert stage.run(run_id).status == RunStatus.RUNNING, "nothing was written"
    assert stage.slot.owed == lease, "the worker gives it back before it claims another"


def test_a_run_left_while_the_database_was_out_of_reach_is_given_back_and_goes_on_and_no_crash_is_counted(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(lease_seconds=1.5)
    run_id = stage.submit(epochs=100_000, model={"depth": 3, "width": 256})
    stage.slot.spare.prepare()
    worker_thread = threading.Thread(target=work_until_empty, args=(stage.slot,))
    worker_thread.start()
    wait_until(lambda: stage.run(run_id).epochs_done > 0, 20, "it trains")
    with writers_blocked(stage.settings):
        wait_until(lambda: stage.slot.owed is not None, 10, "it has let go")
    wait_until(lambda: stage.run(run_id).attempt == 2, 20, "it is claimed again")
    stage.stopping = True
    worker_thread.join(20)
    assert stage.slot.owed is None
    assert stage.run(run_id).crashes == 0
    with stage.database.reading() as session:
        assert progress.attempts_of(session, run_id)[0].outcome == "database_unreachable"
        assert [change.reason for change in progress.history_of(session, run_id)][:3] == [
            "waiting_for_worker",
            "starting",
            "database_unreachable",
        ]


def test_a_worker_that_owes_a_run_and_is_asked_to_stop_leaves_though_the_database_does_not_answer(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(lease_seconds=1.5)
    stage.submit()
    with stage.database.writing() as session:
        stage.slot.owed = lifecycle.claim(session, "tester")
    stage.stopping = True
    with writers_blocked(stage.settings):
        assert work_until_empty(stage.slot) == 0
    assert stage.slot.owed is not None


def test_what_was_taken_back_meanwhile_is_owed_no_more(make_stage: MakeStage) -> None:
    stage = make_stage()
    run_id = stage.submit(epochs=1)
    with stage.database.writing() as session:
        stage.slot.owed = lease = lifecycle.claim(session, "tester")
    assert lease is not None
    with stage.database.writing() as session:
        lifecycle.release(session, lease)
    assert work_until_empty(stage.slot) == 1
    assert (stage.slot.owed, stage.run(run_id).status) == (None, RunStatus.SUCCEEDED)


def test_a_database_that_is_busy_for_a_moment_delays_and_loses_nothing(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(lease_seconds=6.0)
    run_id = stage.submit(epochs=40)
    worker_thread = threading.Thread(target=work_until_empty, args=(stage.slot,))
    stage.slot.spare.prepare()
    worker_thread.start()
    wait_until(lambda: stage.run(run_id).epochs_done > 2, 20, "it trains")
    with writers_blocked(stage.settings):
        worker_thread.join(3.0)  # longer than one busy time-out, shorter than the lease
    worker_thread.join(30)
    assert stage.run(run_id).status == RunStatus.SUCCEEDED
    with stage.database.reading() as session:
        epochs = session.exec(
            select(Metric.epoch)
            .where(col(Metric.name) == "loss", col(Metric.split) == "val")
            .order_by(col(Metric.epoch))
        ).all()
    assert list(epochs) == list(range(1, 41))


def test_a_stop_within_an_epoch_saves_the_step_and_the_next_attempt_goes_on_from_it(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    run_id = stage.submit(epochs=2, batch_size=1, model={"depth": 3, "width": 256})
    stage.slot.spare.prepare()
    first = threading.Thread(target=work_until_empty, args=(stage.slot,))
    first.start()
    wait_until(lambda: stage.run(run_id).environment is not None, 20, "it has begun")
    stage.stopping = True
    first.join(20)
    run = stage.run(run_id)
    assert (run.status, run.status_reason, run.crashes) == (RunStatus.QUEUED, "worker_shutdown", 0)
    with stage.database.reading() as session:
        checkpoint = session.exec(select(Checkpoint)).one()
    assert (checkpoint.epoch, checkpoint.step > 0) == (0, True)
    stage.stopping = False
    work_until_empty(stage.slot)
    assert stage.run(run_id).status == RunStatus.SUCCEEDED
    with stage.database.reading() as session:
        attempts = progress.attempts_of(session, run_id)
    assert (attempts[1].resumed_epoch, attempts[1].resumed_step) == (0, checkpoint.step)


def test_files_of_older_checkpoints_are_removed_and_two_are_kept(make_stage: MakeStage) -> None:
    stage = make_stage()
    run_id = stage.submit(epochs=100_000)
    stage.slot.spare.prepare()
    attempt = threading.Thread(target=work_until_empty, args=(stage.slot,))
    attempt.start()
    wait_until(lambda: stage.run(run_id).epochs_done >= 6, 20, "six epochs are done")
    stage.stopping = True
    attempt.join(20)
    files = sorted(
        path.name for path in (stage.settings.runs_folder / run_id).rglob("checkpoint-*")
    )
    with stage.database.reading() as session:
        rows = sorted(row.path.split("/")[-1] for row in session.exec(select(Checkpoint)))
    assert files == rows
    assert len(files) == 2


def test_attempts_are_closed_with_their_outcome(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.submit()
    stage.submit(model={"hidden": [32, 16]}, optimizer={"name": "sgd", "learning_rate": 1e6})
    work_until_empty(stage.slot)
    with stage.database.reading() as session:
        rows = session.exec(select(Attempt)).all()
    assert sorted(row.outcome or "" for row in rows) == ["completed", "training_failed"]
    assert all(row.finished_at is not None and row.first_step_at is not None for row in rows)


@pytest.mark.parametrize(
    ("devices", "slot", "expected"),
    [("cpu", 3, "cpu"), ("cuda:0, cuda:1", 0, "cuda:0"), ("cuda:0,cuda:1", 3, "cuda:1")],
)
def test_devices_are_dealt_out_in_turn(devices: str, slot: int, expected: str) -> None:
    assert deal(devices).of_slot(slot) == expected


@pytest.mark.parametrize("devices", ["", "gpu", "cuda:x", "cpu;cuda:0"])
def test_a_device_list_that_is_none_is_refused(devices: str) -> None:
    with pytest.raises(Exception, match="LAB_DEVICES"):
        deal(devices)


CONVOLUTIONS = {"model": {"arch": "layers", "layers": [{"conv": 4}, "relu"]}, "epochs": 400}


@pytest.fixture
def crowded(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A machine of two cores and two slots, where whoever waits counts at once."""
    monkeypatch.setattr(allotment, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(allotment, "NARROW_AFTER", 0.0)
    stage = make_stage()
    stage.slot.cores = 2
    return stage


def beside_another(stage: Stage) -> str:
    """Train a run that is alone until it has made a step, then has a neighbor that waits; its id."""
    run_id = stage.submit(**CONVOLUTIONS)
    worker_ = threading.Thread(target=work_until_empty, args=(stage.slot,))
    worker_.start()
    try:
        wait_until(lambda: stage.run(run_id).epochs_done > 0, 30, "an epoch")
        assert stage.run(run_id).environment["threads"] == 2
        stage.submit(epochs=1)
        wait_until(
            lambda: (stage.run(run_id).environment or {}).get("threads") == 1, 30, "one thread"
        )
    finally:
        stage.stopping = True
        worker_.join()
    return run_id


@pytest.mark.sqlite
def test_a_run_that_was_alone_gives_cores_back_and_says_so(
    crowded: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allotment, "YOUNG_SECONDS", 0.0)
    run = crowded.run(beside_another(crowded))
    assert (run.attempt, run.status) == (1, RunStatus.QUEUED)  # the stop has saved it
    assert run.environment["before_resuming"] == {"threads": 2}
    with crowded.database.reading() as session:
        (attempt,) = progress.attempts_of(session, run.id)
    assert any(note.startswith("computes on 1 threads in place of 2") for note in attempt.notes)


@pytest.mark.sqlite
def test_a_young_run_begins_anew_so_that_all_of_it_is_computed_alike(crowded: Stage) -> None:
    run = crowded.run(beside_another(crowded))
    assert run.attempt == 2
    assert "before_resuming" not in run.environment
    with crowded.database.reading() as session:
        first, second = progress.attempts_of(session, run.id)
        assert second.resumed_epoch is None
        assert "begins anew on its share of the cores" in first.notes[-1]
