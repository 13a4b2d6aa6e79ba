"""Why a device cannot be trained on, who hears of it, and what a worker does meanwhile."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from app.commands.local_findings import PROBE, findings_of_devices
from lab_models.running.fitness import (
    Build,
    NoKernels,
    builds_for,
    caution_of,
    require_kernels,
    unfit,
)
from lab_models.training.protocol import Unfit
from tests.gpus.stand_ins import driver_library, in_path, nvidia_smi
from tests.worker.conftest import Stage
from worker import probing, spare
from worker.identity import identify
from worker.probe import main as probe
from worker.probing import Fitness, Prober, SharedFitness
from worker.trainer_log import line_that_counts

MakeStage = Callable[..., Stage]
GPU, CPU = "cuda:0", "cpu"


@pytest.mark.parametrize(
    ("said", "needle", "is_lasting"),
    [
        (
            "The NVIDIA driver on your system is too old (found version 12020). Please update",
            "for CUDA 12.2",
            True,
        ),
        ("Found no NVIDIA driver on your system. Please check", "Install the driver", True),
        ("Torch not compiled with CUDA enabled", "make install CPU=0", True),
        ("CUDA error: no kernel image is available for execution", "has kernels for", True),
        ("Error 803: system has unsupported display driver / cuda driver", "restart", True),
        (
            "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'",
            "`nvidia-smi`",
            False,
        ),
        ("CUDA-capable device(s) is/are busy or unavailable", "EXCLUSIVE_PROCESS", False),
        ("No CUDA GPUs are available", "does not see this GPU", False),
        ("CUDA unknown error - this may be due to", "modprobe nvidia_uvm", False),
        ("something new", "something new; `python -m worker.probe`", False),
    ],
)
def test_what_torch_says_becomes_one_line_with_what_to_do(
    said: str, needle: str, is_lasting: bool
) -> None:
    found = unfit(RuntimeError(said))
    assert needle in found.reason
    assert found.lasting is is_lasting
    assert "\n" not in found.reason


def test_a_build_has_kernels_for_its_generations_and_by_ptx_for_later_ones() -> None:
    build = Build("2.14.1+cu130", "13.0", ("sm_75", "sm_80", "sm_90", "sm_120"))
    wanted = {
        (7, 0): False,
        (7, 5): True,
        (8, 9): True,
        (9, 0): True,
        (10, 0): False,
        (12, 1): True,
    }
    assert {one: build.has_kernels_for(one) for one in wanted} == wanted
    assert (build.least_driver, build.cards) == (580, "7.5 to 12.0")
    assert Build("", "12.6", ("sm_50", "compute_50")).has_kernels_for((12, 0))
    assert Build("2.14.1+cpu", None, ()).least_driver is None
    assert "is a card" in unfit(NoKernels("this is a card without kernels")).reason


def test_a_card_is_refused_or_cautioned_about_by_its_capability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, capability = torch.device(GPU), [6, 1]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: tuple(capability))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some card")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90"])
    with pytest.raises(
        NoKernels, match=r"Some card has compute capability 6\.1.*7\.5 to 9\.0"
    ) as raised:
        require_kernels(device)
    assert "build for CUDA 12.6" in unfit(raised.value).reason
    capability[:] = [7, 5]
    require_kernels(device)
    assert "only emulates bfloat16" in (caution_of(device) or "")
    capability[:] = [8, 6]
    require_kernels(device)
    assert caution_of(device) is None
    assert caution_of(torch.device(CPU)) is None


def test_other_builds_are_those_of_torchs_own_table() -> None:
    table = torch.cuda.PYTORCH_RELEASES_CODE_CC  # type: ignore[attr-defined]
    for_pascal = builds_for((6, 1), None)
    assert set(for_pascal) < set(table)
    assert set(builds_for(None, (12, 2))) == {one for one in table if one.startswith("12.")}


def test_of_last_words_the_exception_counts() -> None:
    words = "Traceback\n  File x\nRuntimeError: the driver\nCompile with `TORCH_USE_CUDA_DSA`\n"
    assert line_that_counts(words) == "RuntimeError: the driver"
    assert line_that_counts("one\ntwo\n") == "two"
    assert line_that_counts("") == ""


def test_what_the_child_tells_last_is_what_others_read() -> None:
    shared = SharedFitness()
    assert shared.read() is None
    for told in (Fitness(GPU, "x" * 500), Fitness(GPU, None, "Grün"), Fitness(CPU)):
        shared.tell(told)
        assert shared.read() == told
    shared.tell(Fitness(GPU, "ü" * 10_000))
    assert len((shared.read() or Fitness(GPU)).trouble or "") == 1024


class Told:
    """What a prober has told, and a wait for it."""

    def __init__(self) -> None:
        self.all: list[Fitness] = []
        self._news = threading.Condition()

    def __call__(self, fitness: Fitness) -> None:
        with self._news:
            self.all.append(fitness)
            self._news.notify_all()

    def wait_for(self, what: Callable[[Fitness], object]) -> Fitness:
        with self._news:
            assert self._news.wait_for(lambda: self.all and what(self.all[-1]), 60), self.all
            return self.all[-1]


@pytest.fixture
def begin(
    make_stage: MakeStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Stage, Prober, Told]]:
    """A worker on a GPU whose driver is too old."""
    tool = nvidia_smi(tmp_path / "bin", mode="Exclusive_Process")
    monkeypatch.setenv("PATH", in_path(tool))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver_library(tmp_path / "driver")))
    monkeypatch.setenv("NVIDIA_STUB_DRIVER", "12020")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(probing, "FIRST_PAUSE", 0.01)

    def begun(slot: int = 0, **identity: object) -> tuple[Stage, Prober, Told]:
        stage, told = make_stage(), Told()
        stage.slot.device = stage.slot.spare.device = GPU
        prober = Prober(stage.slot, identify(GPU, 1, slot, **identity), told)  # type: ignore[arg-type]
        stage.slot.until_fit, stage.slot.look_again = prober.until_fit, prober.look_again
        return stage, prober, told

    return begun


@pytest.mark.slow
@pytest.mark.costly
@pytest.mark.sqlite
def test_a_device_that_is_back_is_told_and_trained_on(
    begin: Callable[..., tuple[Stage, Prober, Told]],
) -> None:
    stage, prober, told = begin()
    prober.start()
    assert "too old" in (told.wait_for(lambda one: one.trouble).trouble or "")
    stage.slot.spare.move_to(CPU)  # as if the driver were new
    told.wait_for(lambda one: one.trouble is None)
    assert prober.until_fit()
    assert stage.slot.spare.take() is not None
    assert not stage.slot.keeps_spare, "the card lets one process in"
    stage.stopping = True


@pytest.mark.costly
@pytest.mark.sqlite
def test_a_trainer_that_takes_long_is_said_to_until_it_is_ready(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, told = make_stage(), Told()
    Prober(stage.slot, identify(CPU, 1, 0), told)  # listens, though it does not try by itself
    trainer = stage.slot.spare.take()
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGSTOP)
    trainer._ready.clear()  # as one that has not said so yet
    stage.slot.spare.put_back(trainer)
    monkeypatch.setattr(spare, "PATIENCE_SECONDS", 0.2)
    taking = threading.Thread(target=lambda: stage.slot.spare.take())
    taking.start()
    assert "is not ready 0.2 s after its start" in (told.wait_for(lambda one: one).trouble or "")
    os.kill(trainer.pid, signal.SIGCONT)
    trainer._ready.set()
    assert told.wait_for(lambda one: one.trouble is None) == Fitness(CPU)
    taking.join()


@pytest.mark.costly
@pytest.mark.sqlite
def test_a_trainer_that_hangs_is_given_up(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage()
    trainer = stage.slot.spare.take()
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGSTOP)
    trainer._ready.clear()
    stage.slot.spare.put_back(trainer)
    monkeypatch.setattr(spare, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(spare, "GIVE_UP_SECONDS", 0.3)
    assert stage.slot.spare.take() is None
    assert (
        "is not ready 0.3 s after its start" in (stage.slot.spare.unfit or Unfit(reason="")).reason
    )
    monkeypatch.undo()
    assert stage.slot.spare.take() is not None, "another one is started"


@pytest.mark.slow
@pytest.mark.sqlite
def test_a_worker_for_which_the_cpu_has_no_room_stays_in_trouble(
    begin: Callable[..., tuple[Stage, Prober, Told]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "cpu_slots", lambda: 1)
    stage, prober, told = begin(slot=1, gpus_found=(GPU, "cuda:1"))
    prober.start()
    assert told.wait_for(lambda one: one.trouble).device == GPU
    stage.stopping = True
    assert not prober.until_fit()


@pytest.mark.slow
@pytest.mark.sqlite
def test_the_probe_says_line_by_line_whether_a_machine_can_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", in_path(nvidia_smi(tmp_path / "bin")))
    lines = {one.name: one for one in findings_of_devices((*PROBE, "--devices", "cpu"))}
    assert {one.state for one in lines.values()} <= {"ok", "unknown"}
    assert "ready in" in lines["trainer on cpu"].said
    assert {"one step of an MLP", "20 steps twice, CNN", "free disk", "cores"} <= set(lines)
    assert lines["GPU 0"].said == "NVIDIA H100 80GB HBM3, GPU-aaaa1111"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe(["--devices", "cuda:0"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  trainer on cuda:0" in said
    assert "there is no cuda:0 here: CUDA_VISIBLE_DEVICES hides every GPU" in said
    assert probe(["--devices", "tpu"]) == 2
    monkeypatch.setenv("LAB_MAX_EPOCHS", "many")
    assert probe([]) == 2
    assert "LAB_MAX_EPOCHS" in capsys.readouterr().err


class ForkedInVain:
    """A server whose forks cannot use the card, and whose spawned trainers can."""

    started: ClassVar[list[bool]] = []

    def __init__(self, threads: int, niceness: int, *, spawn: bool) -> None:
        self.spawns = spawn
        self.started.append(spawn)
        self.is_alive = True

    def kill(self) -> None:
        self.is_alive = False

    def fork(self, device: str, threads: int, visible: str) -> SimpleNamespace:
        said = "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with"
        return SimpleNamespace(
            is_alive=self.spawns,
            wait_ready=lambda *_: self.spawns,
            caution=None,
            unfit=Unfit(reason=said),
        )


@pytest.mark.sqlite
def test_where_a_fork_cannot_use_the_card_trainers_are_spawned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spare, "TrainerServer", ForkedInVain)
    keeper = spare.Spare(GPU, 1)
    assert keeper.probe()
    assert keeper.unfit is None
    keeper.take()
    assert keeper.probe()
    assert ForkedInVain.started == [False, True]
