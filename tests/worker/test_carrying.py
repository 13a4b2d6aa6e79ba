"""A worker whose files lie in a bucket: a real trainer, a real server of buckets, a wire between them that is cut."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from app.services import lifecycle
from app.storage.files.bucket import Bucket
from app.storage.files.places import file_store
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Artifact, Attempt, Checkpoint, Run
from tests.buckets import Buckets, served
from tests.e2e.service import wait_until
from tests.worker.conftest import Stage
from worker.claiming import work_until_empty

pytestmark = pytest.mark.costly

LONG = {"model": {"depth": 3, "width": 256}, "epochs": 40}


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with served() as server:
        yield server


@pytest.fixture
def stage(make_stage: Callable[..., Stage], buckets: Buckets) -> Iterator[Stage]:
    yield make_stage(store=buckets.take(), stop_grace_seconds=1.0)
    buckets.wire.cut()
    buckets.wire.mend()


def names_in(stage: Stage, run_id: str) -> set[str]:
    prefix = f"runs/{run_id}/"
    return {file.name.removeprefix(prefix) for file in file_store(stage.settings).listed(prefix)}


def left_at_home(stage: Stage, run_id: str) -> set[str]:
    folder = stage.settings.runs_folder / run_id
    return {path.name for path in folder.rglob("*") if path.is_file()}


def rows_of(stage: Stage, table: Any, run_id: str) -> list[Any]:
    with stage.database.reading() as session:
        return list(session.exec(select(table).where(col(table.run_id) == run_id)))


def begun(stage: Stage, run_id: str, epochs: int = 2) -> None:
    wait_until(lambda: stage.run(run_id).epochs_done >= epochs, 60, "epochs are done")


def test_what_a_run_publishes_is_in_the_bucket_and_only_its_log_stays(stage: Stage) -> None:
    run_id = stage.submit()
    assert work_until_empty(stage.slot) == 1
    assert stage.run(run_id).status is RunStatus.SUCCEEDED
    published = {row.path for row in rows_of(stage, Artifact, run_id)}
    assert "attempt-1/weights.safetensors" in published
    wait_until(lambda: names_in(stage, run_id) == published, 10, "its checkpoints are gone there")
    assert left_at_home(stage, run_id) == {"log.txt"}


@pytest.mark.sqlite
def test_a_run_goes_on_in_another_home_from_the_checkpoint_in_the_bucket(
    stage: Stage, make_stage: Callable[..., Stage], tmp_path: Path
) -> None:
    run_id = stage.submit(**LONG)
    working = threading.Thread(target=work_until_empty, args=(stage.slot,))
    working.start()
    begun(stage, run_id)
    stage.stopping = True
    working.join(60)
    assert (stage.run(run_id).status, left_at_home(stage, run_id)) == (
        RunStatus.QUEUED,
        {"log.txt"},
    )
    noted = {row.path for row in rows_of(stage, Checkpoint, run_id)}
    wait_until(lambda: names_in(stage, run_id) == noted, 10, "older checkpoints are gone")

    other = Stage(
        stage.settings.model_copy(
            update={
                "home": tmp_path / "other",
                "database_url": stage.settings.effective_database_url,
            }
        ),
        stage.database,
    )
    try:
        assert work_until_empty(other.slot) == 1
    finally:
        other.slot.spare.drop()
    assert stage.run(run_id).status is RunStatus.SUCCEEDED
    second = rows_of(stage, Attempt, run_id)[1]
    assert (second.resumed_epoch or 0) >= 2
    assert second.notes == []


@pytest.mark.sqlite
def test_while_the_bucket_is_out_of_reach_the_run_is_kept_and_goes_on_when_it_is_back(
    stage: Stage, buckets: Buckets, caplog: pytest.LogCaptureFixture
) -> None:
    """For longer than the lease."""
    caplog.set_level("WARNING")  # whatever level others have set
    run_id = stage.submit(**LONG)
    working = threading.Thread(target=work_until_empty, args=(stage.slot,))
    working.start()
    begun(stage, run_id)
    buckets.wire.cut()
    wait_until(lambda: "does not answer" in caplog.text, 30, "the bucket is missed")
    with stage.database.reading() as session:
        heartbeat = session.get_one(Run, run_id).heartbeat
    wait_until(
        lambda: stage.run(run_id).heartbeat >= heartbeat + 5, 30, "the lease is renewed meanwhile"
    )
    buckets.wire.mend()
    working.join(90)
    run = stage.run(run_id)
    assert (run.status, run.attempt, run.crashes) == (RunStatus.SUCCEEDED, 1, 0)
    assert {row.path for row in rows_of(stage, Artifact, run_id)} <= names_in(stage, run_id)


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_a_run_that_is_to_end_does_not_wait_for_a_bucket_that_is_out_of_reach(
    stage: Stage, buckets: Buckets, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level("WARNING")
    run_id = stage.submit(**LONG)
    working = threading.Thread(target=work_until_empty, args=(stage.slot,))
    working.start()
    begun(stage, run_id)
    buckets.wire.cut()
    wait_until(lambda: "does not answer" in caplog.text, 30, "the bucket is missed")
    if how == "stop":
        stage.stopping = True
    else:
        with stage.database.writing() as session:
            lifecycle.cancel(session, [run_id])
    working.join(30)
    run = stage.run(run_id)
    assert (run.status, run.status_reason) == (
        (RunStatus.QUEUED, StatusReason.WORKER_SHUTDOWN)
        if how == "stop"
        else (RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER)
    )
    buckets.wire.mend()
    kept = {row.path for row in rows_of(stage, Checkpoint, run_id)}
    assert kept <= names_in(stage, run_id), "no row points to what is not there"


def test_what_comes_from_the_bucket_damaged_is_not_taken(stage: Stage, tmp_path: Path) -> None:
    files = file_store(stage.settings)
    assert isinstance(files, Bucket)
    path = stage.settings.runs_folder / "run_1" / "attempt-1" / "epoch-1.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whole")
    files.keep("run_1", ["attempt-1/epoch-1.pt"])
    path.unlink()
    assert not files.bring("run_1", "attempt-1/epoch-1.pt", "0" * 64)
    assert left_at_home(stage, "run_1") == set()
