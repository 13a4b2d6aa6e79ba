"""`lab train`, as a terminal sees it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.commands.__main__ import main
from app.services.lifecycle import Lease
from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from tests.client.commanding import Command
from training_lab import Lab
from training_lab.commands import job_waiting
from training_lab.commands.requesting import Service

pytestmark = pytest.mark.sqlite

SMALL = ("--dataset", "digits", "--hidden", "8", "--epochs", "2")


def test_it_sends_what_the_flags_say_and_says_how_to_return(command: Command, lab: Lab) -> None:
    said = command("train", *SMALL, "--seeds", "2", "--name", "a", "--label", "week:3", "--no-wait")
    made = lab.latest()
    assert (said.status, said.lines) == (0, [f"{made.id} queued: {made.message}"])
    assert said.err.startswith(f"`lab watch {made.id} --url http://127.0.0.1:")
    assert (made.name, made.labels, len(made.runs)) == ("a", {"week": "3"}, 2)
    assert made.spec["model"] | {"depth": 1, "width": 8} == made.spec["model"]
    quiet = command("train", *SMALL, "--num-workers", "2", "--no-wait", "--json", "--quiet")
    assert (json.loads(quiet.out)["id"], quiet.err) == (lab.latest().id, "")


def test_num_workers_is_accepted_with_the_reason_why_it_has_no_effect(command: Command) -> None:
    said = command("train", *SMALL, "--num-workers", "2", "--print")
    assert said.err == "batches are made without a DataLoader, so --num-workers has no effect\n"
    assert json.loads(said.out) == {"model": {"hidden": [8]}, "dataset": "digits", "epochs": 2}


def test_what_is_printed_is_what_would_be_sent_and_needs_no_service(
    command: Command, lab: Lab
) -> None:
    line = ("train", "--as", "three-models", "--model", "cnn", "--lr", "0.05")
    printed = json.loads(command(*line, "--print").out)
    assert printed["model"] == "three-models-cnn"
    assert printed["optimizer"]["learning_rate"] == 0.05
    assert command(*line, "--no-wait").status == 0
    made = lab.latest()
    assert made.raw["submitted"] == printed
    assert made.spec["best_by"] == "accuracy"


def test_a_dry_run_says_what_it_would_cost_and_stores_nothing(command: Command, lab: Lab) -> None:
    said = command("train", *SMALL, "--seeds", "3", "--dry-run")
    assert said.status == 0
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in said.lines if line)
    assert rows["parameters"] == f"{64 * 8 + 8 + 8 * 10 + 10:,}"
    assert rows["steps"] == "36 a run"
    assert rows["time"].endswith(" for all 3")
    assert json.loads(command("train", *SMALL, "--dry-run", "--json").out)["valid"] is True
    assert list(lab.experiments()) == []


def test_adam_at_the_rate_of_sgd_is_warned_about(command: Command) -> None:
    doubtful = command("train", *SMALL, "--lr", "0.1", "--dry-run")
    assert doubtful.err == (
        "warning: Adam seldom learns at a learning rate of 0.1: that is about how far each weight moves in a step, and"
        " 0.001 is usual. Is the optimizer 'sgd' meant, or a smaller 'learning_rate'?\n"
    )
    assert "Adam seldom learns" in command("train", *SMALL, "--lr", "0.1", "--no-wait").err
    for usual in (("--optimizer", "sgd", "--lr", "0.1"), ("--lr", "0.01")):
        assert command("train", *SMALL, *usual, "--dry-run").err == ""


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (
            "--model resnet18 --depth 4",
            1,
            "  --depth: unknown field (it belongs to 'mlp' or 'henet'; allowed: arch, image_size,",
        ),
        (
            "--momentum 0.9",
            1,
            "  --momentum: unknown field (it belongs to 'sgd' or 'rmsprop'; allo",
        ),
        ("--set optimizer.lr=1", 1, "--set optimizer.lr: unknown field (did you mean 'learning_r"),
        ("--model lenet", 1, "  --model: there is no network 'lenet' ("),
        ("--epochs 0", 1, "  --epochs: input should be greater than or equal to 1"),
        ("--hidden 8,8 --depth 2", 1, "--depth, --hidden: give either 'hidden', or 'depth' and 'w"),
        ("--as three-modles", 1, "there is no recipe 'three-modles'; did you mean 'three-models'?"),
        ("--as three-models", 2, "3 cells of three-models fit: mlp (MLP 512-512), cnn"),
        ("--as three-models --model lstm", 2, "no cell of three-models has the model 'lstm'"),
        ("--no-wait --timeout 3", 2, "--timeout goes with --wait"),
        ("--set epochs.x=3 --epochs 3", 2, "'epochs' holds no fields here"),
        ("--epochs x", 2, "argument --epochs: must be a whole number, not 'x'"),
        ("--log tensorboard --no-wait", 2, "--log sends epochs while it is waited; without wai"),
        ("--log aim", 2, "argument --log: invalid choice: 'aim'"),
    ],
)
def test_what_cannot_be_meant_is_told_by_its_flag(
    line: str, status: int, said: str, command: Command, lab: Lab
) -> None:
    told = command("train", *line.split())
    assert (told.status, told.out) == (status, "")
    assert said in told.err
    assert list(lab.experiments()) == []


def test_who_does_not_reach_a_service_gets_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training_lab.retrying.FIRST_SECONDS", 0.0)
    assert main(["train", *SMALL, "--url", "http://127.0.0.1:9"]) == 3
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(("end", "status"), [(succeed, 0), (fail, 1)], ids=["good", "bad"])
def test_the_wait_ends_as_the_experiment_does(
    end: Callable[[Database, Lease], None],
    status: int,
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ended(service: Service, identifier: str, **_: Any) -> Any:
        lease = begin(database)
        resume(database, lease, settings)
        for epoch in (1, 2):
            finish_epoch(database, lease, epoch)
        end(database, lease)
        return service.get(f"/experiments/{identifier}")

    monkeypatch.setattr(job_waiting, "wait_with_progress", ended)
    said = command("train", *SMALL)
    made = lab.latest()
    assert said.status == status
    assert said.err.startswith(f"{made.id}: http://127.0.0.1:")
    if status == 0:
        assert said.lines == [
            f"{made.id} succeeded: {made.message} test accuracy {made.results['test']['accuracy']}"
        ]
    else:
        assert (said.out, made.status) == ("", "failed")


def test_ctrl_c_and_the_time_limit_leave_it_running(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = command("train", *SMALL, "--timeout", "0")
    made = lab.latest()
    assert (late.status, late.out) == (124, "")
    assert f"{made.id} has not ended within 0 s, but goes on: `lab watch {made.id}" in late.err

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_waiting, "wait_with_progress", interrupted)
    left = command("train", *SMALL)
    made = lab.latest()
    assert (left.status, left.out) == (130, "")
    assert f"No longer waiting, but {made.id} goes on: `lab watch {made.id} --url" in left.err
    assert made.status == "queued"


def test_its_help_has_examples_and_no_flag_without_a_word(command: Command) -> None:
    said = command("train", "--help")
    assert said.status == 0
    assert "examples:\n" in said.out
    assert "\nlab train --as three-models --model cnn" in said.out
    assert "--log [{auto" in " ".join(said.out.split())


def test_epochs_go_to_a_tracker_while_it_is_waited(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def ended(service: Service, identifier: str, **_: Any) -> Any:
        lease = begin(database)
        resume(database, lease, settings)
        for epoch in (1, 2):
            finish_epoch(database, lease, epoch)
        succeed(database, lease)
        return service.get(f"/experiments/{identifier}")

    monkeypatch.setattr(job_waiting, "wait_with_progress", ended)
    said = command("train", *SMALL, "--log", "tensorboard")
    run = lab.latest().runs[0]
    assert said.status == 0, said.err
    assert "not all has been sent" not in said.err
    (written,) = [path for path in tmp_path.rglob("events.out*") if run.id in str(path)]
    assert written.stat().st_size > 100
