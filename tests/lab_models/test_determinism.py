"""What is set so that equal machines compute equal bits, and that float32 is what IEEE 754 says."""

import os

import torch

from lab_models.running.environment import make_deterministic


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
