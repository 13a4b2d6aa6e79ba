"""Which GPUs a machine has and which of them trainers may use, by what NVIDIA's tool says."""

from pathlib import Path

import pytest

from app import gpus
from app.devices import Dealt, deal, free_memory_of, memory_of, visible_to_trainer
from app.errors import Misconfigured
from app.gpus import NoSuchGpu
from tests.gpus.stand_ins import DIVIDED, TWO_GPUS, in_path, nvidia_smi


@pytest.fixture(autouse=True)
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = nvidia_smi(tmp_path / "bin", TWO_GPUS)
    monkeypatch.setenv("PATH", in_path(folder))
    return folder


@pytest.mark.parametrize(
    ("visible", "found", "theirs"),
    [
        (None, ("cuda:0", "cuda:1"), ["0", "1"]),
        ("1", ("cuda:0",), ["1"]),
        ("1,0", ("cuda:0", "cuda:1"), ["1", "0"]),
        ("GPU-bbbb", ("cuda:0",), ["GPU-bbbb"]),
        ("1,7,0", ("cuda:0",), ["1"]),
        ("1,-1,0", ("cuda:0",), ["1"]),
        ("", ("cpu",), [""]),
        ("-1", ("cpu",), [""]),
        ("NoDevFiles", ("cpu",), [""]),
    ],
)
def test_what_is_visible_is_dealt_out_and_each_trainer_sees_its_own_alone(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, found: tuple[str, ...], theirs: list[str]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    dealt = deal("auto")
    assert (dealt.devices, dealt.is_auto, dealt.caution) == (found, True, None)
    assert [visible_to_trainer(device) for device in found] == theirs


def test_memory_is_that_of_the_card_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_of("cuda:1") == free_memory_of("cuda:1") == 15360 * 2**20
    assert memory_of("cuda:GPU-aaaa1111") == memory_of("cuda") == 81559 * 2**20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert memory_of("cuda:0") == 15360 * 2**20
    assert memory_of("cuda:1") is None


def test_a_card_that_lets_one_process_in_is_known_unless_mps_is_between(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "mps"))
    assert not gpus.is_exclusive("cuda:1")
    nvidia_smi(tool, TWO_GPUS, mode="Exclusive_Process")
    assert gpus.is_exclusive("cuda:1")
    assert not gpus.is_exclusive("cuda:7"), "nobody says"
    assert not gpus.is_exclusive("cpu")
    (tmp_path / "mps").mkdir()
    (tmp_path / "mps" / "control").touch()
    assert not gpus.is_exclusive("cuda:1")


def test_slices_of_a_divided_gpu_are_devices_with_the_memory_of_their_profile(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tool, (*DIVIDED, TWO_GPUS[1]))
    slices = ("cuda:MIG-cccc3333", "cuda:MIG-dddd4444")
    assert deal("auto").devices == (*slices, "cuda:1")
    assert [visible_to_trainer(one) for one in slices] == ["MIG-cccc3333", "MIG-dddd4444"]
    assert [memory_of(one) for one in slices] == [10 * 10**9, 40 * 10**9]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-dddd4444")
    assert deal("auto").devices == ("cuda:0",)
    assert visible_to_trainer("cuda:0") == "MIG-dddd4444"
    assert memory_of("cuda:0") == 40 * 10**9


def test_devices_can_be_named_by_uuid() -> None:
    dealt = deal("GPU-aaaa1111, MIG-41d0, cuda:1")
    assert dealt.devices == ("cuda:GPU-aaaa1111", "cuda:MIG-41d0", "cuda:1")
    assert not dealt.is_auto
    assert Dealt.read(dealt.line()) == dealt
    assert visible_to_trainer("cuda:GPU-aaaa1111") == "GPU-aaaa1111"
    for wrong in ("GPU-", "cuda:x", "mig-1", "cpu;GPU-1"):
        with pytest.raises(Misconfigured, match="LAB_DEVICES"):
            deal(wrong)


@pytest.mark.parametrize(
    ("visible", "device", "words"),
    [
        ("1", "cuda:1", "CUDA_VISIBLE_DEVICES=1 leaves 1, counted from cuda:0"),
        ("", "cuda:0", "hides every GPU"),
        ("", "cuda:GPU-aaaa1111", "hides every GPU"),
        ("GPU-bbbb2222", "cuda:GPU-aaaa1111", "CUDA_VISIBLE_DEVICES is GPU-bbbb2222"),
    ],
)
def test_a_named_device_that_is_not_visible_is_refused_with_what_is(
    monkeypatch: pytest.MonkeyPatch, visible: str, device: str, words: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(NoSuchGpu, match=words):
        visible_to_trainer(device)


def test_a_tool_that_fails_hangs_or_finds_nothing_is_said(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tool, end="echo Driver/library version mismatch; exit 18")
    assert deal("auto") == Dealt(
        ("cpu",),
        True,
        "nvidia-smi ended with status 18: Driver/library version mismatch; trains on the CPU",
    )
    assert memory_of("cuda:0") is None
    nvidia_smi(tool, ["No devices found."])
    assert (deal("auto").caution or "").startswith("nvidia-smi lists no GPU: No devices found.")
    monkeypatch.setattr(gpus, "ANSWER_SECONDS", 0.2)
    nvidia_smi(tool, end="exec sleep 60")
    assert (deal("auto").caution or "").startswith("nvidia-smi did not answer within 0.2 s")
    nvidia_smi(tool, TWO_GPUS)
    monkeypatch.setattr(gpus, "ANSWER_SECONDS", 10.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert (deal("auto").caution or "").startswith("CUDA_VISIBLE_DEVICES=7 names none of the 2")


def test_a_machine_without_the_tool_has_no_gpu_and_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert deal("auto") == Dealt(("cpu",), True)
