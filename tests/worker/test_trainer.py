"""The processes that train: what they may know, what they may touch, and that none outlives its worker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import worker.trainer
from lab_models.training.protocol import Completed, Failed
from tests.e2e.service import is_alive, wait_until
from tests.lab_models.conftest import TINY, order_in
from worker.surroundings import surroundings
from worker.trainer import Exited, ServerGone, Trainer, TrainerServer

pytestmark = [pytest.mark.costly, pytest.mark.sqlite]  # trainers know no database


@pytest.fixture
def server():  # type: ignore[no-untyped-def]
    server = TrainerServer(threads=1)
    yield server
    server.kill()


def test_a_trainer_is_forked_warm_in_a_moment_and_dies_when_killed(server: TrainerServer) -> None:
    first, second = server.fork("cpu", 1), server.fork("cpu", 1)
    assert first.wait_ready()
    assert second.wait_ready()
    first.kill()
    assert not is_alive(first.pid)
    assert first.next_event(5) == Exited(-signal.SIGKILL)
    assert second.is_alive


def test_trainers_die_with_their_server_and_the_next_fork_says_so(server: TrainerServer) -> None:
    trainer = server.fork("cpu", 1)
    assert trainer.wait_ready()
    server.kill()
    wait_until(lambda: not is_alive(trainer.pid), 5, "the kernel ends the trainer")
    assert trainer.next_event(5) == Exited(-signal.SIGKILL)
    with pytest.raises(ServerGone):
        server.fork("cpu", 1)


@pytest.mark.slow
def test_where_a_fork_is_not_safe_trainers_are_spawned_and_end_with_whom_they_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker.trainer, "MUST_SPAWN", True)
    server = TrainerServer(threads=1)
    try:
        left, trains = server.fork("cpu", 1, visible=""), server.fork("cpu", 1)
        command = Path(f"/proc/{left.pid}/cmdline").read_text().split("\0")
        assert "trainer" in command
        environment = Path(f"/proc/{left.pid}/environ").read_text().split("\0")
        assert "CUDA_VISIBLE_DEVICES=" in environment
        assert left.wait_ready()
        left._stdin.close()  # as when its worker is gone, without the kernel's help
        assert left.next_event(10) == Exited(3)
        assert trains.wait_ready()
        trains.train(order_in(tmp_path, TINY, run_folder=tmp_path / "run"), tmp_path / "log.txt")
        told = []
        while not told or not isinstance(told[-1], Completed | Failed | Exited):
            told.append(trains.next_event(60))
        assert isinstance(told[-1], Completed), told[-1]
    finally:
        server.kill()
    wait_until(lambda: not is_alive(trains.pid), 5, "none outlives its server")


def test_a_trainer_that_is_not_ready_is_waited_for_no_longer_than_it_is_wanted() -> None:
    (stdin, ours), (our_events, events), (our_log, log) = (os.pipe() for _ in range(3))
    trainer = Trainer(os.getpid(), ours, our_events, our_log)  # one that never says that it is
    looks = iter([False, False, True])
    assert not trainer.wait_ready(lambda: next(looks))
    assert list(looks) == []
    for descriptor in (stdin, events, log):
        os.close(descriptor)
    trainer.ended(0)


def test_a_trainer_knows_neither_database_nor_broker_nor_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LAB_DATABASE_URL", "LAB_BROKER_URL", "LAB_API_KEYS", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    server = TrainerServer(threads=1)
    try:
        trainer = server.fork("cpu", 1)
        assert trainer.wait_ready()
        for pid in (trainer.pid, server._process.pid):
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        descriptors = {str(entry.readlink()) for entry in Path(f"/proc/{trainer.pid}/fd").iterdir()}
        assert not [target for target in descriptors if "socket" in target or "sqlite" in target]
    finally:
        server.kill()


def test_the_fork_server_never_asks_the_cuda_driver() -> None:
    program = """
import torch
calls = []
for name in ("_cuda_getDeviceCount", "_cuda_init", "_cuda_isCurrentStreamCapturing"):
    if hasattr(torch._C, name):
        setattr(torch._C, name, lambda name=name: calls.append(name) or 0)
from lab_models.running import forkserver
import os
os.environ["CUDA_VISIBLE_DEVICES"] = "1"
before = forkserver.hide_gpus()
forkserver.load_everything()
assert not torch.cuda.is_available()
assert calls == [], calls
assert not torch.cuda.is_initialized()
forkserver.show_gpus(before)
assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_order_that_is_none_is_no_reason_to_hang(server: TrainerServer) -> None:
    trainer = server.fork("cpu", 1)
    assert trainer.wait_ready()
    trainer._stdin.close()
    assert trainer.next_event(10) == Exited(3), (
        "the end of standard input means that the supervisor is gone"
    )


def test_a_trainer_is_told_how_to_allocate_and_nothing_that_changes_what_float32_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "all")
    told = surroundings(threads=2)
    assert (told["PYTORCH_ALLOC_CONF"], told["NVIDIA_VISIBLE_DEVICES"]) == (
        "expandable_segments:True",
        "all",
    )
    assert "NVIDIA_TF32_OVERRIDE" not in told
