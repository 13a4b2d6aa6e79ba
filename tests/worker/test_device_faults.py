"""Memory that runs out, a device that is not there, a clock that jumps: a worker in this process, its trainers real."""

import random
import resource
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlmodel import col, select

import app.storage.rows
from app.services.experiments import progress
from app.storage.states import RunStatus
from app.storage.tables import Metric, StatusChange
from tests.e2e.service import wait_until
from tests.worker.conftest import Stage
from worker.card import Card
from worker.claiming import work_until_empty
from worker.spare import Spare

pytestmark = pytest.mark.costly

MakeStage = Callable[..., Stage]

LARGE = {"model": {"hidden": [16384, 16384]}, "epochs": 2}
"""More than 3 GiB of weights and moments."""
SPARE_BYTES = 520 << 20


def test_a_trainer_that_gets_no_memory_fails_its_run_by_name_and_the_next_run_goes_on(
    make_stage: MakeStage,
) -> None:
    """RLIMIT_AS is what the kernel enforces for containers and batch systems as well."""
    stage = make_stage(lease_seconds=30.0)
    large = stage.submit(**LARGE)
    small = stage.submit()
    trainer = stage.slot.spare.take()
    assert trainer is not None
    size = int(Path(f"/proc/{trainer.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(trainer.pid, resource.RLIMIT_AS, (size + SPARE_BYTES, resource.RLIM_INFINITY))
    stage.slot.spare.put_back(trainer)
    assert work_until_empty(stage.slot) == 2
    run = stage.run(large)
    assert run.status == RunStatus.FAILED
    assert run.error["code"] == "out_of_memory"
    assert "batch_size" in run.error["hint"]
    assert (run.attempt, run.crashes) == (1, 0)
    assert stage.run(small).status == RunStatus.SUCCEEDED


WIDE = {
    "dataset": {"train_limit": 1200},
    "model": {"arch": "cnn", "width": 32, "stages": 1, "blocks_per_stage": 16},
    "batch_size": 1200,
    "epochs": 2,
}
"""Activations of about 10 MB a layer of many, kept for the backward pass, and next to no weights."""


def limit_memory(stage: Stage, spare_bytes: int) -> None:
    """The trainer server, and so every trainer that it forks, may map so much more than it has."""
    trainer = stage.slot.spare.take()
    assert trainer is not None
    server = int(Path(f"/proc/{trainer.pid}/stat").read_text().rpartition(")")[2].split()[1])
    size = int(Path(f"/proc/{trainer.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    for pid in (server, trainer.pid):
        resource.prlimit(pid, resource.RLIMIT_AS, (size + spare_bytes, resource.RLIM_INFINITY))
    stage.slot.spare.put_back(trainer)


@pytest.mark.sqlite
def test_where_memory_runs_out_and_the_spec_allows_it_the_batch_is_halved_until_it_fits(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(lease_seconds=30.0)
    allowed = stage.submit(**WIDE, on_out_of_memory="halve_batch")
    forbidden = stage.submit(**WIDE)
    limit_memory(stage, SPARE_BYTES)
    assert work_until_empty(stage.slot) >= 3
    with stage.database.reading() as session:
        *failed, last = progress.attempts_of(session, allowed)
    assert failed, "a batch of 1200 does not fit"
    assert {attempt.outcome for attempt in failed} == {"out_of_memory"}
    assert "memory ran out with 1200 images at a time" in failed[0].notes[-1]
    assert [attempt.micro_batches for attempt in (*failed, last)] == [
        2**number for number in range(len(failed) + 1)
    ]
    run = stage.run(allowed)
    assert (run.status, run.crashes, run.epochs_done, run.micro_batches) == (
        RunStatus.SUCCEEDED,
        0,
        2,
        last.micro_batches,
    )
    assert stage.run(forbidden).error["code"] == "out_of_memory"
    assert stage.run(forbidden).attempt == 1


@pytest.mark.slow
@pytest.mark.sqlite
def test_what_runs_out_of_memory_in_a_part_of_a_card_is_tried_with_all_of_it_before_it_fails(
    make_stage: MakeStage,
) -> None:
    """The trainer computes on the CPU, and the kernel refuses it memory either way."""
    stage = make_stage(lease_seconds=30.0)
    stage.slot.card = Card("cuda:0", stage.settings.cards_folder, sharers=2)
    run_id = stage.submit(**WIDE)
    limit_memory(stage, SPARE_BYTES)
    assert work_until_empty(stage.slot) == 2
    with stage.database.reading() as session:
        first, second = progress.attempts_of(session, run_id)
    assert first.outcome == "out_of_memory"
    assert first.notes[-1] == "40% of the GPU's memory is too little; next it has all of it"
    assert (first.micro_batches, second.micro_batches) == (1, 1), (
        "its bits are those of whole batches"
    )
    run = stage.run(run_id)
    assert (run.status, run.error["code"], run.crashes) == (RunStatus.FAILED, "out_of_memory", 0)


@pytest.mark.slow
@pytest.mark.sqlite
def test_what_needs_all_of_a_card_is_the_first_workers_and_waits_with_its_lease_kept(
    make_stage: MakeStage,
) -> None:
    stage = make_stage()
    small = stage.submit()
    large = stage.submit(batch_size=1000, model={"hidden": [500]}, epochs=1)
    first, neighbor = (
        Card("cuda:0", stage.settings.cards_folder, 2, is_first=is_first)
        for is_first in (True, False)
    )
    first.share_bytes = neighbor.share_bytes = 2_000_000
    stage.slot.card = neighbor
    assert work_until_empty(stage.slot) == 1, "the large one is left to the first"
    stage.slot.card = first
    worker = threading.Thread(target=work_until_empty, args=(stage.slot,))
    with neighbor.held(lambda: False):
        worker.start()
        heartbeat = wait_until(lambda: stage.run(large).heartbeat, 20, "it is claimed")
        wait_until(lambda: stage.run(large).heartbeat > heartbeat, 20, "its lease is renewed")
        assert stage.run(large).epochs_done == 0
    worker.join(30)
    assert [stage.run(one).status for one in (small, large)] == [RunStatus.SUCCEEDED] * 2


def test_a_worker_whose_device_is_not_there_says_so_and_claims_nothing(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as if the driver had lost them all
    stage = make_stage()
    run_id = stage.submit()
    stage.slot.spare.drop()
    stage.slot.spare = Spare("cuda:0", 1)
    stage.slot.device = "cuda:0"
    assert work_until_empty(stage.slot) == 0
    assert (stage.run(run_id).status, stage.run(run_id).attempt) == (RunStatus.QUEUED, 0)
    unfit = stage.slot.spare.unfit
    assert unfit is not None
    assert unfit.reason == "there is no cuda:0 here: CUDA_VISIBLE_DEVICES hides every GPU"
    stage.slot.spare.drop()
    stage.slot.spare = Spare("cpu", 1)
    stage.slot.device = "cpu"
    assert work_until_empty(stage.slot) == 1, "a device that is back is used"
    assert stage.run(run_id).status == RunStatus.SUCCEEDED


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Every reading of the time of day is up to a day off, forwards or backwards."""
    generator = random.Random(21)
    readings: list[datetime] = []

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            readings.append(datetime.now(tz or UTC) + timedelta(hours=generator.uniform(-24, 24)))
            return readings[-1]

    monkeypatch.setattr(app.storage.rows, "datetime", Jumping)
    return readings


@pytest.mark.sqlite
def test_no_decision_reads_the_clock(make_stage: MakeStage, jumping_clock: list[datetime]) -> None:
    stage = make_stage(lease_seconds=30.0)
    runs = [stage.submit(epochs=4) for _ in range(2)]
    assert work_until_empty(stage.slot) == 2
    assert len(jumping_clock) > 20, "the clock was read, and it jumped"
    for run_id in runs:
        run = stage.run(run_id)
        assert (run.status, run.attempt, run.crashes, run.epochs_done) == (
            RunStatus.SUCCEEDED,
            1,
            0,
            4,
        )
        with stage.database.reading() as session:
            epochs = session.exec(
                select(Metric.epoch)
                .where(
                    col(Metric.run_id) == run_id,
                    col(Metric.name) == "loss",
                    col(Metric.split) == "val",
                )
                .order_by(col(Metric.epoch))
            ).all()
            moves = session.exec(
                select(StatusChange.to_status)
                .where(col(StatusChange.run_id) == run_id)
                .order_by(col(StatusChange.id))
            ).all()
            attempts = progress.attempts_of(session, run_id)
        assert list(epochs) == [1, 2, 3, 4]
        assert list(moves) == ["queued", "running", "succeeded"]
        assert [attempt.outcome for attempt in attempts] == ["completed"]
