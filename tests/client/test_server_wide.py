"""Trackers of a whole service: the processes that `lab serve` has for LAB_TRACKERS, killed, hanging and with keys."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import Misconfigured
from app.roles import Role
from app.services.lifecycle import local_workers
from app.services.owners import keys
from app.serving import companion
from app.serving.trackers import MODULE, OWN, OWNER, refuse_unknown, tracker_companions
from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, finish_epoch, resume, succeed
from tests.client.mlflow_server import MlflowServer
from tests.client.test_objects import DIGITS
from tests.client.test_sync import losses, odd, wait_for
from training_lab import Lab
from training_lab.commands.sync_process import NICENESS
from training_lab.sync import finding
from training_lab.sync.beside import SyncBeside

__all__ = ["odd"]
pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    server = MlflowServer(takes_files=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(local_workers, name, 0.05)
    for name in ("WATCH_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(companion, name, 0.02)
    yield server
    server.end()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """Every process that a companion has started so far."""
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            if isinstance(self.args, list) and MODULE in self.args:
                started.append(self)

    monkeypatch.setattr(companion.subprocess, "Popen", Noted)
    return started


def with_trackers(settings: Settings, *names: str) -> Settings:
    return settings.model_copy(update={"trackers": ",".join(names)})


@pytest.mark.costly
def test_a_child_that_is_killed_ten_times_is_started_again_and_nothing_is_lost(
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    children: list["subprocess.Popen[bytes]"],
) -> None:
    made = lab.submit(DIGITS, epochs=10)
    lease = begin(database)
    resume(database, lease, settings)
    with tracker_companions(with_trackers(settings, "mlflow"), lab.url):
        for epoch in range(1, 11):
            finish_epoch(database, lease, epoch)
            # before it has said anything, or in the middle of it
            if epoch % 2:
                wait_for(lambda count=epoch: len(children) >= count)  # type: ignore[misc]
            else:
                sent = (epoch, 1.0 / epoch)
                wait_for(lambda sent=sent: mlflow.runs and sent in losses(mlflow, made))  # type: ignore[misc]
            children[-1].send_signal(signal.SIGKILL)
            wait_for(lambda count=epoch: len(children) > count)  # type: ignore[misc]
        succeed(database, lease)
        wait_for(
            lambda: mlflow.runs and mlflow.run_of(made.runs[0].id).info["status"] == "FINISHED"
        )
    assert len(children) == 11
    assert all(child.poll() is not None for child in children)
    assert losses(mlflow, made) == [(epoch, 1.0 / epoch) for epoch in range(1, 11)]
    assert len(mlflow.runs) == 1


def test_where_keys_are_asked_for_it_has_a_read_key_of_its_own_which_ends_with_it(
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    children: list["subprocess.Popen[bytes]"],
) -> None:
    """And it stands back from what trains."""
    with database.writing() as session:
        _, secret = keys.create_key(session, "ada", Role.SUBMIT)
    with Lab(lab.url, secret) as hers:
        made = hers.submit(DIGITS)
        lease = begin(database)
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
        with tracker_companions(with_trackers(settings, "mlflow"), lab.url):
            wait_for(lambda: mlflow.runs and losses(mlflow, made) == [(1, 1.0)])
            with database.reading() as session:
                (live,) = keys.live_keys(session, {OWNER})[OWNER]
                assert live.role is Role.READ
            (child,) = children
            behind = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(behind, 19)
    with database.reading() as session:
        assert keys.live_keys(session, {OWNER}) == {}
        assert len(keys.live_keys(session, {"ada"})["ada"]) == 1


def test_a_tracker_that_hangs_or_ends_harms_neither_the_api_nor_another_nor_what_trains(
    lab: Lab,
    database: Database,
    settings: Settings,
    mlflow: MlflowServer,
    odd: Path,
    children: list["subprocess.Popen[bytes]"],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "lab.serve")
    made = lab.submit(DIGITS)
    lease = begin(database)
    resume(database, lease, settings)
    for what, starts in (("memory", 4), ("hang", 2)):
        monkeypatch.setenv("ODD", what)
        mlflow.runs.clear()
        children.clear()
        with tracker_companions(with_trackers(settings, "odd", "mlflow"), lab.url):
            finish_epoch(database, lease, 1 if what == "memory" else 2)
            wait_for(lambda: mlflow.runs or len(children) >= starts)  # noqa: B023
            wait_for(lambda: len(children) >= starts)  # noqa: B023
            assert lab.experiment(made.id).status == "running"
        assert all(child.poll() is not None for child in children)
    assert (
        "tracker odd ended, with status 1 (the tracker's code has filled the memory" in caplog.text
    )
    succeed(database, lease)
    assert lab.experiment(made.id).status == "succeeded"


def test_a_name_that_is_no_tracker_is_refused_at_the_start(settings: Settings, odd: Path) -> None:
    assert list(OWN) == list(finding.OWN)
    refuse_unknown(with_trackers(settings, "mlflow", "odd"))
    with pytest.raises(Misconfigured, match="no tracker 'mlfow'; there are wandb, mlflow"):
        refuse_unknown(with_trackers(settings, "mlfow"))


def test_a_wait_may_have_a_sync_beside_it_which_ends_with_the_jobs_and_raises_nothing(
    lab: Lab, database: Database, settings: Settings, mlflow: MlflowServer
) -> None:
    made = lab.submit(DIGITS)
    said: list[str] = []
    with SyncBeside("mlflow", [made.id], url=lab.url, project="p", say=said.append):
        lease = begin(database)
        resume(database, lease, settings)
        for epoch in (1, 2):
            finish_epoch(database, lease, epoch)
        succeed(database, lease)
        made.wait(timeout=60)
    assert losses(mlflow, made) == [(1, 1.0), (2, 0.5)]
    assert said == []
    with SyncBeside("nothing", [made.id], url=lab.url, say=said.append):
        pass
    assert "there is no tracker 'nothing'" in said[0]
    assert (
        said[-1] == f"nothing: not all has been sent; `lab sync nothing {made.id}` sends the rest"
    )
    beside = SyncBeside("mlflow", [made.id], url="http://127.0.0.1:9", say=said.append)
    with pytest.raises(KeyboardInterrupt), beside:
        raise KeyboardInterrupt
    assert beside.join() is False
