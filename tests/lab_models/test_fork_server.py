"""`python -m lab_models trainers` as the worker uses it: one order each, events out, a stop heeded, no orphans."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Order,
    Progress,
    Started,
)
from tests.lab_models.conftest import (
    PROJECT,
    TINY,
    OrderMaker,
    of_kind,
    scores_of,
    train,
    weight_hashes,
)
from worker.trainer import Exited, Trainer, TrainerEvent, TrainerServer

pytestmark = pytest.mark.costly

NICENESS = 7
ENDLESS = TINY | {"epochs": 100_000}


@pytest.fixture(scope="module")
def servers() -> Iterator[list[TrainerServer]]:
    started: list[TrainerServer] = []
    yield started
    for server in started:
        server.kill()


@pytest.fixture
def server(servers: list[TrainerServer]) -> TrainerServer:
    """One for all tests, as starting it takes seconds; another where a test has killed it."""
    if not (servers and servers[-1].is_alive):
        servers.append(TrainerServer(threads=1, niceness=NICENESS))
    return servers[-1]


@pytest.fixture
def trainer(server: TrainerServer) -> Iterator[Trainer]:
    trainer = server.fork("cpu", 1)
    yield trainer
    trainer.kill()


def told_until(trainer: Trainer, kind: type) -> list[TrainerEvent | Exited]:
    """What the trainer says up to the first event of a kind."""
    told: list[TrainerEvent | Exited] = []
    while not (told and isinstance(told[-1], kind)):
        event = trainer.next_event(timeout=60)
        assert event is not None, told
        told.append(event)
    return told


def is_gone(pid: int) -> bool:
    """Whether the process has ended (its parent may not have noticed); looks again for some seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_a_forked_trainer_carries_out_one_order_with_the_bits_of_this_process(
    trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    assert trainer.wait_ready()
    order = make_order(TINY | {"model": {"depth": 2, "width": 16, "norm": "batch", "dropout": 0.2}})
    trainer.train(order, tmp_path / "log.txt")
    told = told_until(trainer, Exited)
    assert [type(event) for event in told if not isinstance(event, Progress)] == [
        Started,
        EpochCompleted,
        EpochCompleted,
        EpochCompleted,
        Completed,
        Exited,
    ]
    assert of_kind(Progress, told)
    assert told[-1] == Exited(0)
    assert not trainer.is_alive

    here: Order = order.model_copy(update={"run_folder": tmp_path / "here"})
    assert scores_of(told) == scores_of(train(here))
    assert weight_hashes(order) == weight_hashes(here)


def test_a_failure_is_told_with_its_code_and_where_it_came_from(
    trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    trainer.train(
        make_order(TINY | {"optimizer": {"name": "sgd", "learning_rate": 1e6}}),
        tmp_path / "logs" / "log.txt",
    )
    *_, failed, exited = told_until(trainer, Exited)
    assert isinstance(failed, Failed)
    assert failed.code == "diverged"
    assert (failed.hint or "").startswith("lower the learning rate")
    assert "learning rate 1e+06" in failed.message
    assert "lab_models.common.errors.Diverged" in failed.traceback
    assert exited == Exited(0)
    assert "lab_models.common.errors.Diverged" in (tmp_path / "logs" / "log.txt").read_text()


def test_a_stop_is_heeded_with_a_checkpoint(
    trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    order = make_order(ENDLESS)
    trainer.train(order, tmp_path / "log.txt")
    told_until(trainer, EpochCompleted)
    trainer.stop()
    *_, last, exited = told_until(trainer, Exited)
    assert isinstance(last, Checkpointed)
    assert last.stopped
    assert exited == Exited(0)
    assert (
        Path(order.run_folder) / last.checkpoint.path
    ).stat().st_size == last.checkpoint.size_bytes


def test_a_trainer_ends_when_nobody_can_speak_to_it_any_more(
    trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    trainer.train(make_order(ENDLESS), tmp_path / "log.txt")
    told_until(trainer, Started)
    trainer._stdin.close()
    assert told_until(trainer, Exited)[-1] == Exited(3)


def test_a_killed_trainer_is_reported_with_its_signal_and_the_server_lives_on(
    server: TrainerServer, trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    trainer.train(make_order(ENDLESS), tmp_path / "log.txt")
    told_until(trainer, Started)
    os.kill(trainer.pid, signal.SIGKILL)
    assert told_until(trainer, Exited)[-1] == Exited(-signal.SIGKILL)
    assert server.is_alive


def test_killing_the_server_ends_its_trainers(
    server: TrainerServer, trainer: Trainer, make_order: OrderMaker, tmp_path: Path
) -> None:
    stopped = server.fork("cpu", 1)
    assert stopped.wait_ready()
    # it cannot notice anything by itself: only the kernel's tie ends it
    os.kill(stopped.pid, signal.SIGSTOP)
    trainer.train(make_order(ENDLESS), tmp_path / "log.txt")
    told_until(trainer, EpochCompleted)
    try:
        server.kill()
        assert is_gone(trainer.pid)
        assert is_gone(stopped.pid)
        assert told_until(trainer, Exited)[-1] == Exited(-signal.SIGKILL)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped.pid, signal.SIGKILL)


TIED = (
    "import os, sys; from lab_models.running.process import die_with_parent; die_with_parent(os.getppid());"
    " print(os.getpid(), flush=True); sys.stdin.read()"
)
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TIED!r}])"


def test_killing_the_parent_ends_a_process_that_is_tied_to_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
        assert is_gone(child)


def test_a_server_whose_parent_is_gone_already_does_not_start() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "lab_models", "trainers", "--parent-pid", "1"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr == "the parent process 1 is gone\n"


def test_a_trainer_that_crashes_leaves_no_core_file(trainer: Trainer) -> None:
    limits = Path(f"/proc/{trainer.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits


def test_a_trainer_gives_way_as_far_as_it_is_told(trainer: Trainer) -> None:
    assert (
        os.getpriority(os.PRIO_PROCESS, trainer.pid)
        == os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
    )
