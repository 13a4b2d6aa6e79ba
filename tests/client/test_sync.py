"""`lab sync` against a service and a server of MLflow: what is sent, once, and what becomes of it at faults."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.experiments import progress
from app.settings import Settings
from app.storage.db import Database
from lab_models.training.protocol import Started
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from tests.client.commanding import Command, Said
from tests.client.mlflow_server import Fault, MlflowServer
from tests.client.test_objects import DIGITS, trained
from training_lab import Experiment, Lab
from training_lab.sync import calls, following, mlflow_requests
from training_lab.sync.cursors import Cursor, Cursors
from training_lab.sync.describing import flow_by_run
from training_lab.sync.finding import find
from training_lab.sync.sink import SinkOptions, Tracker, TrackerAway
from training_lab.sync.transfers import Transfer

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where it is noted what was sent; and pauses that nobody waits for."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(following, "FIRST_SECONDS", 0.005)
    return tmp_path / "state" / "lab" / "sync"


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    server = MlflowServer()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{server.url}/")
    yield server
    server.end()


def sync(command: Command, *words: str) -> Said:
    """Without pictures, which take a process that draws."""
    return command("sync", "mlflow", *words, "--no-pictures")


def losses(server: MlflowServer, experiment: Experiment, seed: int = 0) -> list[tuple[int, float]]:
    return server.run_of(experiment.runs[seed].id).history("val/loss")


# What is sent


def test_a_run_for_each_seed_with_its_numbers_config_labels_and_end(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = trained(
        lab, database, settings, seeds=2, name="a name", labels={"week": 3, "mlflow.runName": "x"}
    )
    said = command("sync", "mlflow", made.id)
    assert said.status == 0, said.err
    assert said.err == f"mlflow {mlflow.url}: 4 epochs sent, 2 runs ended.\n"
    assert list(mlflow.experiments) == ["training-lab"]
    assert len(mlflow.runs) == 2
    for seed, run in enumerate(made.runs):
        kept = mlflow.run_of(run.id)
        assert kept.info["run_name"] == f"a name · seed {seed}"
        assert kept.info["status"] == "FINISHED"
        assert kept.history("val/loss") == [(1, 1.0), (2, 0.5)]
        assert kept.history("train/accuracy") == [(1, 0.5), (2, 0.5)]
        assert kept.history("test/accuracy") == [(2, 0.9)]
        assert kept.history("best_epoch") == [(2, 2.0)]
        assert kept.params["optimizer.learning_rate"] == "0.001"
        assert kept.params["seed"] == str(seed)
        assert kept.params["fingerprint"] == made.raw["fingerprint"]
        assert kept.params["parameters"] == "610"
        assert kept.tags["label.week"] == "3"
        assert kept.tags["label.mlflow.runName"] == "x"
        assert kept.tags["lab.experiment"] == made.id
        assert kept.tags["lab.stop_reason"] == "all_epochs"
        assert kept.tags["mlflow.note.content"] == f"{lab.url}/ui/experiments/{made.id}"
        assert set(kept.files) == {"curves.png"}
        assert kept.files["curves.png"].startswith(b"\x89PNG")
        started = run.as_moment("started_at")
        assert started is not None
        assert kept.info["start_time"] == round(started.timestamp() * 1000)


def test_the_ends_of_failed_and_cancelled_runs_are_told_as_such(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    failed, cancelled = lab.submit(DIGITS), lab.submit(DIGITS)
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    fail(database, lease)
    cancelled.cancel()
    assert sync(command, failed.id, cancelled.id).status == 0
    assert mlflow.run_of(failed.runs[0].id).info["status"] == "FAILED"
    assert "not a number" in mlflow.run_of(failed.runs[0].id).tags["lab.error"]
    assert mlflow.run_of(cancelled.runs[0].id).info["status"] == "KILLED"
    assert losses(mlflow, failed) == [(1, 1.0)]


def test_a_study_gives_the_project_its_name_unless_one_is_said(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    study = lab.study_of(spec=DIGITS, vary={"epochs": [3, 4]}, seeds=1, name="depths")
    for _ in range(2):
        lease = begin(database)
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
    assert sync(command, study.id).status == 0
    assert list(mlflow.experiments) == ["depths"]
    assert {run.tags["label.study"] for run in mlflow.runs.values()} == {study.id}
    assert {run.info["status"] for run in mlflow.runs.values()} == {"RUNNING"}
    assert sync(command, "@last", "--project", "other", "--again").status == 0
    assert list(mlflow.experiments) == ["depths", "other"]


def test_layers_gradients_have_the_layers_name_and_initialization_is_epoch_0() -> None:
    document = {
        "runs": [
            {
                "run_id": "run_1",
                "layers": ["hidden.0", "head"],
                "epochs": [0, 1],
                "l2": [[1.0, None], [2.0, 3.0]],
                "ratio": [[0.1, None], [0.2, 0.3]],
            }
        ]
    }
    assert flow_by_run(document) == {
        "run_1": {
            0: {"gradients/hidden.0/norm": 1.0, "gradients/hidden.0/ratio": 0.1},
            1: {
                "gradients/hidden.0/norm": 2.0,
                "gradients/head/norm": 3.0,
                "gradients/hidden.0/ratio": 0.2,
                "gradients/head/ratio": 0.3,
            },
        }
    }


def test_pictures_and_weights_go_where_they_are_wanted_and_a_server_that_takes_no_files_is_told_of(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = trained(lab, database, settings)
    mlflow.takes_files = False
    assert command("sync", "mlflow", made.id).status == 0
    kept = mlflow.run_of(made.runs[0].id)
    assert not kept.files
    assert "--serve-artifacts" in kept.tags["lab.files"]
    said = sync(command, made.id, "--weights", "--again")
    assert said.status == 1  # the test's runs have no files of weights
    assert "weights.safetensors" in said.err
    other = trained(lab, database, settings)
    mlflow.takes_files = True
    assert sync(command, other.id).status == 0
    assert not mlflow.run_of(other.runs[0].id).files
    assert command("sync", "mlflow", other.id, "--again").status == 0
    assert any(name.endswith("curves.png") for name in mlflow.run_of(other.runs[0].id).files)


# Once


def test_what_was_sent_is_not_sent_again_and_with_again_nothing_is_there_twice(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = trained(lab, database, settings)
    assert sync(command, made.id).status == 0
    before = dict(mlflow.run_of(made.runs[0].id).metrics)
    mlflow.asked.clear()
    said = sync(command, made.id)
    assert "nothing new to send" in said.err
    assert mlflow.asked == []
    assert sync(command, made.id, "--again").status == 0
    assert len(mlflow.asked) > 4
    assert mlflow.run_of(made.runs[0].id).metrics == before


def test_an_unfinished_run_is_gone_on_with_where_it_was(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = lab.submit(DIGITS)
    assert "nothing new" in sync(command, made.id).err  # it has not begun
    lease = begin(database)
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    assert "1 epoch sent, 0 runs ended" in sync(command, made.id).err
    finish_epoch(database, lease, 2)
    succeed(database, lease)
    assert "1 epoch sent, 1 run ended" in sync(command, made.id).err
    assert losses(mlflow, made) == [(1, 1.0), (2, 0.5)]


@pytest.mark.parametrize("went_back_to", [None, (1, 0)])
def test_a_run_that_went_back_sends_its_epochs_again_and_a_number_that_is_the_same_is_there_once(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    went_back_to: tuple[int, int] | None,
) -> None:
    made = lab.submit(DIGITS)
    lease = begin(database)
    resume(database, lease, settings)
    for epoch in (1, 2, 3):
        finish_epoch(database, lease, epoch)
    fail(database, lease)
    assert "3 epochs sent, 1 run ended" in sync(command, made.id).err
    made.retry()
    lease = begin(database)
    assert "nothing new" in sync(command, made.id).err  # nobody knows from where it goes on
    with database.writing() as session:
        progress.record_started(session, lease, Started(environment={}, resumed_from=went_back_to))
    for epoch in (2, 3, 4) if went_back_to else (1, 2, 3, 4):
        finish_epoch(database, lease, epoch)
    succeed(database, lease)
    sent = 3 if went_back_to else 4
    assert f"{sent} epochs sent, 1 run ended" in sync(command, made.id).err
    assert losses(mlflow, made) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert mlflow.run_of(made.runs[0].id).info["status"] == "FINISHED"


def test_cursors_are_whole_or_as_before_and_one_process_at_a_time_has_them(tmp_path: Path) -> None:
    cursors, others = (Cursors(tmp_path, "mlflow", "http://a") for _ in range(2))
    elsewhere = Cursors(tmp_path, "mlflow", "http://b")
    cursors.write("exp_1", "run_1", Cursor(3, 1))
    cursors.write("exp_1", "run_2", Cursor(4, 1, is_finished=True))
    assert others.read("exp_1") == {"run_1": Cursor(3, 1), "run_2": Cursor(4, 1, True)}
    assert elsewhere.read("exp_1") == {}
    with (
        cursors.held("exp_1") as mine,
        others.held("exp_1") as theirs,
        others.held("exp_2") as other,
    ):
        assert (mine, theirs, other) == (True, False, True)
    with others.held("exp_1") as now:
        assert now
    (path,) = tmp_path.glob("mlflow/*/exp_1.json")
    path.write_text('{"run_1": {"epo')
    assert others.read("exp_1") == {}
    assert {one.name for one in path.parent.iterdir()} == {
        "exp_1.json",
        "exp_1.lock",
        "exp_2.lock",
        "target",
    }


def test_two_syncs_at_once_do_no_harm(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    state: Path,
) -> None:
    made = trained(lab, database, settings, seeds=2)
    with Cursors(state, "mlflow", mlflow.url).held(made.id):
        said = sync(command, made.id)
    assert (said.status, mlflow.runs) == (0, {})
    assert "is being sent to mlflow by another `lab sync`" in said.err
    words = ("sync", "mlflow", made.id, "--no-pictures")
    threads = [threading.Thread(target=command, args=words) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    command(*words)
    assert losses(mlflow, made, 0) == losses(mlflow, made, 1) == [(1, 1.0), (2, 0.5)]


# What goes wrong


def test_faults_that_pass_leave_nothing_out_and_nothing_twice(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mlflow_requests, "SECONDS", 0.2)
    for fault in ("drop", "500", "429", "hang"):
        made = trained(lab, database, settings)
        mlflow.faults = [None, fault, *[None] * 4, fault, *[None] * 7, fault]
        assert sync(command, made.id).status == 0
        assert mlflow.faults == []
        assert losses(mlflow, made) == [(1, 1.0), (2, 0.5)]
        assert mlflow.run_of(made.runs[0].id).info["status"] == "FINISHED"


def test_a_tracker_that_stays_away_is_1_with_the_cause_after_a_few_tries(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mlflow_requests, "SECONDS", 0.05)
    made = trained(lab, database, settings)
    causes: dict[Fault, str] = {
        "drop": "no answer from MLflow at http://127.0.0.1:",
        "500": "with 500 out of order",
        "hang": "timed out",
        "html": "is no MLflow",
    }
    for fault, cause in causes.items():
        mlflow.asked.clear()
        mlflow.always = fault
        said = sync(command, made.id)
        assert said.status == 1
        assert cause in said.err
        assert len(mlflow.asked) == (1 if fault == "html" else 4)
    monkeypatch.setattr(mlflow_requests, "SECONDS", 30.0)
    mlflow.always = None
    assert sync(command, made.id).status == 0


def test_with_nothing_to_send_an_address_that_answers_nothing_is_1(
    command: Command, lab: Lab, mlflow: MlflowServer
) -> None:
    assert command("sync", "mlflow", "--all").status == 0
    mlflow.always = "drop"
    said = command("sync", "mlflow", "--all")
    assert said.status == 1
    assert "no answer from MLflow at http://127.0.0.1:" in said.err


def test_credentials_come_from_the_environment_and_their_lack_is_said(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trained(lab, database, settings)
    mlflow.authorization = "Bearer secret"
    said = sync(command, made.id)
    assert said.status == 1
    assert "MLFLOW_TRACKING_TOKEN" in said.err
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert sync(command, made.id).status == 0
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    mlflow.authorization = "Basic YWRhOnB3"
    assert sync(command, made.id, "--again").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mlflow", "@last"), "MLFLOW_TRACKING_URI=http://HOST:5000"),
        (("mlflow", "@last", "--to", "sqlite:///x"), "is no address of a server of MLflow"),
        (("neptune", "@last"), "there are wandb, mlflow, tensorboard, trackio"),
        (("mlflow",), "ids, or --all"),
        (("mlflow", "@last", "--all"), "ids, or --all"),
        (("tensorboard", "@last", "--to", __file__), "is no folder"),
    ],
)
def test_what_cannot_be_meant_is_2_with_what_to_say(
    command: Command, lab: Lab, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    lab.submit(DIGITS)
    answer = command("sync", *words)
    assert answer.status == 2
    assert said in answer.err


def test_a_package_that_is_missing_is_named(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    lab.submit(DIGITS)
    said = command("sync", "wandb", "@last")
    assert (said.status, said.err) == (
        2,
        "Weights & Biases needs wandb, which is not installed here: pip install wandb\n",
    )


# Following


def test_epochs_are_sent_as_they_come_until_all_have_ended_and_a_server_that_was_away_gets_them_too(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = lab.submit(DIGITS, seeds=2)
    mlflow.always = "500"
    said: list[Any] = []
    follower = threading.Thread(target=lambda: said.append(sync(command, made.id, "--follow")))
    follower.start()
    leases = [begin(database), begin(database)]
    for lease in leases:
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
    wait_for(lambda: len(mlflow.asked) >= 2)
    mlflow.always = None
    wait_for(lambda: len(mlflow.runs) == 2 and all(run.metrics for run in mlflow.runs.values()))
    for lease in leases:
        finish_epoch(database, lease, 2)
        succeed(database, lease)
    follower.join(60)
    (answer,) = said
    assert answer.status == 0
    assert "again in" in answer.err
    assert "4 epochs sent, 2 runs ended" in answer.err
    assert losses(mlflow, made, 0) == losses(mlflow, made, 1) == [(1, 1.0), (2, 0.5)]
    assert {run.info["status"] for run in mlflow.runs.values()} == {"FINISHED"}


def test_a_follow_whose_tracker_stays_away_says_what_is_left_when_all_has_ended(
    command: Command, lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = trained(lab, database, settings, seeds=2)
    mlflow.always = "500"
    said = sync(command, made.id, "--follow")
    assert said.status == 1
    assert 5 <= said.err.count("again in") <= 7
    assert (
        f"2 runs could not be sent whole; what has been sent is noted: `lab sync mlflow {made.id}`"
        in said.err
    )


def wait_for(condition: Any, seconds: float = 30) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("not within the time")


# Trackers of others

SINK = """
import os, sys, time
from pathlib import Path
from training_lab.sync.sink import Tracker


