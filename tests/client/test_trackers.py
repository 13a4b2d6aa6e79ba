"""The trackers' own packages read what was sent: W&B offline, TensorBoard, trackio, and a server of MLflow. A package
that is not installed is named as skipped; `make trackers-test` has all of them.
"""

import io
import json
import math
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from tests.client.commanding import Command
from tests.client.test_objects import DIGITS, trained
from training_lab import Lab, event_files

pytestmark = pytest.mark.sqlite

TENSORBOARD = "tensorboard.backend.event_processing.event_accumulator"


def package(name: str) -> Any:
    return pytest.importorskip(
        name, reason=f"{name.split('.')[0]} is not installed: `make trackers-test` has it"
    )


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where everything is written."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "TRACKIO_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("not within the time")


# TensorBoard


def test_the_checksum_is_that_of_the_standard() -> None:
    """Vectors of RFC 3720, B.4, masked."""
    for content, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)):
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert event_files.masked_crc32c(content) == masked


def test_a_file_that_was_cut_off_is_read_up_to_its_last_whole_record() -> None:
    records = [event_files.beginning(1.0), event_files.scalars(2.0, 300, {"a": 1.0})]
    whole = b"".join(records)
    ends = [(len(records[0]), 0), (len(whole), 300)]
    assert list(event_files.whole_records(whole)) == ends
    for cut in range(len(records[0]), len(whole)):
        assert list(event_files.whole_records(whole[:cut])) == ends[:1]
    assert list(event_files.whole_records(whole[:-1] + b"x")) == ends[:1]


def test_tensorboard_reads_every_point_of_the_writer(tmp_path: Path) -> None:
    accumulator = package(TENSORBOARD).EventAccumulator
    values = [0.25, -1e30, 1e-30, 1e300, math.inf, math.nan, 0.0]
    written = event_files.beginning(0.0) + b"".join(
        event_files.scalars(100.0 + step, step, {"val/loss": value, "é": 1.0})
        for step, value in enumerate(values)
    )
    (tmp_path / "events.out.tfevents.1").write_bytes(written)
    read = accumulator(str(tmp_path), {"scalars": 0}).Reload()
    points = read.Scalars("val/loss")
    assert [(point.step, point.wall_time) for point in points] == [
        (step, 100.0 + step) for step in range(len(values))
    ]
    for point, value in zip(points, values, strict=True):
        kept = math.inf if value == 1e300 else struct.unpack("<f", struct.pack("<f", value))[0]
        assert point.value == kept or (math.isnan(point.value) and math.isnan(value))


def test_a_synced_folder_has_numbers_pictures_and_texts_and_a_run_that_went_back_once(
    command: Command, lab: Lab, database: Database, settings: Settings, tmp_path: Path
) -> None:
    accumulator = package(TENSORBOARD).EventAccumulator
    made = lab.submit(DIGITS, name="a/b")
    lease = begin(database)
    resume(database, lease, settings)
    for epoch in (1, 2, 3):
        finish_epoch(database, lease, epoch)
    fail(database, lease)
    assert command("sync", "tensorboard", made.id, "--no-pictures").status == 0
    (path,) = tmp_path.glob(f"tensorboard/a-b-{made.id}/seed-0/*")
    with path.open("ab") as file:  # as a kill leaves it
        file.write(b"half a record")
    made.retry()
    lease = begin(database)
    resume(database, lease, settings)
    for epoch in (1, 2, 3, 4):
        finish_epoch(database, lease, epoch)
    succeed(database, lease)
    assert command("sync", "tensorboard", made.id).status == 0
    read = accumulator(str(path.parent), {"scalars": 0, "images": 0, "tensors": 0}).Reload()
    losses = [(point.step, point.value) for point in read.Scalars("val/loss")]
    assert losses == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)), (4, 0.25)]
    assert read.Scalars("test/accuracy")[-1].value == pytest.approx(0.9)
    assert read.Images("curves")[0].width > 100
    ends = [one.tensor_proto.string_val[0].decode() for one in read.Tensors("end")]
    assert ends[-1].startswith("succeeded")


