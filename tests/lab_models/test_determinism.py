"""What is set so that equal machines compute equal bits, and that float32 is what IEEE 754 says."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.environment import environment, make_deterministic


def test_float32_has_all_its_bits_in_matrices_and_convolutions() -> None:
    torch.backends.cudnn.allow_tf32 = True  # as PyTorch begins
    make_deterministic(torch.get_num_threads())
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.conv.fp32_precision != "tf32"
    assert not torch.backends.cuda.matmul.allow_tf32


def test_cublas_is_told_to_be_deterministic_with_a_service_and_without() -> None:
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    make_deterministic(torch.get_num_threads())
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()


def test_a_record_says_what_drives_a_gpu(
    digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    card = SimpleNamespace(major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92400)
    module = tmp_path / "version"
    module.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:12:09 UTC 2025\n"
    )
    monkeypatch.setattr("lab_models.running.fitness.DRIVER_FILE", module)
    said = environment(digits, torch.device("cuda:0"), threads=1)
    assert said["device"] == "cuda: NVIDIA H100"
    found = {name: said[name] for name in ("driver", "cuda", "cudnn", "capability")}
    assert found == {"driver": "580.65.06", "cuda": "13.0", "cudnn": "92400", "capability": "9.0"}
    assert said["multiprocessors"] == "132"
    module.unlink()
    assert environment(digits, torch.device("cuda:0"), threads=1)["driver"] == "unknown"
    assert "driver" not in environment(digits, torch.device("cpu"), threads=1)