class Odd:
    keeps_at_once = True
    def begin(self, run): self.run = run
    def log(self, epoch, at, values):
        what = os.environ["ODD"]
        if what == "raise": raise RuntimeError("odd")
        if what == "exit": sys.exit(7)
        if what == "memory": raise MemoryError
        if what == "hang": time.sleep(3600)
        with Path(os.environ["ODD_FILE"]).open("a") as file:
            file.write(f"{self.run.id} {epoch} {values['val/loss']}\\n")
    def end(self, status, summary, files): pass


def tracker(options):
    return Tracker("odd", options.to or "", Odd)
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a tracker by entry point."""
    folder = tmp_path / "site"
    about = folder / "odd_tracker-1.dist-info"
    about.mkdir(parents=True)
    (folder / "odd_tracker.py").write_text(SINK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-tracker\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[lab.sinks]\nodd = odd_tracker:tracker\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("ODD_FILE", str(tmp_path / "odd.txt"))
    return tmp_path / "odd.txt"


@pytest.mark.parametrize(
    ("what", "status", "cause"),
    [
        ("work", 0, "odd: 2 epochs sent"),
        ("raise", 1, "RuntimeError: odd"),
        ("exit", 1, "SystemExit: 7"),
        ("memory", 1, "has filled the memory"),
        ("hang", 1, "has not answered within 0.05 s"),
    ],
)
def test_a_tracker_by_entry_point_may_do_what_it_wants(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    odd: Path,
    what: str,
    status: int,
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ODD", what)
    if what == "hang":
        monkeypatch.setattr(calls, "CALL_SECONDS", 0.05)
    made = trained(lab, database, settings)
    said = command("sync", "odd", made.id, "--no-pictures")
    assert said.status == status
    assert cause in said.err
    if what == "work":
        (run,) = made.runs
        assert odd.read_text() == f"{run.id} 1 1.0\n{run.id} 2 0.5\n"
    assert lab.experiment(made.id).status == "succeeded"


def test_calls_that_hang_one_after_the_other_end_the_process() -> None:
    never = threading.Event()
    limited = calls.Calls(0.01)
    for _ in range(calls.MOST_HANGING - 1):
        with pytest.raises(TrackerAway, match="has not answered within"):
            limited.make(never.wait)
    with pytest.raises(calls.Hopeless):
        limited.make(never.wait)
    never.set()


def test_a_transfer_notes_each_epoch_so_that_a_kill_repeats_one_at_most(
    lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer, state: Path
) -> None:
    """What is noted is looked at from within the tracker, where a kill would find it."""
    made = trained(lab, database, settings)
    real = find("mlflow", SinkOptions())
    noted: list[int] = []

    def make() -> Any:
        sink = real.make()
        log = sink.log

        def looking(epoch: int, *rest: Any) -> None:
            (path,) = [*state.glob("looking/*/exp_*.json"), None][:1]
            found = {} if path is None else json.loads(path.read_text())
            noted.extend(one["epoch"] for one in found.values())
            log(epoch, *rest)

        sink.log = looking  # type: ignore[method-assign]
        return sink

    transfer = Transfer(lab, Tracker("looking", "", make), state, with_pictures=False)
    assert transfer.send(made.runs[0].id)
    transfer.close()
    assert noted == [1]