def test_the_api_gives_the_same_numbers_as_a_zip_with_a_folder_for_each_seed(
    lab: Lab,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.api.analyses.tensorboard.EPOCHS_AT_ONCE", 1)
    made = trained(lab, database, settings, seeds=2, name="a/b")
    answer = httpx.get(f"{lab.url}/experiments/{made.id}/tensorboard.zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        packed.extractall(tmp_path)
    files = sorted(tmp_path.glob(f"*{made.id}/seed-*/events.out.tfevents.run_*"))
    assert [file.parent.name for file in files] == ["seed-0", "seed-1"]
    for file in files:
        # the beginning, two epochs, the scores on test
        content = file.read_bytes()
        records = list(event_files.whole_records(content))
        assert [step for _, step in records] == [0, 1, 2, 2]
        assert records[-1][0] == len(content)
    read = package(TENSORBOARD).EventAccumulator(str(files[0].parent), {"scalars": 0}).Reload()
    assert [(one.step, one.value) for one in read.Scalars("val/loss")] == [(1, 1.0), (2, 0.5)]
    assert [one.value for one in read.Scalars("test/accuracy")] == [pytest.approx(0.9)]


# Weights & Biases


def test_wandb_has_one_run_without_a_gap_after_a_kill_in_the_middle(
    lab: Lab, command: Command, database: Database, settings: Settings, folder: Path
) -> None:
    package("wandb")
    from tests.client.wandb_files import WandbFile

    made = lab.submit(DIGITS, name="a name", labels={"week": 3})
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    words = ["wandb", made.id, "--follow", "--url", lab.url, "--project", "p", "--no-pictures"]
    process = subprocess.Popen(
        [sys.executable, "-m", "training_lab.commands.sync_process", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    state = folder / "XDG_STATE_HOME"

    def noted() -> int:
        (text, *_) = [one.read_text() for one in state.rglob("exp_*.json")] or ["{}"]
        return max((one["epoch"] for one in json.loads(text).values()), default=0)

    wait_until(lambda: noted() == 1 or process.poll() is not None)
    finish_epoch(database, lease, 2)
    wait_until(lambda: noted() == 2 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr and process.stderr.read()
    for epoch in (3, 4):
        finish_epoch(database, lease, epoch)
    succeed(database, lease)
    said = command("sync", "wandb", made.id, "--project", "p")
    assert said.status == 0, said.err
    files = [WandbFile(path) for path in sorted(folder.rglob("*.wandb"))]
    run = made.runs[0]
    assert {file.run.run_id for file in files if file.run is not None} == {run.id}
    last = next(file for file in files if file.exit_code is not None)
    answer = lab.get(f"/runs/{run.id}/metrics")["runs"][0]["epochs"]
    assert sorted(last.history) == [row["epoch"] for row in answer] == [1, 2, 3, 4]
    for row in answer:
        kept = last.history[row["epoch"]]
        assert kept["val/loss"] == row["val"]["loss"]
        assert kept["train/accuracy"] == row["train"]["accuracy"]
    assert last.exit_code == 0
    assert last.run.display_name == "a name · seed 0"
    assert (last.run.run_group, last.run.job_type, last.run.project) == (made.id, "train", "p")
    assert list(last.run.tags) == ["week:3"]
    assert last.config["optimizer.learning_rate"] == 0.001
    assert last.config["seed"] == 0
    assert last.summary["test/accuracy"] == 0.9
    assert last.summary["curves"]["_type"] == "image-file"


# trackio


def test_trackio_has_each_epoch_once(
    lab: Lab, command: Command, database: Database, settings: Settings, folder: Path
) -> None:
    package("trackio")
    made = lab.submit(DIGITS, name="a name")
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    # a process each, since the package reads its folder when it is loaded
    sync = [sys.executable, "-m", "training_lab.commands.sync_process", "trackio", made.id]
    options = ["--url", lab.url, "--project", "p", "--no-pictures"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    follower = subprocess.Popen([*sync, *options, "--follow"], env=environment)
    (database_file,) = wait_until(lambda: [*(folder / "TRACKIO_DIR").rglob("p.db")])

    def rows() -> list[tuple[int, dict[str, Any]]]:
        with sqlite3.connect(database_file) as connection:
            try:
                found = connection.execute("SELECT step, metrics FROM metrics ORDER BY id")
                return [(step, json.loads(metrics)) for step, metrics in found]
            except sqlite3.OperationalError:
                return []

    wait_until(rows)
    follower.kill()
    follower.wait()
    finish_epoch(database, lease, 2)
    succeed(database, lease)
    subprocess.run([*sync, *options], env=environment, check=True)
    losses = [(step, row["val/loss"]) for step, row in rows() if "val/loss" in row]
    assert losses == [(1, 1.0), (2, 0.5)]
    assert rows()[-1][1]["test/accuracy"] == 0.9


# MLflow


@pytest.mark.costly
def test_a_server_of_mlflow_has_every_number_state_and_picture_though_it_was_stopped_meanwhile(
    lab: Lab,
    command: Command,
    database: Database,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package("mlflow.server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)

    def start() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server"),
                *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/health").is_success
            except httpx.TransportError:
                return False

        wait_until(answers, 180)
        return server

    def stop(server: subprocess.Popen[bytes]) -> None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    succeeded = trained(lab, database, settings, seeds=2)
    failed, cancelled, going_on = (lab.submit(DIGITS) for _ in range(3))
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    fail(database, lease)
    cancelled.cancel()
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    every = [one.id for one in (succeeded, failed, cancelled, going_on)]
    server = start()
    assert command("sync", "mlflow", *every).status == 0
    stop(server)
    finish_epoch(database, lease, 2)
    away = command("sync", "mlflow", going_on.id)
    assert away.status == 1
    assert f"no answer from MLflow at {url}" in away.err
    succeed(database, lease)
    server = start()
    try:
        assert command("sync", "mlflow", *every).status == 0
        api = f"{url}/api/2.0/mlflow"
        project = httpx.get(
            f"{api}/experiments/get-by-name", params={"experiment_name": "training-lab"}
        ).json()["experiment"]["experiment_id"]
        runs = httpx.post(f"{api}/runs/search", json={"experiment_ids": [project]}).json()["runs"]
        states = {
            next(tag["value"] for tag in run["data"]["tags"] if tag["key"] == "lab.run"): (
                run["info"]["status"],
                run["info"]["run_id"],
            )
            for run in runs
        }
        assert len(runs) == len(states) == 5
        assert [states[one.runs[0].id][0] for one in (succeeded, failed, cancelled, going_on)] == [
            "FINISHED",
            "FAILED",
            "KILLED",
            "FINISHED",
        ]
        history = httpx.get(
            f"{api}/metrics/get-history",
            params={"run_id": states[going_on.runs[0].id][1], "metric_key": "val/loss"},
        ).json()["metrics"]
        assert [(one["step"], one["value"]) for one in history] == [(1, 1.0), (2, 0.5)]
        assert len(list((folder / "artifacts").rglob("curves.png"))) == len(runs)
    finally:
        stop(server)
